//! The columns of a file whose format says them: Parquet, and CSV with a header.

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::csv::fields_of;
use super::{CsvOptions, Format, parquet};
use crate::base::{Error, Result, sqlstate};
use crate::types::{Column, Schema, SqlType};

/// How many records of a CSV file are looked at.
const RECORDS: usize = 1000;

/// The columns of the file at `path`; all nullable. `Invalid` when the format does not say them.
pub fn infer_schema(format: &Format, path: &Path) -> Result<Schema> {
    match format {
        Format::Parquet => parquet::schema_of(path),
        Format::Csv(options) if options.header => csv_schema(options, path),
        Format::Csv(_) | Format::Ndjson(_) => Err(Error::invalid("the columns are missing")
            .with_code(sqlstate::INVALID_TABLE_DEFINITION)
            .with_hint("List them: CREATE SOURCE s (a BIGINT, b VARCHAR) WITH (...); only Parquet, and CSV with a header, tell their own.")),
    }
}

/// Names from the header, types from the first records: those that all of them fit.
fn csv_schema(options: &CsvOptions, path: &Path) -> Result<Schema> {
    let unreadable = |error: std::io::Error| {
        Error::unavailable(format!("file \"{}\" can not be read: {error}", path.display()))
            .with_code(sqlstate::IO_ERROR)
            .caused_by(error)
    };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut begin = vec![0; 64 << 10];
    let read = file.read(&mut begin).map_err(unreadable)?;
    let begin = begin.get(..read).unwrap_or_default();
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    let header = begin.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let names = fields_of(header, options.delimiter);
    file.rewind().map_err(unreadable)?;
    let csv = arrow::csv::reader::Format::default().with_header(true).with_delimiter(options.delimiter);
    let (arrow, _) = csv.infer_schema(BufReader::new(file), Some(RECORDS)).map_err(|error| {
        Error::invalid(format!("the columns of file \"{}\" could not be found out", path.display()))
            .with_detail(format!("{error}."))
            .with_hint("List the columns in CREATE SOURCE.")
    })?;
    let types = arrow.fields().iter().map(|field| SqlType::from_arrow(field.data_type()));
    let columns = names.into_iter().zip(types).map(|(name, ty)| Ok(Column::new(name, ty?)));
    Ok(Schema::new(columns.collect::<Result<_>>()?))
}
