//! Floor 2: bytes ↔ rows: how each format frames records, decodes a whole batch of them, and encodes rows.
//!
//! A record that does not fit the declared schema is a fault of its own ([`BadRecord`]); its neighbours are not touched.
//! Whether it fits is judged on all declared columns, whatever a view reads of them, so that every view over a source
//! and `ms_faults.<source>` agree on which rows there are.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod batch;
mod csv;
mod encode;
mod infer;
mod ndjson;
mod parquet;

pub use encode::Encoded;
pub use infer::infer_schema;
pub use parquet::{ParquetBatch, ParquetRows};

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::types::Schema;

/// What the numbers of a timestamp column count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampUnit {
    /// Seconds since 1970; text is refused.
    Seconds,
    /// Milliseconds since 1970; text is refused.
    Milliseconds,
    /// Text as RFC 3339 or `YYYY-MM-DD HH:MM:SS[.f]`; numbers are microseconds since 1970.
    #[default]
    Microseconds,
    /// Nanoseconds since 1970, cut to microseconds; text is refused.
    Nanoseconds,
}

/// How NDJSON is read: one JSON object a line, fields by name; unknown ones are skipped, missing ones are NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NdjsonOptions {
    /// What numbers in timestamp columns count.
    #[serde(default)]
    pub timestamp_unit: TimestampUnit,
}

/// How CSV is read and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// Whether the first line of every file names the columns, which are then found by name. Default true.
    pub header: bool,
    /// The byte between fields. Default a comma.
    pub delimiter: u8,
    /// What NULL is written as; an empty field is NULL too. Default empty.
    pub null: String,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions { header: true, delimiter: b',', null: String::new() }
    }
}

/// An encoding of rows. (Envelopes come with upserting connectors.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON objects, one a line.
    Ndjson(NdjsonOptions),
    /// Separated fields.
    Csv(CsvOptions),
    /// Apache Parquet: whole files, read by [`ParquetRows`].
    Parquet,
}

/// What a decoder is made for.
#[derive(Clone, Debug)]
pub struct DecodeSettings {
    /// The columns that records are to fit, in order; non-nullable ones refuse NULL.
    pub schema: Schema,
    /// The most rows of a batch. Default 8,192.
    pub batch_rows: usize,
    /// The longest record in bytes, without its line end. Default 16 MiB.
    pub record_bytes_max: usize,
}

impl DecodeSettings {
    /// For `schema`, with the default limits.
    pub fn new(schema: Schema) -> Self {
        DecodeSettings { schema, batch_rows: 8192, record_bytes_max: 16 << 20 }
    }
}

/// A record that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Where it lies in the bytes that were decoded, without its line end.
    pub at: Range<usize>,
    /// Why.
    pub reason: String,
}

/// A batch of rows and the records among them that are none.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows: as many as records less the bad ones; columns of the settings' schema.
    pub rows: RecordBatch,
    /// The bytes of these records, those of empty lines before them included. Ranges follow on one another.
    pub bytes: Range<usize>,
    /// The bad records, in order.
    pub bad: Vec<BadRecord>,
}

/// Decodes bytes of whole records.
///
/// *Contract*
/// 1. The decoded batches cover the bytes without gap, in order; every record is a row or a bad record.
/// 2. The outcome for a record depends on its bytes alone, not on its neighbours or how the input was cut.
/// 3. `Err` is for broken guarantees and lack of memory; no input causes one, and none panics.
pub trait Decoder: Send {
    /// All batches of `bytes`. A decoder may be used again afterwards.
    fn decode(&mut self, bytes: &[u8]) -> Result<Vec<Decoded>>;
}

/// Finds where the last whole record ends.
pub type LastEnd = Arc<dyn Fn(&[u8]) -> Option<usize> + Send + Sync>;

impl Format {
    /// A decoder for blocks of files whose first line is `header` (for formats that have one).
    pub fn decoder(&self, settings: &DecodeSettings, header: Option<&[u8]>) -> Result<Box<dyn Decoder>> {
        match self {
            Format::Ndjson(options) => {
                Ok(Box::new(ndjson::NdjsonDecoder::new(options.clone(), settings.clone())?) as Box<dyn Decoder>)
            }
            Format::Csv(options) => Ok(Box::new(csv::CsvDecoder::new(options.clone(), settings.clone(), header)?)),
            Format::Parquet => Err(Error::internal("Parquet is not decoded from blocks")),
        }
    }

    /// How the bytes of this format are cut into whole records; `None` when it reads whole files.
    pub fn last_end(&self) -> Option<LastEnd> {
        match self {
            Format::Ndjson(_) => Some(Arc::new(|bytes| memchr::memrchr(b'\n', bytes).map(|end| end + 1))),
            Format::Csv(options) => {
                let delimiter = options.delimiter;
                Some(Arc::new(move |bytes| csv::last_end(bytes, delimiter)))
            }
            Format::Parquet => None,
        }
    }

    /// Whether the first line of every file names the columns.
    pub fn has_header(&self) -> bool {
        match self {
            Format::Ndjson(_) | Format::Parquet => false,
            Format::Csv(options) => options.header,
        }
    }

    /// The records in `bytes`, as the decoder counts them: without line ends, blank lines left out.
    pub fn records(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        match self {
            Format::Ndjson(_) => batch::lines(bytes),
            Format::Csv(options) => csv::records(bytes, options.delimiter),
            Format::Parquet => Vec::new(),
        }
    }
}

/// Why a record of `length` bytes is refused.
pub fn oversize_reason(length: u64, limit: u64) -> String {
    format!("the record is {length} bytes long; record_bytes_max is {limit}")
}
