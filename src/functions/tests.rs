//! Literals, text and hostile values.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::IntervalMonthDayNano;

use super::*;
use crate::types::{Column, Schema, SqlType};

fn literals() -> Vec<(Literal, &'static str)> {
    let of = |ty, value| Literal { ty, value };
    let numeric = SqlType::Decimal { precision: 38, scale: 2 };
    vec![
        (Literal::boolean(true), "true"),
        (of(SqlType::SmallInt, Value::Integer(-5)), "-5"),
        (of(SqlType::Int, Value::Integer(5)), "5"),
        (Literal::bigint(i64::MIN), "-9223372036854775808"),
        (of(SqlType::Real, Value::Float(1.5.into())), "1.5"),
        (Literal::double(f64::NAN), "NaN"),
        (Literal::double(f64::NEG_INFINITY), "-Infinity"),
        (Literal::double(0.1), "0.1"),
        (Literal::double(1e-7), "1e-07"),
        (of(numeric, Value::Decimal(Digits(-(10i128.pow(38) - 1)))), "-999999999999999999999999999999999999.99"),
        (Literal::text("it's"), "'it''s'"),
        (of(SqlType::Bytea, Value::Bytes(vec![0, 255])), "BYTEA '\\x00ff'"),
        (of(SqlType::Date, Value::Integer(0)), "DATE '1970-01-01'"),
        (of(SqlType::Time, Value::Integer(1)), "TIME '00:00:00.000001'"),
        (of(SqlType::Timestamp, Value::Integer(-1)), "TIMESTAMP '1969-12-31 23:59:59.999999'"),
        (of(SqlType::TimestampTz, Value::Integer(0)), "TIMESTAMPTZ '1970-01-01 00:00:00+00'"),
        (Literal::interval(14, -3, 1_000_000), "INTERVAL '1 year 2 mons -3 days +00:00:00.001'"),
        (Literal::null(SqlType::Int), "NULL"),
    ]
}

#[test]
fn literals_survive_json_arrays_and_text() {
    for (literal, text) in literals() {
        assert_eq!(literal.to_string(), text);
        let json = serde_json::to_string(&literal).unwrap();
        assert_eq!(serde_json::from_str::<Literal>(&json).unwrap(), literal, "{json}");
        let array = literal.to_array().unwrap();
        assert_eq!(*array.data_type(), literal.ty.arrow());
        assert_eq!(Literal::from_array(array.as_ref(), 0).unwrap(), literal);
        // CAST(CAST(x AS varchar) AS type) is x.
        let round = Expr::Literal(literal.clone()).cast(SqlType::Varchar).cast(literal.ty.clone());
        let row = RecordBatch::try_new(row_schema().arrow(), vec![Arc::new(Int32Array::from(vec![0]))]).unwrap();
        let values = Compiled::new(&round, &row_schema()).unwrap().evaluate(&row).unwrap().all().unwrap();
        assert_eq!(Literal::from_array(values.as_ref(), 0).unwrap(), literal);
    }
}

fn row_schema() -> Schema {
    Schema::new(vec![Column::new("x", SqlType::Int)])
}

/// Casts texts to `ty` and shows each as text or `! reason`.
fn read(ty: SqlType, texts: &[&str]) -> Vec<String> {
    let input = Schema::new(vec![Column::new("t", SqlType::Varchar)]);
    let expr = Expr::Column(0).cast(ty).cast(SqlType::Varchar);
    let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let batch = RecordBatch::try_new(input.arrow(), vec![column]).unwrap();
    let evaluated = Compiled::new(&expr, &input).unwrap().evaluate(&batch).unwrap();
    let values = evaluated.values.as_string::<i32>();
    let show = |row| match evaluated.faults.as_ref().and_then(|faults| faults.get(row)) {
        Some(reason) => format!("! {}", reason.code()),
        None => values.value(row).to_owned(),
    };
    (0..texts.len()).map(show).collect()
}

#[test]
fn text_is_read_as_postgresql_reads_it() {
    let numeric = SqlType::Decimal { precision: 5, scale: 2 };
    assert_eq!(
        read(numeric, &[" 1.005 ", "-1.005", "1e2", "999.995", ".5", "1.", "1.2.3", "", "1e400"]),
        ["1.01", "-1.01", "100.00", "! 22003", "0.50", "1.00", "! 22P02", "! 22P02", "! 22003"]
    );
    assert_eq!(
        read(SqlType::SmallInt, &["+7", " -32768", "32768", "1.5", "99999999999999999999"]),
        ["7", "-32768", "! 22003", "! 22P02", "! 22003"]
    );
    assert_eq!(
        read(SqlType::Double, &["1e400", "inf", "-Infinity", "nan", "1e-400", "0x1"]),
        ["! 22003", "Infinity", "-Infinity", "NaN", "! 22003", "! 22P02"]
    );
    assert_eq!(read(SqlType::Boolean, &["t", "YES", "of", "o", "1"]), ["true", "true", "false", "! 22P02", "true"]);
    assert_eq!(
        read(
            SqlType::TimestampTz,
            &["2020-01-01 00:00:00+02:30", "2020-01-01T00:00:00Z", "2020-13-01", "x", "999999-01-01"]
        ),
        ["2019-12-31 21:30:00+00", "2020-01-01 00:00:00+00", "! 22008", "! 22007", "! 22008"]
    );
    assert_eq!(read(SqlType::Date, &["20200229", "2020/02/29", "2021-02-29"]), ["2020-02-29", "2020-02-29", "! 22008"]);
    assert_eq!(
        read(
            SqlType::Interval,
            &[
                "1.5 days",
                "P1Y2M3DT4H5M6S",
                "2 weeks ago",
                "90 minutes",
                "-1:30",
                "1 fortnight",
                "999999999:0 999999999:0 999999999:0"
            ]
        ),
        ["1 day 12:00:00", "1 year 2 mons 3 days 04:05:06", "-14 days", "01:30:00", "-01:30:00", "! 22007", "! 22008"]
    );
}

#[test]
fn hostile_values_fault_and_never_panic() {
    let input = Schema::new(vec![
        Column::new("ts", SqlType::Timestamp),
        Column::new("dt", SqlType::Date),
        Column::new("iv", SqlType::Interval),
        Column::new("n", SqlType::Decimal { precision: 38, scale: 38 }),
    ]);
    let span = IntervalMonthDayNano::new;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, i64::MAX])),
        Arc::new(Date32Array::from(vec![i32::MIN, i32::MAX])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![
            span(i32::MIN, i32::MIN, i64::MIN),
            span(i32::MAX, i32::MAX, i64::MAX),
        ])),
        Arc::new(
            Decimal128Array::from(vec![1 - 10i128.pow(38), 10i128.pow(38) - 1])
                .with_data_type(input.columns[3].ty.arrow()),
        ),
    ];
    let batch = RecordBatch::try_new(input.arrow(), columns).unwrap();
    let column = Expr::Column;
    let mut exprs: Vec<Expr> = (0..4).map(|i| column(i).cast(SqlType::Varchar)).collect();
    for op in [BinaryOp::Add, BinaryOp::Subtract, BinaryOp::Multiply, BinaryOp::Divide, BinaryOp::Modulo] {
        for (left, right) in (0..4).flat_map(|left| (0..4).map(move |right| (left, right))) {
            exprs.push(Expr::binary(op, column(left), column(right)));
        }
        exprs.push(Expr::binary(op, column(2), Expr::Literal(Literal::double(1e300))));
    }
    exprs.extend([
        column(1).cast(SqlType::Timestamp),
        column(0).cast(SqlType::Date),
        Expr::Negate(Box::new(column(2))),
    ]);
    for (unit, on) in ["century", "week", "day", "epoch", "second"].into_iter().flat_map(|unit| [(unit, 0), (unit, 2)])
    {
        for function in ["date_trunc", "extract"] {
            let args = vec![Expr::Literal(Literal::text(unit)), column(on)];
            let ty = input.columns[on].ty.clone();
            let ty = if function == "extract" { SqlType::Decimal { precision: 20, scale: 6 } } else { ty };
            exprs.push(Expr::Call { function: function.to_owned(), args, ty });
        }
    }
    let mut evaluated = 0;
    for expr in exprs {
        let Ok(compiled) = Compiled::new(&expr, &input) else { continue };
        compiled.evaluate(&batch).unwrap();
        compiled.evaluate(&batch.slice(0, 0)).unwrap();
        evaluated += 1;
    }
    assert!(evaluated > 20, "{evaluated}");
}

#[test]
fn expressions_print_as_sql() {
    let condition = Expr::And(vec![
        Expr::binary(BinaryOp::Greater, Expr::Column(0), Expr::Literal(Literal::bigint(1))),
        Expr::Is { expr: Box::new(Expr::Column(0)), test: Test::Null, negated: true },
    ]);
    assert_eq!(condition.to_string(), "(#0 > 1) AND (#0 IS NOT NULL)");
    assert_eq!(Named { expr: &condition, input: &row_schema() }.to_string(), "(x > 1) AND (x IS NOT NULL)");
    let mut moved = condition.clone();
    moved.map_columns(&mut |column| column + 3);
    assert_eq!(moved.columns().into_iter().collect::<Vec<_>>(), [3]);
}

#[test]
fn case_looks_at_no_more_than_decides() {
    let int = |value: i64| Expr::Literal(Literal { ty: SqlType::Int, value: Value::Integer(value) });
    let divided = |over: i64, by: Expr| Expr::binary(BinaryOp::Divide, int(over), by);
    let x = || Expr::Column(0);
    // CASE WHEN x = 0 THEN -1 WHEN 10 / (x - 1) > 4 THEN 7 WHEN x < 0 THEN 100 / (x + 2) ELSE x END
    let less = |by: i64| Expr::binary(BinaryOp::Subtract, x(), int(by));
    let case = Expr::Case {
        branches: vec![
            (Expr::binary(BinaryOp::Equal, x(), int(0)), int(-1)),
            (Expr::binary(BinaryOp::Greater, divided(10, less(1)), int(4)), int(7)),
            (Expr::binary(BinaryOp::Less, x(), int(0)), divided(100, less(-2))),
        ],
        otherwise: Some(Box::new(x())),
    };
    let column: ArrayRef =
        Arc::new(Int32Array::from(vec![Some(0), Some(1), Some(2), Some(-2), Some(-3), None, Some(9)]));
    let batch = RecordBatch::try_new(row_schema().arrow(), vec![column]).unwrap();
    let evaluated = Compiled::new(&case, &row_schema()).unwrap().evaluate(&batch).unwrap();
    let values: Vec<Option<i32>> = evaluated.values.as_primitive::<arrow::datatypes::Int32Type>().iter().collect();
    let faults = evaluated.faults.unwrap();
    let fault = |row: usize| faults.get(row).map(Reason::code);
    assert_eq!([0, 2, 4, 5, 6].map(|row| values[row]), [Some(-1), Some(7), Some(-100), None, Some(9)]);
    assert_eq!((0..7).map(fault).collect::<Vec<_>>(), [None, Some("22012"), None, Some("22012"), None, None, None]);
}

#[test]
fn what_is_said_twice_is_computed_once() {
    let input = Schema::new(vec![Column::new("t", SqlType::Varchar)]);
    let lower = || Expr::Call { function: "lower".into(), args: vec![Expr::Column(0)], ty: SqlType::Varchar };
    let is = |text: &str| Expr::binary(BinaryOp::Equal, lower(), Expr::Literal(Literal::text(text)));
    let among = Expr::InList {
        expr: Box::new(lower()),
        list: ["a", "b"].map(|text| Expr::Literal(Literal::text(text))).to_vec(),
        negated: false,
    };
    let shared = |expr: &Expr| Compiled::new(expr, &input).unwrap().shared_parts();
    assert_eq!((shared(&is("a")), shared(&among), shared(&Expr::Or(vec![is("a"), is("b")]))), (0, 1, 1));
    let batch =
        RecordBatch::try_new(input.arrow(), vec![Arc::new(StringArray::from(vec!["A", "b", "\u{c4}", "x"]))]).unwrap();
    let either = Expr::Or(vec![among, is("\u{e4}")]);
    assert_eq!(shared(&either), 1);
    let values = Compiled::new(&either, &input).unwrap().evaluate(&batch).unwrap().all().unwrap();
    assert_eq!(values.as_boolean().iter().collect::<Vec<_>>(), [true, true, true, false].map(Some));
}
