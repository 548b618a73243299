//! The encoding's golden bytes, its order, and that it gives back what it was given.

use super::*;

fn sample() -> (Vec<SqlType>, Vec<ArrayRef>) {
    let types = vec![
        SqlType::BigInt,
        SqlType::Varchar,
        SqlType::Double,
        SqlType::Decimal { precision: 20, scale: 2 },
        SqlType::TimestampTz,
        SqlType::Boolean,
        SqlType::Interval,
        SqlType::Bytea,
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(7), Some(-1), None, Some(i64::MAX)])),
        Arc::new(StringArray::from(vec![Some("a"), Some("a\0b"), Some(""), None])),
        Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NEG_INFINITY), None, Some(f64::NAN)])),
        Arc::new(Decimal128Array::from(vec![Some(-5), None, Some(0), Some(12)]).with_data_type(types[3].arrow())),
        Arc::new(
            TimestampMicrosecondArray::from(vec![Some(0), Some(-1), None, Some(9)]).with_data_type(types[4].arrow()),
        ),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(1, -2, 3)),
            None,
            Some(IntervalMonthDayNano::new(0, 0, -1)),
            Some(IntervalMonthDayNano::new(-1, 30, 0)),
        ])),
        Arc::new(BinaryArray::from(vec![Some(&b"\0\0"[..]), None, Some(&b"\xff"[..]), Some(&b""[..])])),
    ];
    (types, columns)
}

#[test]
fn rows_come_back() {
    let (types, columns) = sample();
    let codec = RowCodec::new(types);
    let rows = codec.encode(&columns).unwrap();
    let back = codec.decode(rows.iter()).unwrap();
    assert_eq!(format!("{columns:?}"), format!("{back:?}"));
}

#[test]
fn golden_bytes() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![7])),
        Arc::new(StringArray::from(vec!["a"])),
        Arc::new(BooleanArray::from(vec![None])),
    ];
    let codec = RowCodec::new(vec![SqlType::BigInt, SqlType::Varchar, SqlType::Boolean]);
    let rows = codec.encode(&columns).unwrap();
    assert_eq!(rows.row(0), [1, 0x80, 0, 0, 0, 0, 0, 0, 7, 1, 0x61, 0, 0, 2]);
}

#[test]
fn bytes_sort_as_rows_do() {
    let values = [f64::NEG_INFINITY, -2.5, -0.0, 1e-300, 3.0, f64::INFINITY, f64::NAN];
    let codec = RowCodec::new(vec![SqlType::Double]);
    let rows = codec.encode(&[Arc::new(Float64Array::from(values.to_vec())) as ArrayRef]).unwrap();
    assert!(rows.iter().is_sorted());
    let codec = RowCodec::new(vec![SqlType::Varchar]);
    let texts = vec![Some(""), Some("\0"), Some("\0a"), Some("a"), Some("a\0"), Some("ab"), None];
    let rows = codec.encode(&[Arc::new(StringArray::from(texts)) as ArrayRef]).unwrap();
    assert!(rows.iter().is_sorted());
}

#[test]
fn zero_has_one_spelling() {
    let codec = RowCodec::new(vec![SqlType::Double]);
    let rows = codec.encode(&[Arc::new(Float64Array::from(vec![0.0, -0.0])) as ArrayRef]).unwrap();
    assert_eq!(rows.row(0), rows.row(1));
}

#[test]
fn foreign_bytes_are_corrupt() {
    let codec = RowCodec::new(vec![SqlType::BigInt, SqlType::Varchar]);
    for bytes in [&[][..], &[1], &[3, 3], &[2], &[2, 1, 65], &[2, 1, 65, 0], &[2, 1, 0, 7], &[2, 2, 0]] {
        assert!(codec.decode([bytes]).is_err(), "{bytes:?}");
    }
}
