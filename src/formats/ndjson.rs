//! NDJSON: one JSON object a line. A batch of lines is scanned for the fields that the columns name, then every column
//! is read on its own.
//!
//! Values become their column's type as in PostgreSQL's `json_populate_record`, exactly or not at all: a string or number
//! is read as the type reads its text (`"12"` and `12` are both the BIGINT 12, `1.5` is none), a number, boolean, array
//! or object in a VARCHAR column is its JSON text, `null` is NULL. Of a field given twice the last counts. Text in a
//! TIMESTAMP column may name a zone, and is then taken to UTC.

mod read;

use std::ops::Range;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;

use self::read::{Cell, read};
use super::batch::{Attempt, Refusal, decode_records, lines};
use super::{DecodeSettings, Decoded, Decoder, NdjsonOptions, TimestampUnit};
use crate::base::Result;
use crate::types::json::{Scanner, Token};

/// Keys behind this many are looked up by name.
const ORDER_MAX: usize = 1024;

/// Decodes lines of JSON objects.
pub(super) struct NdjsonDecoder {
    settings: DecodeSettings,
    schema: SchemaRef,
    unit: TimestampUnit,
    /// The keys of the last record in their order, and the columns that they name: most records have the same.
    order: Vec<(String, Option<usize>)>,
}

impl NdjsonDecoder {
    pub(super) fn new(options: NdjsonOptions, settings: DecodeSettings) -> Result<Self> {
        let schema = settings.schema.arrow();
        Ok(NdjsonDecoder { settings, schema, unit: options.timestamp_unit, order: Vec::new() })
    }

    /// The column that the `place`-th key of a record names.
    fn column(&mut self, place: usize, key: &str) -> Option<usize> {
        if let Some((known, column)) = self.order.get(place)
            && known == key
        {
            return *column;
        }
        let column = self.settings.schema.index_of(key);
        let entry = (key.to_owned(), column);
        if let Some(known) = self.order.get_mut(place) {
            *known = entry;
        } else if place == self.order.len() && place < ORDER_MAX {
            self.order.push(entry);
        }
        column
    }

    /// Finds the fields of one record. `set` is given a column and its value.
    fn scan<'a>(&mut self, line: &'a [u8], mut set: impl FnMut(usize, Cell<'a>)) -> Result<(), String> {
        let text = std::str::from_utf8(line).map_err(|error| format!("the record is no UTF-8: {error}"))?;
        let wrong = |error: crate::types::json::Malformed| {
            if error.at >= text.trim_end().len() {
                return "the JSON object is not complete".to_owned();
            }
            format!("expected one JSON object: at byte {}, {}", error.at, error.what)
        };
        let mut scanner = Scanner::new(text);
        if !scanner.take(b'{') {
            return Err(match scanner.value().and_then(|_| scanner.end()) {
                Ok(()) => "the record is no JSON object".into(),
                Err(error) => wrong(error),
            });
        }
        let mut unescaped = String::new();
        let mut place = 0;
        if !scanner.take(b'}') {
            loop {
                let key = scanner.key().map_err(wrong)?;
                let column = if key.escaped {
                    unescaped.clear();
                    key.push_to(&mut unescaped).map_err(|reason| reason.message().to_owned())?;
                    self.settings.schema.index_of(&unescaped)
                } else {
                    self.column(place, key.text)
                };
                let (token, value) = scanner.value().map_err(wrong)?;
                if let Some(column) = column {
                    set(column, (token != Token::Null).then_some((token, value)));
                }
                place += 1;
                if !scanner.more(b'}').map_err(wrong)? {
                    break;
                }
            }
        }
        scanner.end().map_err(wrong)
    }
}

impl Attempt for NdjsonDecoder {
    fn attempt(&mut self, bytes: &[u8], records: &[Range<usize>]) -> Result<RecordBatch, Refusal> {
        let mut cells: Vec<Vec<Cell<'_>>> = vec![vec![None; records.len()]; self.settings.schema.columns.len()];
        for (row, record) in records.iter().enumerate() {
            let line = bytes.get(record.clone()).unwrap_or_default();
            let set = |column: usize, cell| {
                if let Some(place) = cells.get_mut(column).and_then(|cells| cells.get_mut(row)) {
                    *place = cell;
                }
            };
            self.scan(line, set).map_err(|reason| Refusal { record: Some(row), reason })?;
        }
        let mut columns = Vec::with_capacity(cells.len());
        for (column, cells) in self.settings.schema.columns.iter().zip(&cells) {
            // Which record it was is left to halving: with many bad ones, all would be scanned again for each.
            let refused = |(_, reason): (usize, String)| Refusal {
                record: None,
                reason: format!("field \"{}\": {reason}", column.name),
            };
            let values = read(&column.ty, cells, self.unit).map_err(refused)?;
            if !column.nullable && values.null_count() > 0 {
                let reason = format!("a NOT NULL column is NULL or missing: \"{}\"", column.name);
                return Err(Refusal { record: None, reason });
            }
            columns.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
            .map_err(|error| Refusal { record: None, reason: error.to_string() })
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

#[cfg(test)]
mod tests;
