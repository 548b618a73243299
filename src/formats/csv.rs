//! CSV as in RFC 4180, framed here: records may span lines inside quotes. Fields are decoded as text by arrow-csv and
//! cast to their columns; a field that does not fit makes its record a fault.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::batch::{Attempt, Refusal, decode_records};
use super::{CsvOptions, DecodeSettings, Decoded, Decoder};
use crate::base::{Error, Result};
use crate::types::SqlType;
use crate::types::text::read_column;

const QUOTE: u8 = b'"';

/// Decodes records of separated fields.
pub(super) struct CsvDecoder {
    options: CsvOptions,
    settings: DecodeSettings,
    schema: SchemaRef,
    /// As many text columns as the records have fields.
    raw: SchemaRef,
    /// Per column of the settings' schema: which field.
    fields: Vec<usize>,
}

impl CsvDecoder {
    /// With a header, columns are found by name; without one, by place.
    pub(super) fn new(options: CsvOptions, settings: DecodeSettings, header: Option<&[u8]>) -> Result<Self> {
        let columns = &settings.schema.columns;
        let (names, fields) = match header {
            None => ((0..columns.len()).map(|index| index.to_string()).collect(), (0..columns.len()).collect()),
            Some(header) => {
                let names = fields_of(header, options.delimiter);
                let find = |column: &crate::types::Column| {
                    let exact = names.iter().position(|name| *name == column.name);
                    let found = exact.or_else(|| names.iter().position(|name| name.eq_ignore_ascii_case(&column.name)));
                    found.ok_or_else(|| {
                        Error::invalid(format!("the header of a CSV file does not name column \"{}\"", column.name))
                            .with_detail(format!("It names {}.", names.join(", ")))
                            .with_hint("Name the columns as the header does, or set header = false.")
                    })
                };
                let fields = columns.iter().map(find).collect::<Result<Vec<usize>>>()?;
                (names, fields)
            }
        };
        let raw = names.iter().map(|name: &String| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>();
        let raw = Arc::new(arrow::datatypes::Schema::new(raw));
        Ok(CsvDecoder { schema: settings.schema.arrow(), options, settings, raw, fields })
    }

    fn text(&self, bytes: &[u8], records: &[Range<usize>]) -> Result<RecordBatch, Refusal> {
        let refused = |error: arrow::error::ArrowError| Refusal { record: None, reason: plain(&error.to_string()) };
        let mut csv = ReaderBuilder::new(SchemaRef::clone(&self.raw))
            .with_delimiter(self.options.delimiter)
            .with_batch_size(records.len())
            .build_decoder();
        let mut feed = |mut bytes: &[u8]| -> Result<(), arrow::error::ArrowError> {
            while !bytes.is_empty() {
                let read = csv.decode(bytes)?;
                if read == 0 {
                    return Err(arrow::error::ArrowError::CsvError("more than one record".into()));
                }
                bytes = bytes.get(read..).unwrap_or_default();
            }
            Ok(())
        };
        for record in records {
            let line = bytes.get(record.clone()).unwrap_or_default();
            feed(line.strip_suffix(b"\r").unwrap_or(line)).map_err(refused)?;
            feed(b"\n").map_err(refused)?;
        }
        let rows = csv.flush().map_err(refused)?;
        rows.filter(|rows| rows.num_rows() == records.len())
            .ok_or_else(|| Refusal { record: None, reason: "a quoted field is not closed".into() })
    }

    fn column(&self, text: &ArrayRef, index: usize) -> Result<ArrayRef, Refusal> {
        let Some(column) = self.settings.schema.columns.get(index) else {
            return Err(Refusal { record: None, reason: "a column has no field".into() });
        };
        let named = |record, reason: String| Refusal { record, reason: format!("field \"{}\": {reason}", column.name) };
        let strings = text.as_string::<i32>();
        let text: ArrayRef = if self.options.null.is_empty() {
            Arc::clone(text)
        } else {
            let is_null: BooleanArray = strings.iter().map(|value| Some(value == Some(&*self.options.null))).collect();
            nullif(text, &is_null).map_err(|error| named(None, error.to_string()))?
        };
        if column.ty.is_nested() || matches!(column.ty, SqlType::Uuid | SqlType::Jsonb | SqlType::Bytea) {
            let (values, misread) =
                read_column(text.as_string::<i32>(), &column.ty).map_err(|error| named(None, error.to_string()))?;
            if let Some((row, reason)) = misread.into_iter().next() {
                return Err(named(Some(row as usize), reason.message().to_owned()));
            }
            return match (0..values.len()).find(|&row| values.is_null(row)) {
                Some(row) if !column.nullable => Err(named(Some(row), "NULL in a NOT NULL column".into())),
                Some(_) | None => Ok(values),
            };
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let values =
            cast_with_options(&text, &column.ty.arrow(), &options).map_err(|error| named(None, error.to_string()))?;
        if values.null_count() > text.null_count() {
            let at = (0..text.len()).find(|&row| values.is_null(row) && text.is_valid(row));
            let found = at.map_or("", |row| text.as_string::<i32>().value(row));
            return Err(named(at, format!("\"{found}\" is no {}", column.ty)));
        }
        if !column.nullable && values.null_count() > 0 {
            let at = (0..values.len()).find(|&row| values.is_null(row));
            return Err(named(at, "NULL in a NOT NULL column".into()));
        }
        Ok(values)
    }
}

impl Attempt for CsvDecoder {
    fn attempt(&mut self, bytes: &[u8], records: &[Range<usize>]) -> Result<RecordBatch, Refusal> {
        let text = self.text(bytes, records)?;
        let columns = self.fields.iter().enumerate().map(|(index, &field)| match text.columns().get(field) {
            Some(text) => self.column(text, index),
            None => Err(Refusal { record: None, reason: format!("there is no field {}", field + 1) }),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, Refusal>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
            .map_err(|error| Refusal { record: None, reason: error.to_string() })
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, bytes: &[u8]) -> Result<Vec<Decoded>> {
        let records = records(bytes, self.options.delimiter);
        let schema = SchemaRef::clone(&self.schema);
        let (rows, limit) = (self.settings.batch_rows, self.settings.record_bytes_max);
        decode_records(self, &schema, bytes, &records, rows, limit)
    }
}

/// The names in a header line.
pub(super) fn fields_of(header: &[u8], delimiter: u8) -> Vec<String> {
    let mut names = vec![String::new()];
    let text = String::from_utf8_lossy(header);
    let mut quoted = false;
    for character in text.trim_end_matches(['\r', '\n']).chars() {
        match character {
            '"' => quoted = !quoted,
            c if !quoted && u32::from(c) == u32::from(delimiter) => names.push(String::new()),
            c => names.last_mut().map_or((), |name| name.push(c)),
        }
    }
    names.iter().map(|name| name.trim().to_owned()).collect()
}

/// Calls `each` with the offset of every line end that ends a record.
fn record_ends(bytes: &[u8], delimiter: u8, mut each: impl FnMut(usize)) {
    if memchr::memchr(QUOTE, bytes).is_none() {
        memchr::memchr_iter(b'\n', bytes).for_each(each);
        return;
    }
    #[derive(PartialEq)]
    enum At {
        Begin,
        Plain,
        Quoted,
        QuoteInQuoted,
    }
    let mut at = At::Begin;
    for (offset, &byte) in bytes.iter().enumerate() {
        at = match at {
            At::Quoted if byte == QUOTE => At::QuoteInQuoted,
            At::Quoted => At::Quoted,
            At::Begin | At::QuoteInQuoted if byte == QUOTE => At::Quoted,
            At::Begin | At::Plain | At::QuoteInQuoted if byte == b'\n' => {
                each(offset);
                At::Begin
            }
            At::Begin | At::Plain | At::QuoteInQuoted if byte == delimiter => At::Begin,
            At::Begin | At::Plain | At::QuoteInQuoted => At::Plain,
        };
    }
}

/// Where the last whole record ends, its line end included.
pub(super) fn last_end(bytes: &[u8], delimiter: u8) -> Option<usize> {
    let mut last = None;
    record_ends(bytes, delimiter, |end| last = Some(end + 1));
    last
}

/// The records without their line ends; blank lines are left out.
pub(super) fn records(bytes: &[u8], delimiter: u8) -> Vec<Range<usize>> {
    let mut records = Vec::new();
    let mut begin = 0;
    let mut push = |end: usize, begin: usize| {
        let blank = |record: &[u8]| record.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if bytes.get(begin..end).is_some_and(|record| !blank(record)) {
            records.push(begin..end);
        }
    };
    record_ends(bytes, delimiter, |end| {
        push(end, begin);
        begin = end + 1;
    });
    push(bytes.len(), begin);
    records
}

fn plain(text: &str) -> String {
    text.strip_prefix("Csv error: ").unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests;
