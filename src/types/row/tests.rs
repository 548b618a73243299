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

/// Texts read as values of a type.
fn column(ty: &SqlType, texts: &[Option<&str>]) -> ArrayRef {
    let (values, misread) = crate::types::text::read_column(&StringArray::from(texts.to_vec()), ty).unwrap();
    assert_eq!(misread, [], "{ty}");
    values
}

fn nested_types() -> Vec<(SqlType, Vec<Option<&'static str>>)> {
    let array = |element: SqlType| SqlType::Array(Box::new(element));
    let row = SqlType::Row(vec![("a".into(), SqlType::Int), ("b".into(), array(SqlType::Varchar))]);
    // In order.
    vec![
        (
            array(SqlType::Int),
            vec![Some("{}"), Some("{-1}"), Some("{1}"), Some("{1,2}"), Some("{1,NULL}"), Some("{NULL}"), None],
        ),
        (
            array(SqlType::Varchar),
            vec![Some("{}"), Some("{\"\"}"), Some("{a}"), Some("{a,\"\"}"), Some("{a,b}"), Some("{ab}"), None],
        ),
        (row.clone(), vec![Some("(1,{})"), Some("(1,{a})"), Some("(1,)"), Some("(2,)"), Some("(,)"), None]),
        (array(row), vec![Some("{}"), Some("{\"(1,{a})\"}"), Some("{NULL}"), None]),
        (
            SqlType::Uuid,
            vec![Some("00000000-0000-0000-0000-000000000001"), Some("a0eebc999c0b4ef8bb6d6bb9bd380a11"), None],
        ),
        (SqlType::Jsonb, vec![Some("null"), Some("\"a\""), Some("-1"), Some("1.5"), Some("[1]"), Some("{}"), None]),
    ]
}

#[test]
fn nested_values_come_back_and_sort() {
    for (ty, texts) in nested_types() {
        let values = column(&ty, &texts);
        let codec = RowCodec::new(vec![ty.clone(), SqlType::Int]);
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..texts.len() as i32));
        let rows = codec.encode(&[Arc::clone(&values), numbers]).unwrap();
        assert!(rows.iter().collect::<Vec<_>>().is_sorted(), "{ty}");
        let back = codec.decode(rows.iter()).unwrap();
        assert_eq!(&back[0], &values, "{ty}");
        for row in rows.iter() {
            assert_eq!(RowCodec::skip(&ty, row).map(<[u8]>::len), Some(5), "{ty}");
            for end in 0..row.len() {
                assert!(codec.decode([&row[..end]]).is_err(), "{ty}: {row:x?} to {end}");
            }
        }
        // A slice is encoded as the values it shows.
        let slice = codec.encode(&[values.slice(1, 2), Arc::new(Int32Array::from(vec![1, 2]))]).unwrap();
        assert_eq!(slice.iter().collect::<Vec<_>>(), rows.iter().skip(1).take(2).collect::<Vec<_>>(), "{ty}");
    }
}

#[test]
fn golden_bytes_of_nested_values() {
    let array = SqlType::Array(Box::new(SqlType::SmallInt));
    let row = SqlType::Row(vec![("a".into(), SqlType::Boolean), ("b".into(), SqlType::Uuid)]);
    let codec = RowCodec::new(vec![array.clone(), row.clone(), SqlType::Jsonb]);
    let uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
    let record = format!("(t,{uuid})");
    let columns = [
        column(&array, &[Some("{7,NULL}")]),
        column(&row, &[Some(&record)]),
        column(&SqlType::Jsonb, &[Some("[true, \"a\"]")]),
    ];
    let rows = codec.encode(&columns).unwrap();
    let expected = [
        &[1, 1, 0x80, 7, 2, 0][..],
        &[1, 1, 1, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        &[1, 6, 0, 0xff, 0, 0xff, 0, 0xff, 2, 5, 2, 0x61, 0, 0xff, 0, 0],
    ];
    assert_eq!(rows.row(0), expected.concat());
}
