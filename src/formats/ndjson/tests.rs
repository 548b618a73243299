//! NDJSON: what is a row, what is a fault, and that neither depends on the size of batches.

use arrow::util::pretty::pretty_format_batches;

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;

use super::*;
use crate::types::{Column, Schema, SqlType};

fn schema() -> Schema {
    let mut columns = vec![
        Column::new("id", SqlType::BigInt),
        Column::new("name", SqlType::Varchar),
        Column::new("price", SqlType::Double),
        Column::new("ts", SqlType::Timestamp),
        Column::new("gap", SqlType::Interval),
    ];
    columns[0].nullable = false;
    Schema::new(columns)
}

fn decode(text: &str, batch_rows: usize) -> (String, Vec<(String, String)>) {
    let settings = DecodeSettings { batch_rows, record_bytes_max: 4000, ..DecodeSettings::new(schema()) };
    let mut decoder = NdjsonDecoder::new(NdjsonOptions::default(), settings).unwrap();
    let decoded = decoder.decode(text.as_bytes()).unwrap();
    let mut at = 0;
    for piece in &decoded {
        assert_eq!(piece.bytes.start, at);
        assert!(piece.rows.num_rows() <= batch_rows);
        at = piece.bytes.end;
    }
    assert_eq!(at, text.len());
    let rows: Vec<_> = decoded.iter().map(|piece| piece.rows.clone()).collect();
    let bad = decoded.iter().flat_map(|piece| &piece.bad);
    let bad = bad.map(|bad| (text[bad.at.clone()].to_owned(), bad.reason.clone())).collect();
    (pretty_format_batches(&rows).unwrap().to_string(), bad)
}

const LINES: &str = r#"{"id": 1, "name": "a", "price": 1.5, "ts": "2024-01-01T00:00:00Z", "other": [1, {"x": 2}]}
{"id": 2, "ts": "2024-01-01 10:00:00.25", "gap": "1 day 2 hours"}

{"id": "x", "name": "text for a number"}
{"name": "no id"}
{"id": 3} {"id": 4}
{"id": 5, "name": "half
{"id": 6, "ts": 1700000000000000}
[1]
null
nonsense
{"id": 7, "ts": "yesterday"}
{"id": 8, "name": 5}
{"id": 9, "name": "Grüße 😀"}
"#;

#[test]
fn rows_and_faults() {
    let (rows, bad) = decode(LINES, 8192);
    let ids: Vec<&str> = rows.lines().skip(3).filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    assert_eq!(ids, ["1", "2", "6", "8", "9"], "{rows}\n{bad:?}");
    assert!(rows.contains("2024-01-01T10:00:00.250") && rows.contains("2023-11-14T22:13:20"), "{rows}");
    assert_eq!(bad.len(), 8, "{bad:?}");
    assert!(bad[0].1.starts_with("field \"id\": invalid input syntax for type bigint: \"x\""), "{}", bad[0].1);
    assert!(bad[1].1.contains("NOT NULL"), "{}", bad[1].1);
    assert_eq!(bad[2].0, "{\"id\": 3} {\"id\": 4}");
}

#[test]
fn any_batch_size_gives_the_same() {
    let expected = decode(LINES, 8192);
    for rows in 1..LINES.lines().count() + 1 {
        assert_eq!(decode(LINES, rows), expected, "batch_rows = {rows}");
    }
}

#[test]
fn hostile_lines_are_faults() {
    let deep = format!("{{\"id\": {}{}}}", "[".repeat(1500), "]".repeat(1500));
    let long = format!("{{\"id\": 1, \"name\": \"{}\"}}", "x".repeat(5000));
    let text = format!("{deep}\n{long}\n{{\"id\": 1}}\n");
    let (rows, bad) = decode(&text, 10);
    assert_eq!(bad.len(), 2, "{rows}");
    assert!(bad[0].1.contains("nested too deep"), "{}", bad[0].1);
    assert!(bad[1].1.contains("record_bytes_max"), "{}", bad[1].1);
    let (_, bad) = decode("\u{0}\u{1}\n{\"id\": \"\\ud800\"}", 10);
    assert_eq!(bad.len(), 2);
}

#[test]
fn units_of_numbers() {
    for (unit, number) in [
        (TimestampUnit::Seconds, 1_700_000_000i64),
        (TimestampUnit::Milliseconds, 1_700_000_000_000),
        (TimestampUnit::Nanoseconds, 1_700_000_000_000_000_999),
    ] {
        let settings = DecodeSettings::new(Schema::new(vec![Column::new("ts", SqlType::TimestampTz)]));
        let mut decoder = NdjsonDecoder::new(NdjsonOptions { timestamp_unit: unit }, settings).unwrap();
        let text = format!("{{\"ts\": {number}}}\n{{\"ts\": null}}\n{{\"ts\": \"2024-01-01\"}}\n");
        let decoded = decoder.decode(text.as_bytes()).unwrap().remove(0);
        let times = decoded.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!((times.value(0), times.is_null(1)), (1_700_000_000_000_000, true));
        assert_eq!(decoded.bad.len(), 1);
    }
}

/// What one value becomes in a column of one type.
fn one(ty: SqlType, json: &str) -> Result<String, String> {
    let settings = DecodeSettings::new(Schema::new(vec![Column::new("v", ty)]));
    let mut decoder = NdjsonDecoder::new(NdjsonOptions::default(), settings).unwrap();
    let mut decoded = decoder.decode(format!("{{\"v\": {json}}}").as_bytes()).unwrap().remove(0);
    if let Some(bad) = decoded.bad.pop() {
        return Err(bad.reason);
    }
    let mut text = String::new();
    crate::types::text::write::write_value(decoded.rows.column(0), 0, &mut text).unwrap();
    Ok(text)
}

#[test]
fn values_are_exact_or_faults() {
    let array = |element: SqlType| SqlType::Array(Box::new(element));
    let row = SqlType::Row(vec![("a".into(), SqlType::Int), ("b".into(), array(SqlType::Varchar))]);
    let check = |ty: SqlType, json: &str, expected: Option<&str>| {
        assert_eq!(one(ty.clone(), json).ok().as_deref(), expected, "{json} as {ty}");
    };
    check(SqlType::BigInt, "1.5", None);
    check(SqlType::BigInt, "1e3", None);
    check(SqlType::BigInt, "\"12\"", Some("12"));
    check(SqlType::BigInt, "9223372036854775807", Some("9223372036854775807"));
    check(SqlType::BigInt, "9223372036854775808", None);
    check(SqlType::BigInt, "true", None);
    check(SqlType::SmallInt, "40000", None);
    check(SqlType::Double, "1e400", None);
    check(SqlType::Double, "0", Some("0"));
    check(SqlType::Double, "\"NaN\"", Some("NaN"));
    check(SqlType::Decimal { precision: 5, scale: 2 }, "1.005", Some("1.01"));
    check(SqlType::Decimal { precision: 5, scale: 2 }, "1000", None);
    check(SqlType::Boolean, "1", Some("true"));
    check(SqlType::Boolean, "2", None);
    check(SqlType::Varchar, "{\"a\" : 1}", Some("{\"a\" : 1}"));
    check(SqlType::Varchar, "1.50", Some("1.50"));
    check(SqlType::Bytea, "\"\\\\x00ff\"", Some("\\x00ff"));
    check(SqlType::Time, "\"12:34:56\"", Some("12:34:56"));
    check(SqlType::Timestamp, "\"1960-01-01T00:00:00.5+02:00\"", Some("1959-12-31 22:00:00.5"));
    check(SqlType::Uuid, "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"", Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"));
    check(SqlType::Uuid, "\"a0\"", None);
    check(SqlType::Jsonb, "{\"b\":[1,2.50],\"a\":null}", Some("{\"a\": null, \"b\": [1, 2.50]}"));
    check(SqlType::Jsonb, "\"x\"", Some("\"x\""));
    check(array(SqlType::Int), "[1,null,\"3\"]", Some("{1,NULL,3}"));
    check(array(SqlType::Int), "[1,2.5]", None);
    check(array(SqlType::Int), "7", None);
    check(row.clone(), "{\"b\": [\"x y\"], \"c\": 0}", Some("(,\"{\"\"x y\"\"}\")"));
    check(row.clone(), "{\"a\": \"x\"}", None);
    check(array(row), "[{\"a\": 1}, null]", Some("{\"(1,)\",NULL}"));
}

#[test]
fn of_a_field_given_twice_the_last_counts() {
    let (rows, bad) = decode("{\"id\": 1, \"id\": 2, \"n\\u0061me\": \"x\"}\n", 10);
    assert!(rows.contains("| 2 ") && rows.contains("| x "), "{rows} {bad:?}");
}
