//! Bytes of a copy in pieces of any size give the same rows.

use bytes::Bytes;

use super::{Rows, shown};
use crate::engine::CopyFormat;
use crate::types::{Column, Schema, SqlType};

fn read(format: &CopyFormat, bytes: &[u8], piece: usize) -> String {
    let schema = Schema::new(vec![Column::new("id", SqlType::Int), Column::new("v", SqlType::Varchar)]);
    let mut rows = Rows::new(schema, format.clone(), 1 << 20);
    let all = bytes.chunks(piece).try_for_each(|bytes| rows.take(&Bytes::copy_from_slice(bytes)));
    match all.and_then(|()| rows.finish()) {
        Ok(batches) => shown(&batches),
        Err(error) => format!("{}: {} ({})", error.sqlstate(), error.message(), error.contexts().join(", ")),
    }
}

fn check(format: &CopyFormat, bytes: &[u8], expected: &str) {
    for piece in [1, 2, 3, 7, 1000] {
        assert_eq!(read(format, bytes, piece), expected, "in pieces of {piece}: {}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn text_is_unescaped() {
    let text = CopyFormat::text();
    check(&text, b"1\ta\n2\t\\N\n", "1|a;2|NULL");
    check(&text, b"1\ta\\tb\\\\c\\n\n\\N\t\n", "1|a\tb\\c\n;NULL|");
    check(&text, b"1\t\\x41\\102\r\n2\tlast", "1|AB;2|last");
    check(&text, b"1\ta\n\\.\nnothing", "1|a");
    check(&text, b"1\n", "22P04: missing data for column \"v\" (COPY, line 1)");
    check(&text, b"1\ta\tb\n", "22P04: extra data after last expected column (COPY, line 1)");
    check(&text, b"1\ta\nx\tb\n", "22P02: invalid input syntax for type integer: \"x\" (COPY, line 2, column id)");
    check(&CopyFormat { delimiter: b'|', null: "-".to_string(), ..text }, b"1|-\n2|a\\|b\n", "1|NULL;2|a|b");
}

#[test]
fn csv_is_unquoted() {
    let csv = CopyFormat::csv();
    check(&csv, b"1,a\n2,\n3,\"\"\n", "1|a;2|NULL;3|");
    check(&csv, b"1,\"a,\"\"b\"\"\nc\"\n", "1|a,\"b\"\nc");
    check(&csv, b"1,\"a\n", "22P04: unterminated CSV quoted field (COPY, line 0)");
    check(&CopyFormat { header: true, ..csv.clone() }, b"id,v\n1,a\n", "1|a");
    check(&CopyFormat { escape: b'\\', ..csv }, b"1,\"a\\\"b\"\n", "1|a\"b");
}

#[test]
fn binary_is_read_field_by_field() {
    let binary = CopyFormat { binary: true, ..CopyFormat::text() };
    let mut bytes = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(b"\0\x02\0\0\0\x04\0\0\0\x07\0\0\0\x02ab");
    bytes.extend_from_slice(b"\0\x02\xff\xff\xff\xff\0\0\0\0");
    check(&binary, &[&bytes[..], b"\xff\xff"].concat(), "7|ab;NULL|");
    check(&binary, &bytes, "7|ab;NULL|");
    check(&binary, &bytes[..30], "22P04: unexpected end of COPY data (COPY, line 0)");
    check(&binary, b"no copy at all, I am afraid", "22P04: COPY file signature not recognized (COPY, line 0)");
    let short = [&bytes[..19], b"\0\x02\0\0\0\x01\0\0\0\0\0"].concat();
    check(&binary, &short, "22P03: incorrect binary data format (COPY, line 1, column id)");
}
