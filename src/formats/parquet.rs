//! Apache Parquet: the rows of a file from a given one on, cast to the declared columns.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Schema as ArrowSchema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::DecodeSettings;
use crate::base::{Error, Result, sqlstate};
use crate::types::text::read_column;
use crate::types::{Schema, SqlType};

/// Rows of a Parquet file, batch by batch. Positions in it are row numbers.
pub struct ParquetRows {
    reader: ParquetRecordBatchReader,
    settings: DecodeSettings,
    schema: SchemaRef,
    /// Per column of the settings' schema: which of the columns read.
    places: Vec<usize>,
    row: u64,
}

/// A batch of a Parquet file.
#[derive(Clone, Debug)]
pub struct ParquetBatch {
    /// The rows that fit.
    pub rows: RecordBatch,
    /// The row number behind the batch.
    pub end_row: u64,
    /// Row number and reason of those that do not.
    pub bad: Vec<(u64, String)>,
}

impl ParquetRows {
    /// Opens `path` at row `from_row`, up to `until_row`. `Unavailable` when it is not there or not complete,
    /// `Invalid` when it lacks a column.
    pub fn open(path: &Path, settings: &DecodeSettings, from_row: u64, until_row: Option<u64>) -> Result<Self> {
        let builder = open(path)?;
        let found = Arc::clone(builder.schema());
        let mut roots = Vec::with_capacity(settings.schema.columns.len());
        for column in &settings.schema.columns {
            roots.push(find(&found, &column.name).ok_or_else(|| {
                let names: Vec<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
                Error::invalid(format!("Parquet file \"{}\" has no column \"{}\"", path.display(), column.name))
                    .with_code(sqlstate::UNDEFINED_COLUMN)
                    .with_detail(format!("It has {}.", names.join(", ")))
            })?);
        }
        let mut order = roots.clone();
        order.sort_unstable();
        order.dedup();
        let places = roots.iter().map(|root| order.partition_point(|other| other < root)).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), order);
        let mut builder = builder.with_projection(mask).with_batch_size(settings.batch_rows.max(1));
        let row = usize::try_from(from_row).unwrap_or(usize::MAX);
        if row > 0 {
            builder = builder.with_offset(row);
        }
        if let Some(until) = until_row {
            builder = builder.with_limit(usize::try_from(until.saturating_sub(from_row)).unwrap_or(usize::MAX));
        }
        let reader = builder.build().map_err(|error| broken(path, &error.to_string()))?;
        let schema = settings.schema.arrow();
        Ok(ParquetRows { reader, settings: settings.clone(), schema, places, row: from_row })
    }

    fn convert(&mut self, raw: &RecordBatch) -> Result<ParquetBatch> {
        let rows = raw.num_rows();
        let mut reasons: Vec<Option<String>> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.places.len());
        for (column, &place) in self.settings.schema.columns.iter().zip(&self.places) {
            let array = raw.column(place);
            let values = fit(array, &column.ty).map_err(|_| {
                Error::invalid(format!("column \"{}\" of a Parquet file can not become {}", column.name, column.ty))
                    .with_code(sqlstate::DATATYPE_MISMATCH)
                    .with_detail(format!("It is {} in the file.", array.data_type()))
            })?;
            if values.null_count() > array.null_count() || !column.nullable && values.null_count() > 0 {
                reasons.resize(rows, None);
                for (row, reason) in reasons.iter_mut().enumerate().filter(|(row, _)| values.is_null(*row)) {
                    if array.is_valid(row) {
                        *reason = Some(format!("column \"{}\": the value is no {}", column.name, column.ty));
                    } else if !column.nullable {
                        *reason = Some(format!("column \"{}\" is NOT NULL", column.name));
                    }
                }
            }
            columns.push(values);
        }
        let first = self.row;
        self.row += rows as u64;
        let nullable = nullable(&self.schema);
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch = RecordBatch::try_new_with_options(nullable, columns, &options)?;
        let mut bad = Vec::new();
        if !reasons.is_empty() {
            let keep = BooleanArray::from(reasons.iter().map(Option::is_none).collect::<Vec<_>>());
            batch = filter_record_batch(&batch, &keep)?;
            bad = (first..).zip(reasons).filter_map(|(row, reason)| Some((row, reason?))).collect();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.columns().to_vec();
        let rows = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)?;
        Ok(ParquetBatch { rows, end_row: self.row, bad })
    }
}

impl Iterator for ParquetRows {
    type Item = Result<ParquetBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = self.reader.next()?;
        Some(match raw {
            Ok(raw) => self.convert(&raw),
            Err(error) => Err(Error::corrupt("a Parquet file could not be read to its end")
                .with_detail(format!("Behind row {}: {error}.", self.row))
                .with_hint("Write the file anew.")),
        })
    }
}

/// `array` as values of type `ty`; NULL where it is none.
fn fit(array: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let is_text = |ty: &DataType| matches!(ty, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    if *array.data_type() == ty.arrow() && *ty != SqlType::Jsonb {
        return Ok(Arc::clone(array));
    }
    if matches!(ty, SqlType::Uuid | SqlType::Jsonb) {
        // Documents are stored as text or as its bytes.
        let text = if is_text(array.data_type()) || *ty == SqlType::Jsonb && array.data_type().is_binary() {
            cast_with_options(array, &DataType::Utf8, &options)?
        } else {
            return Err(Error::invalid("another type"));
        };
        let (values, misread) = read_column(text.as_string::<i32>(), ty)?;
        if misread.is_empty() {
            return Ok(values);
        }
        let misread: BooleanArray = {
            let mut bits = vec![false; values.len()];
            misread.iter().for_each(|(row, _)| bits.get_mut(*row as usize).map_or((), |bit| *bit = true));
            bits.into()
        };
        return Ok(arrow::compute::nullif(&values, &misread)?);
    }
    Ok(cast_with_options(array, &ty.arrow(), &options)?)
}

/// The columns of the file at `path`. Bytes of whatever length are BYTEA, but for 16 bytes that say they are UUIDs.
pub(super) fn schema_of(path: &Path) -> Result<Schema> {
    let file = open(path)?;
    let plain = file.schema().fields().iter().map(|field| match field.data_type() {
        DataType::FixedSizeBinary(_) if field.extension_type_name() == Some("arrow.uuid") => field.as_ref().clone(),
        DataType::FixedSizeBinary(_) | DataType::LargeBinary => field.as_ref().clone().with_data_type(DataType::Binary),
        _ => field.as_ref().clone(),
    });
    let mut schema = Schema::from_arrow(&ArrowSchema::new(plain.collect::<Vec<_>>()))?;
    schema.columns.iter_mut().for_each(|column| column.nullable = true);
    Ok(schema)
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|error| {
        Error::unavailable(format!("file \"{}\" can not be read: {error}", path.display()))
            .with_code(sqlstate::IO_ERROR)
            .caused_by(error)
    })?;
    // The library asserts some of what it reads; a damaged file must not end the thread.
    let opened =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ParquetRecordBatchReaderBuilder::try_new(file)));
    match opened {
        Ok(Ok(builder)) => Ok(builder),
        Ok(Err(error)) => Err(broken(path, &error.to_string())),
        Err(_) => Err(broken(path, "its footer is damaged")),
    }
}

fn broken(path: &Path, reason: &str) -> Error {
    Error::unavailable(format!("file \"{}\" is no complete Parquet file", path.display()))
        .with_detail(format!("{reason}."))
        .with_hint("Write files under another name and rename them when they are complete.")
}

fn find(schema: &ArrowSchema, name: &str) -> Option<usize> {
    let fields = schema.fields();
    let exact = fields.iter().position(|field| field.name() == name);
    exact.or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)))
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}
