//! Rows → bytes, for sinks.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::csv::WriterBuilder as CsvWriterBuilder;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, NullableEncoder, WriterBuilder as JsonWriterBuilder};
use arrow::json::{Encoder, EncoderFactory, EncoderOptions};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{CsvOptions, Format};
use crate::base::{Error, Result};
use crate::types::json::write_string;
use crate::types::jsonb;
use crate::types::text::write::write_value;

/// Rows as bytes that can be put into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// What a file of this format begins with.
    pub header: Bytes,
    /// The rows.
    pub body: Bytes,
    /// Whether the body is a whole file, to which nothing can be added.
    pub whole_file: bool,
}

impl Format {
    /// How files of this format end, without the dot.
    pub fn extension(&self) -> &'static str {
        match self {
            Format::Ndjson(_) => "ndjson",
            Format::Csv(_) => "csv",
            Format::Parquet => "parquet",
        }
    }

    /// Encodes `batches` of `schema`, in order. The same rows give the same bytes.
    pub fn encode(&self, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Encoded> {
        match self {
            Format::Ndjson(_) => ndjson(batches),
            Format::Csv(options) => csv(options, schema, batches),
            Format::Parquet => parquet(schema, batches),
        }
        .map_err(|error| {
            Error::fault(format!("rows could not be encoded as {}", self.extension()))
                .with_detail(format!("{error}."))
                .with_hint("Cast the column at fault to VARCHAR in the sink's query.")
        })
    }
}

type Outcome = std::result::Result<Encoded, Box<dyn std::error::Error + Send + Sync>>;

/// How JSON spells what Arrow's writer would spell in another way: JSONB as itself, UUID and BYTEA as PostgreSQL's text.
#[derive(Debug)]
struct SqlValues;

impl EncoderFactory for SqlValues {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::LargeBinary => Box::new(Documents(array.as_binary())),
            DataType::Binary | DataType::FixedSizeBinary(_) => Box::new(Texts { array, text: String::new() }),
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Documents<'a>(&'a LargeBinaryArray);

impl Encoder for Documents<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = jsonb::to_json(self.0.value(row), &mut text);
        out.extend_from_slice(text.as_bytes());
    }
}

struct Texts<'a> {
    array: &'a dyn Array,
    text: String,
}

impl Encoder for Texts<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        self.text.clear();
        let mut quoted = String::with_capacity(40);
        // Writing into memory does not fail.
        let _ = write_value(self.array, row, &mut self.text).and_then(|()| write_string(&self.text, &mut quoted));
        out.extend_from_slice(quoted.as_bytes());
    }
}

/// The batches with every column for which `as_text` holds in its text form.
fn with_texts(schema: &SchemaRef, batches: &[RecordBatch], as_text: fn(&DataType) -> bool) -> Converted {
    if !schema.fields().iter().any(|field| as_text(field.data_type())) {
        return Ok((SchemaRef::clone(schema), batches.to_vec()));
    }
    let fields = schema.fields().iter().map(|field| match as_text(field.data_type()) {
        true => field.as_ref().clone().with_data_type(DataType::Utf8),
        false => field.as_ref().clone(),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut converted = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut columns = Vec::with_capacity(batch.num_columns());
        for column in batch.columns() {
            columns.push(if as_text(column.data_type()) { texts(column)? } else { Arc::clone(column) });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        converted.push(RecordBatch::try_new_with_options(SchemaRef::clone(&schema), columns, &options)?);
    }
    Ok((schema, converted))
}

fn texts(column: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
    let mut values = StringBuilder::with_capacity(column.len(), column.len() * 16);
    for row in 0..column.len() {
        if column.is_null(row) {
            values.append_null();
            continue;
        }
        write_value(column.as_ref(), row, &mut values)
            .map_err(|_| ArrowError::CsvError("a value has no text".to_owned()))?;
        values.append_value("");
    }
    Ok(Arc::new(values.finish()))
}

type Converted = std::result::Result<(SchemaRef, Vec<RecordBatch>), ArrowError>;

/// NULL fields are written: a reader learns the columns from any line.
fn ndjson(batches: &[RecordBatch]) -> Outcome {
    let builder = JsonWriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(SqlValues));
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(Encoded { header: Bytes::new(), body: writer.into_inner().into(), whole_file: false })
}

fn csv(options: &CsvOptions, schema: &SchemaRef, batches: &[RecordBatch]) -> Outcome {
    let builder = || CsvWriterBuilder::new().with_delimiter(options.delimiter).with_null(options.null.clone());
    let has_own_text = |ty: &DataType| {
        ty.is_nested() || matches!(ty, DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_))
    };
    let (schema, batches) = &with_texts(schema, batches, has_own_text)?;
    let mut header = Vec::new();
    if options.header {
        builder().with_header(true).build(&mut header).write(&RecordBatch::new_empty(SchemaRef::clone(schema)))?;
    }
    let mut body = Vec::new();
    let mut writer = builder().with_header(false).build(&mut body);
    for batch in batches {
        writer.write(batch)?;
    }
    drop(writer);
    Ok(Encoded { header: header.into(), body: body.into(), whole_file: false })
}

fn parquet(schema: &SchemaRef, batches: &[RecordBatch]) -> Outcome {
    // JSONB goes as text; others have a type of their own in Parquet.
    let (schema, batches) = &with_texts(schema, batches, |ty| *ty == DataType::LargeBinary)?;
    let level = ZstdLevel::try_new(1)?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
    let mut body = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut body, SchemaRef::clone(schema), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(Encoded { header: Bytes::new(), body: body.into(), whole_file: true })
}
