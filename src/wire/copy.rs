//! `COPY … TO STDOUT`: rows as lines of text or CSV, or in binary, one CopyData message each.

use bytes::{BufMut, BytesMut};

use super::column::Column;
use super::rows::{RowWriter, set_length};
use crate::engine::CopyFormat;
use crate::types::Schema;

/// How a copy in binary begins.
pub const BINARY_SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Writes rows as lines, or in binary.
pub struct CopyLines {
    format: CopyFormat,
    /// One value before it is escaped or quoted.
    value: BytesMut,
    /// Whether the binary format's signature was written.
    begun: bool,
}

impl CopyLines {
    /// Lines in `format`.
    pub fn new(format: CopyFormat) -> Self {
        CopyLines { format, value: BytesMut::new(), begun: false }
    }

    /// The message before the first row, if the format asks for one: the names of columns.
    pub fn header(&mut self, schema: &Schema, out: &mut BytesMut) {
        if self.format.header {
            let start = begin(out);
            self.header_line(schema, out);
            end(out, start);
        }
    }

    /// The signature of the binary format: PostgreSQL's drivers expect it in one message with the first row.
    fn signature(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            out.put_slice(BINARY_SIGNATURE);
            out.put_i32(0);
            out.put_i32(0);
        }
    }

    /// What comes behind the last row of the binary format.
    pub fn foot(&mut self, out: &mut BytesMut) {
        let start = begin(out);
        self.signature(out);
        out.put_i16(-1);
        set_length(out, start, out.len() - start);
    }

    /// Appends the columns' names as a line without its end.
    pub fn header_line(&mut self, schema: &Schema, out: &mut BytesMut) {
        for (index, column) in schema.columns.iter().enumerate() {
            if index > 0 {
                out.put_u8(self.format.delimiter);
            }
            self.value.clear();
            self.value.put_slice(column.name.as_bytes());
            self.put_value(out);
        }
    }

    /// Appends `value`, escaped or quoted.
    fn put_value(&self, out: &mut BytesMut) {
        if self.format.csv { self.quoted(out) } else { self.escaped(out) }
    }

    /// Text format: backslash before what would end the value, the line or the copy.
    fn escaped(&self, out: &mut BytesMut) {
        for &byte in &self.value {
            let letter = match byte {
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                b'\\' => b'\\',
                _ if byte == self.format.delimiter => byte,
                _ => {
                    out.put_u8(byte);
                    continue;
                }
            };
            out.put_slice(&[b'\\', letter]);
        }
    }

    /// CSV: quotes around what holds a delimiter, a quote or a line end, what would read as NULL, and `\.` alone.
    fn quoted(&self, out: &mut BytesMut) {
        let CopyFormat { delimiter, quote, escape, .. } = self.format;
        let special = |byte: &u8| [delimiter, quote, b'\n', b'\r'].contains(byte);
        let value: &[u8] = &self.value;
        if value != self.format.null.as_bytes() && value != b"\\." && !value.iter().any(special) {
            out.put_slice(value);
            return;
        }
        out.put_u8(self.format.quote);
        for &byte in value {
            if byte == quote || byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(byte);
        }
        out.put_u8(self.format.quote);
    }
}

impl CopyLines {
    /// Appends the line of `row` without its end.
    pub fn line(&mut self, columns: &[Column<'_>], row: usize, out: &mut BytesMut) {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                out.put_u8(self.format.delimiter);
            }
            if column.is_null(row) {
                out.put_slice(self.format.null.as_bytes());
                continue;
            }
            self.value.clear();
            column.write_text(row, &mut self.value);
            self.put_value(out);
        }
    }
}

impl RowWriter for CopyLines {
    fn write(&mut self, columns: &[Column<'_>], row: usize, out: &mut BytesMut) {
        let start = begin(out);
        if self.format.binary {
            self.signature(out);
            out.put_i16(columns.len() as i16);
            for column in columns {
                binary_value(column, row, out);
            }
            set_length(out, start, out.len() - start);
            return;
        }
        self.line(columns, row, out);
        end(out, start);
    }
}

fn binary_value(column: &Column<'_>, row: usize, out: &mut BytesMut) {
    if column.is_null(row) {
        out.put_i32(-1);
        return;
    }
    let at = out.len();
    out.put_i32(0);
    column.write_binary(row, out);
    set_length(out, at, out.len() - at - 4);
}

fn begin(out: &mut BytesMut) -> usize {
    out.put_u8(b'd');
    let start = out.len();
    out.put_i32(0);
    start
}

fn end(out: &mut BytesMut, start: usize) {
    out.put_u8(b'\n');
    set_length(out, start, out.len() - start);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::types::SqlType;

    fn check(format: CopyFormat, text: Option<&str>, expected: &str) {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let columns =
            [Column::new(&texts, &SqlType::Varchar).unwrap(), Column::new(&numbers, &SqlType::BigInt).unwrap()];
        let mut out = BytesMut::new();
        CopyLines::new(format).write(&columns, 0, &mut out);
        assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
        assert_eq!(std::str::from_utf8(&out[5..]).unwrap(), expected);
    }

    #[test]
    fn lines_are_escaped_or_quoted() {
        check(CopyFormat::text(), Some("a\tb\\\n"), "a\\tb\\\\\\n\t7\n");
        check(CopyFormat::text(), None, "\\N\t7\n");
        check(CopyFormat::csv(), Some("a,\"b\""), "\"a,\"\"b\"\"\",7\n");
        check(CopyFormat::csv(), Some(""), "\"\",7\n");
        check(CopyFormat::csv(), None, ",7\n");
        check(CopyFormat::csv(), Some("plain"), "plain,7\n");
        check(CopyFormat { delimiter: b'|', ..CopyFormat::text() }, Some("a|b"), "a\\|b|7\n");
    }
}
