//! What a session keeps under a name (prepared statements, cursors), and rows that it copies in.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;

use super::{Name, ParsedStatement};
use crate::types::SqlType;

/// `COPY table [(column, ...)] FROM STDIN [options]`.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// Into which table.
    pub table: Name,
    /// The columns that the rows hold; empty: all that are not generated.
    pub columns: Vec<Name>,
    /// How rows are spelled.
    pub options: CopyOptions,
}

/// A [`CopyIn`] with the rows that came for it: nobody writes it.
#[derive(Clone, Debug)]
pub struct Copied {
    /// What was said.
    pub copy: CopyIn,
    /// Columns in the order of the statement's.
    pub rows: Arc<RecordBatch>,
}

/// How COPY spells rows; what is not given has its format's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// The format.
    pub format: CopyFormat,
    /// A first line of column names.
    pub header: bool,
    /// `DELIMITER`: one byte.
    pub delimiter: Option<u8>,
    /// `NULL`: how it is written.
    pub null: Option<String>,
    /// `QUOTE`: one byte.
    pub quote: Option<u8>,
    /// `ESCAPE`: one byte.
    pub escape: Option<u8>,
}

/// `PREPARE name [(type, ...)] AS statement`.
#[derive(Clone, Debug)]
pub struct Prepare {
    /// Its name.
    pub name: String,
    /// The types of its parameters, as far as they were given.
    pub types: Vec<SqlType>,
    /// The statement.
    pub statement: Arc<ParsedStatement>,
}

/// `EXECUTE name [(value, ...)]`.
#[derive(Clone, Debug)]
pub struct Execute {
    /// Which.
    pub name: String,
    /// A query whose one row holds the values; none: there are no values.
    pub values: Option<Arc<ParsedStatement>>,
}

/// `DECLARE name CURSOR [WITH HOLD] FOR query | SUBSCRIBE TO ...`.
#[derive(Clone, Debug)]
pub struct Declare {
    /// Its name.
    pub name: String,
    /// Whether it outlives the transaction block.
    pub hold: bool,
    /// Whether rows are sent in binary.
    pub binary: bool,
    /// What gives its rows.
    pub statement: Arc<ParsedStatement>,
}

/// `FETCH | MOVE [count | ALL | NEXT] FROM name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which cursor.
    pub name: String,
    /// How many rows; none: all.
    pub count: Option<u64>,
    /// `MOVE`: rows are passed over.
    pub passes_over: bool,
}

/// The spelling of COPY's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated, backslash escapes, `\N` for NULL.
    Text,
    /// RFC 4180 with PostgreSQL's quoting.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}
