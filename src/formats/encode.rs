//! Rows → bytes, for sinks.

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvWriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::json::writer::{LineDelimited, WriterBuilder as JsonWriterBuilder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{CsvOptions, Format};
use crate::base::{Error, Result};

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

/// NULL fields are written: a reader learns the columns from any line.
fn ndjson(batches: &[RecordBatch]) -> Outcome {
    let builder = JsonWriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(Encoded { header: Bytes::new(), body: writer.into_inner().into(), whole_file: false })
}

fn csv(options: &CsvOptions, schema: &SchemaRef, batches: &[RecordBatch]) -> Outcome {
    let builder = || CsvWriterBuilder::new().with_delimiter(options.delimiter).with_null(options.null.clone());
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
