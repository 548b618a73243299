//! NDJSON: one JSON object a line, decoded by arrow-json a batch at a time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::json::reader::{Decoder as JsonDecoder, ReaderBuilder};

use super::batch::{Attempt, Refusal, decode_records, lines};
use super::{DecodeSettings, Decoded, Decoder, NdjsonOptions, TimestampUnit};
use crate::base::{Error, Result};
use crate::types::SqlType;

/// Lines of up to this many bytes cannot nest deep enough to endanger the stack.
const SHALLOW_BYTES: usize = 512;
/// The deepest nesting of a record. arrow-json prints the value it refuses by recursion.
const DEPTH_MAX: usize = 256;

/// Decodes lines of JSON objects.
pub(super) struct NdjsonDecoder {
    settings: DecodeSettings,
    /// What the batches carry.
    schema: SchemaRef,
    /// What arrow-json is asked for: as `schema`, but columns that it does not know come as text or numbers.
    raw: SchemaRef,
    unit: TimestampUnit,
    /// Kept from batch to batch for its buffers; gone after an error, which leaves it in the middle of a record.
    json: Option<JsonDecoder>,
}

impl NdjsonDecoder {
    pub(super) fn new(options: NdjsonOptions, settings: DecodeSettings) -> Result<Self> {
        let unit = options.timestamp_unit;
        let fields = settings.schema.columns.iter().map(|column| {
            let raw = match &column.ty {
                SqlType::Interval => DataType::Utf8,
                ty if ty.is_timestamp() && unit != TimestampUnit::Microseconds => DataType::Int64,
                ty => ty.arrow(),
            };
            Field::new(&column.name, raw, column.nullable)
        });
        let raw = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
        let mut decoder = NdjsonDecoder { schema: settings.schema.arrow(), raw, unit, settings, json: None };
        decoder.json = Some(decoder.fresh(decoder.settings.batch_rows)?);
        Ok(decoder)
    }

    fn fresh(&self, rows: usize) -> Result<JsonDecoder> {
        ReaderBuilder::new(SchemaRef::clone(&self.raw))
            .with_batch_size(rows.max(1))
            .build_decoder()
            .map_err(|error| Error::internal("the JSON decoder refused a schema").caused_by(error))
    }

    fn raw_rows(&mut self, bytes: &[u8], records: &[Range<usize>]) -> Result<RecordBatch, Refusal> {
        let none = |error: Error| Refusal { record: None, reason: error.to_string() };
        let whole = self.json.is_some() || records.len().saturating_mul(2) > self.settings.batch_rows;
        let mut json = match self.json.take() {
            Some(json) => json,
            // While halving, a small decoder each time: the big one's buffers would be most of the work.
            None => self.fresh(if whole { self.settings.batch_rows } else { records.len() }).map_err(none)?,
        };
        for (index, record) in records.iter().enumerate() {
            let line = bytes.get(record.clone()).unwrap_or_default();
            let at = |reason| Refusal { record: Some(index), reason };
            if line.len() > SHALLOW_BYTES && depth(line) > DEPTH_MAX {
                return Err(at(format!("the record is nested deeper than {DEPTH_MAX} levels")));
            }
            let read = json.decode(line).map_err(|error| at(plain(&error)))?;
            // A batch decoder that is full takes no byte; a record that is more than one object counts twice.
            if json.has_partial_record() || json.len() != index + 1 || read != line.len() {
                return Err(at(shape(line)));
            }
        }
        let rows = json.flush().map_err(|error| Refusal { record: None, reason: plain(&error) })?;
        // A small one would be full too early for the next batch.
        self.json = whole.then_some(json);
        rows.ok_or_else(|| Refusal { record: None, reason: "no row was decoded".into() })
    }

    fn finish(&self, raw: RecordBatch) -> Result<RecordBatch, String> {
        if self.raw == self.schema {
            return Ok(raw);
        }
        let columns = self.settings.schema.columns.iter().zip(raw.columns()).map(|(column, array)| {
            let named = |reason: String| format!("field \"{}\": {reason}", column.name);
            if *array.data_type() == column.ty.arrow() {
                Ok(Arc::clone(array))
            } else if column.ty.is_timestamp() {
                microseconds(array, self.unit, &column.ty).map_err(named)
            } else {
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(array, &column.ty.arrow(), &options).map_err(|error| named(plain(&error)))
            }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, String>>()?;
        RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map_err(|error| plain(&error))
    }
}

impl Attempt for NdjsonDecoder {
    fn attempt(&mut self, bytes: &[u8], records: &[Range<usize>]) -> Result<RecordBatch, Refusal> {
        let raw = self.raw_rows(bytes, records)?;
        self.finish(raw).map_err(|reason| Refusal { record: None, reason })
    }
}

impl Decoder for NdjsonDecoder {
    fn decode(&mut self, bytes: &[u8]) -> Result<Vec<Decoded>> {
        let records = lines(bytes);
        let schema = SchemaRef::clone(&self.schema);
        let (rows, limit) = (self.settings.batch_rows, self.settings.record_bytes_max);
        decode_records(self, &schema, bytes, &records, rows, limit)
    }
}

/// Numbers of `unit` since 1970 as timestamps.
fn microseconds(array: &ArrayRef, unit: TimestampUnit, ty: &SqlType) -> Result<ArrayRef, String> {
    let numbers = array.as_primitive_opt::<Int64Type>().ok_or("expected a number")?;
    let scaled = numbers.try_unary::<_, TimestampMicrosecondType, _>(|number| {
        let scaled = match unit {
            TimestampUnit::Seconds => number.checked_mul(1_000_000),
            TimestampUnit::Milliseconds => number.checked_mul(1_000),
            TimestampUnit::Microseconds => Some(number),
            TimestampUnit::Nanoseconds => Some(number.div_euclid(1_000)),
        };
        scaled.ok_or_else(|| ArrowError::ComputeError(format!("timestamp {number} is out of range")))
    });
    let scaled = scaled.map_err(|error| plain(&error))?;
    Ok(Arc::new(scaled.with_data_type(ty.arrow())))
}

/// What is wrong with a line that is not exactly one whole value.
fn shape(line: &[u8]) -> String {
    match serde_json::from_slice::<serde::de::IgnoredAny>(line) {
        Ok(_) => "the record is no JSON object".into(),
        Err(error) if error.is_eof() => "the JSON object is not complete".into(),
        Err(error) => format!("expected one JSON object: {error}"),
    }
}

/// How deep objects and lists are nested in `line`.
fn depth(line: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_text, mut escaped) = (false, false);
    for &byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// An arrow-json error in our words.
fn plain(error: &ArrowError) -> String {
    let text = match error {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) | ArrowError::CastError(text) => text.clone(),
        other => other.to_string(),
    };
    if let Some(rest) = text.strip_prefix("whilst decoding field '") {
        return match rest.split_once("': ") {
            Some((field, reason)) => format!("field \"{field}\": {reason}"),
            None => text,
        };
    }
    match text.strip_prefix("Encountered unmasked nulls in non-nullable StructArray child: ") {
        Some(field) => format!("a NOT NULL column is NULL or missing: {field}"),
        None => text,
    }
}

#[cfg(test)]
mod tests;
