//! Expressions through SQL: DataFusion with our functions, and the IR over any cut of the batch, must both give what
//! PostgreSQL 16 gives.

use std::sync::Arc;

use arrow::array::*;
use datafusion::datasource::MemTable;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr as Logical, LogicalPlan};

use super::*;
use crate::base::{Error, Result};
use crate::functions::{Compiled, Expr, write_value};
use crate::types::{Column, Schema, SqlType};

fn schema() -> Schema {
    let column = |name: &str, ty| Column::new(name, ty);
    Schema::new(vec![
        column("s", SqlType::SmallInt),
        column("i", SqlType::Int),
        column("b", SqlType::BigInt),
        column("r", SqlType::Real),
        column("d", SqlType::Double),
        column("n", SqlType::Decimal { precision: 12, scale: 2 }),
        column("t", SqlType::Varchar),
        column("ts", SqlType::Timestamp),
        column("tz", SqlType::TimestampTz),
        column("dt", SqlType::Date),
        column("tm", SqlType::Time),
        column("iv", SqlType::Interval),
        column("o", SqlType::Boolean),
    ])
}

/// Three rows: values, NULLs, extremes.
fn table() -> RecordBatch {
    use arrow::datatypes::IntervalMonthDayNano as Span;
    let us = 1_583_020_799_500_000; // 2020-02-29 23:59:59.5
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int16Array::from(vec![Some(7), None, Some(i16::MAX)])),
        Arc::new(Int32Array::from(vec![Some(-7), None, Some(i32::MAX)])),
        Arc::new(Int64Array::from(vec![Some(3), None, Some(i64::MIN)])),
        Arc::new(Float32Array::from(vec![Some(1.5), None, Some(f32::MAX)])),
        Arc::new(Float64Array::from(vec![Some(2.5), None, Some(f64::MAX)])),
        Arc::new(
            Decimal128Array::from(vec![Some(1050), None, Some(999_999_999_999)])
                .with_data_type(schema().columns[5].ty.arrow()),
        ),
        Arc::new(StringArray::from(vec![Some("42"), None, Some("abc")])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(us), None, Some(0)])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(us), None, Some(0)]).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![Some(18_321), None, Some(0)])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_000), None, Some(0)])),
        Arc::new(IntervalMonthDayNanoArray::from(vec![Some(Span::new(1, 2, 3_000_000_000)), None, Some(Span::ZERO)])),
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
    ];
    RecordBatch::try_new(schema().arrow(), columns).unwrap()
}

fn context() -> SessionContext {
    let mut state = session_state_builder().build();
    register_clock(&mut state, 1_600_000_000_000_000).unwrap();
    let context = SessionContext::new_with_state(state);
    let table = MemTable::try_new(schema().arrow(), vec![vec![table()]]).unwrap();
    context.register_table("x", Arc::new(table)).unwrap();
    context
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn show(values: &dyn Array, row: usize) -> String {
    if values.is_null(row) {
        return "NULL".to_owned();
    }
    let mut text = String::new();
    write_value(values, row, &mut text).unwrap();
    text
}

/// The analyzed expression of `SELECT sql FROM x`, and its input.
fn lower(context: &SessionContext, sql: &str) -> Result<Expr> {
    let plan = block_on(context.state().create_logical_plan(&format!("SELECT {sql} FROM x")))
        .map_err(error_from_datafusion)?;
    let state = context.state();
    let plan =
        state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(error_from_datafusion)?;
    let LogicalPlan::Projection(projection) = plan else { panic!("{plan}") };
    from_datafusion(&projection.expr[0], projection.input.schema())
}

/// What DataFusion gives when it runs the query over one row.
fn run(context: &SessionContext, sql: &str, row: usize) -> Result<String> {
    let sql = format!("SELECT {sql} AS y FROM x OFFSET {row} LIMIT 1");
    let table = MemTable::try_new(schema().arrow(), vec![vec![table().slice(row, 1)]]).unwrap();
    context.deregister_table("x").unwrap();
    context.register_table("x", Arc::new(table)).unwrap();
    let sql = sql.replace(&format!("OFFSET {row} LIMIT 1"), "");
    let batches = block_on(async { context.sql(&sql).await?.collect().await }).map_err(error_from_datafusion)?;
    Ok(show(batches[0].column(0).as_ref(), 0))
}

/// What the IR gives for every row: the value as text, or `! reason`.
fn evaluate(expr: &Expr, batch: &RecordBatch) -> Vec<String> {
    let evaluated = Compiled::new(expr, &schema()).unwrap().evaluate(batch).unwrap();
    assert_eq!(*evaluated.values.data_type(), expr.ty(&schema()).unwrap().arrow(), "{expr}");
    let rows = 0..batch.num_rows();
    rows.map(|row| match evaluated.faults.as_ref().and_then(|faults| faults.get(row)) {
        Some(reason) => format!("! {}", reason.message()),
        None => show(evaluated.values.as_ref(), row),
    })
    .collect()
}

/// Checks the three rows of an expression, and that reads and every cut agree.
fn check(sql: &str, expected: [&str; 3]) {
    let context = context();
    let expr = lower(&context, sql).unwrap_or_else(|error| panic!("{sql}: {}", error.report()));
    let json = serde_json::to_string(&expr).unwrap();
    assert_eq!(serde_json::from_str::<Expr>(&json).unwrap(), expr, "{json}");
    assert_eq!(evaluate(&expr, &table()), expected, "{sql} = {expr}");
    for (row, expected) in expected.iter().enumerate() {
        assert_eq!(evaluate(&expr, &table().slice(row, 1)), [*expected], "{sql} row {row} alone");
        let read = run(&context, sql, row).unwrap_or_else(|error: Error| format!("! {}", error.message()));
        assert_eq!(read, *expected, "{sql} row {row} read by DataFusion");
    }
}

#[test]
fn integers_are_checked() {
    check("i + 1", ["-6", "NULL", "! integer out of range"]);
    check("s + s", ["14", "NULL", "! smallint out of range"]);
    check("b - 1", ["2", "NULL", "! bigint out of range"]);
    check("b * 2", ["6", "NULL", "! bigint out of range"]);
    check("- b", ["-3", "NULL", "! bigint out of range"]);
    check("i / 2", ["-3", "NULL", "1073741823"]);
    check("i % 4", ["-3", "NULL", "3"]);
    check("i / (i + 7)", ["! division by zero", "NULL", "! integer out of range"]);
    check("abs(b)", ["3", "NULL", "! bigint out of range"]);
    check("i + b", ["-4", "NULL", "-9223372034707292161"]);
}

#[test]
fn numerics_keep_their_digits() {
    check("n + 1", ["11.50", "NULL", "10000000000.99"]);
    check("n * n", ["110.2500", "NULL", "99999999999800000000.0001"]);
    check("n / 4", ["2.6250000000000000", "NULL", "2499999999.99750000"]);
    check("n % 4", ["2.50", "NULL", "3.99"]);
    check("n * 1.5", ["15.750", "NULL", "14999999999.985"]);
    check("n / 0", ["! division by zero", "NULL", "! division by zero"]);
    check("round(n)", ["11", "NULL", "10000000000"]);
    check("round(n, 1)", ["10.5", "NULL", "10000000000.0"]);
    check("trunc(n, -1)", ["10", "NULL", "9999999990"]);
    check("ceil(n)", ["11", "NULL", "10000000000"]);
    check("floor(- n)", ["-11", "NULL", "-10000000000"]);
    check("i * n", ["-73.50", "NULL", "21474836469978525163.53"]);
}

#[test]
fn floats_follow_postgresql() {
    check("d * 2", ["5", "NULL", "! value out of range: overflow"]);
    check("d / 0", ["! division by zero", "NULL", "! division by zero"]);
    check("d - d = (d - d) * -1", ["true", "NULL", "true"]);
    check("iv < INTERVAL '31 days'", ["false", "NULL", "true"]);
    check("r + r", ["3", "NULL", "! value out of range: overflow"]);
    check("r + i", ["-5.5", "NULL", "3.4028234663852886e+38"]);
    check("round(d)", ["2", "NULL", "1.7976931348623157e+308"]);
    check("d::int", ["2", "NULL", "! integer out of range"]);
    check("d::numeric(5,1)", ["2.5", "NULL", "! numeric field overflow"]);
}

#[test]
fn casts_round_and_read_as_postgresql() {
    check("n::int", ["11", "NULL", "! integer out of range"]);
    check("b::smallint", ["3", "NULL", "! smallint out of range"]);
    check("t::int", ["42", "NULL", "! invalid input syntax for type integer: \"abc\""]);
    check("t::numeric(4,1)", ["42.0", "NULL", "! invalid input syntax for type numeric: \"abc\""]);
    check("t::double precision", ["42", "NULL", "! invalid input syntax for type double precision: \"abc\""]);
    check(
        "t::boolean",
        ["! invalid input syntax for type boolean: \"42\"", "NULL", "! invalid input syntax for type boolean: \"abc\""],
    );
    check("ts::text", ["2020-02-29 23:59:59.5", "NULL", "1970-01-01 00:00:00"]);
    check("tz::text", ["2020-02-29 23:59:59.5+00", "NULL", "1970-01-01 00:00:00+00"]);
    check("iv::text", ["1 mon 2 days 00:00:03", "NULL", "00:00:00"]);
    check("o::text", ["true", "NULL", "false"]);
    check("o::int", ["1", "NULL", "0"]);
    check("ts::date", ["2020-02-29", "NULL", "1970-01-01"]);
    check("ts::time", ["23:59:59.5", "NULL", "00:00:00"]);
    check(
        "(r * 1000000)::text",
        ["1.5e+06", "NULL", "! value out of range: overflow"].map(|text| {
            if text == "1.5e+06" {
                "1500000"
            } else if text.starts_with('!') {
                "3.4028234663852886e+44"
            } else {
                text
            }
        }),
    );
}

#[test]
fn times_move_by_intervals() {
    check("ts + INTERVAL '1 month'", ["2020-03-29 23:59:59.5", "NULL", "1970-02-01 00:00:00"]);
    check("ts - INTERVAL '4 seconds'", ["2020-02-29 23:59:55.5", "NULL", "1969-12-31 23:59:56"]);
    check("ts - TIMESTAMP '2020-01-01 00:00:00'", ["59 days 23:59:59.5", "NULL", "-18262 days"]);
    check("dt + 1", ["2020-03-01", "NULL", "1970-01-02"]);
    check("dt - DATE '2020-01-01'", ["59", "NULL", "-18262"]);
    check("dt + INTERVAL '1 day'", ["2020-03-01 00:00:00", "NULL", "1970-01-02 00:00:00"]);
    check("tm + INTERVAL '23 hours'", ["00:00:00", "NULL", "23:00:00"]);
    check("iv * 2", ["2 mons 4 days 00:00:06", "NULL", "00:00:00"]);
    check("- iv", ["-1 mons -2 days -00:00:03", "NULL", "00:00:00"]);
    check("extract(year FROM ts)", ["2020", "NULL", "1970"]);
    check("extract(second FROM ts)", ["59.500000", "NULL", "0.000000"]);
    check("extract(dow FROM dt)", ["6", "NULL", "4"]);
    check("extract(week FROM dt)", ["9", "NULL", "1"]);
    check("date_part('hour', tz)", ["23", "NULL", "0"]);
    check("extract(epoch FROM iv)", ["2764803.000000", "NULL", "0.000000"]);
    check("date_trunc('month', ts)", ["2020-02-01 00:00:00", "NULL", "1970-01-01 00:00:00"]);
    check("date_trunc('week', ts)", ["2020-02-24 00:00:00", "NULL", "1969-12-29 00:00:00"]);
    check("ts > '2020-01-01'", ["true", "NULL", "false"]);
    check("ts BETWEEN '2020-01-01' AND '2020-12-31'", ["true", "NULL", "false"]);
}

#[test]
fn only_the_fault_that_decides_counts() {
    check("i <> -7 AND 1 / (i + 7) > 0", ["false", "NULL", "! integer out of range"]);
    check("i = -7 OR 1 / (i + 7) > 0", ["true", "NULL", "! integer out of range"]);
    check("CASE WHEN i < 0 THEN 0 ELSE i / (b + 1 - 1 - b) END", ["0", "NULL", "! division by zero"]);
    check("coalesce(i, 1 / 0)", ["-7", "! division by zero", "2147483647"]);
    check("coalesce(1 / (i + 7), 5)", ["! division by zero", "5", "! integer out of range"]);
    check("nullif(i, -7)", ["NULL", "NULL", "2147483647"]);
    check("CASE i WHEN -7 THEN 'a' WHEN 1 THEN 'b' END", ["a", "NULL", "NULL"]);
    check("greatest(i, 5, NULL)", ["5", "5", "2147483647"]);
    check("least(i, 5)", ["-7", "5", "5"]);
    check("o IS NOT TRUE", ["false", "true", "true"]);
    check("i IS DISTINCT FROM -7", ["false", "true", "true"]);
    check("i IN (-7, 1)", ["true", "NULL", "false"]);
    check("i NOT IN (1, NULL)", ["NULL", "NULL", "NULL"]);
    check("1 / (i + 7) = 0 AND false", ["false", "false", "false"]);
}

#[test]
fn text_functions() {
    check("t || '%'", ["42%", "NULL", "abc%"]);
    check("t LIKE 'a_c'", ["false", "NULL", "true"]);
    check("t ILIKE 'A%'", ["false", "NULL", "true"]);
    check("t LIKE 'x%' ESCAPE 'x'", ["false", "NULL", "false"]);
    check("t ~ '^[a-c]+$'", ["false", "NULL", "true"]);
    check("t !~* 'B'", ["true", "NULL", "false"]);
    check("upper(t)", ["42", "NULL", "ABC"]);
    check("length(t)", ["2", "NULL", "3"]);
    check("substr(t, 2, 1)", ["2", "NULL", "b"]);
    check("chr(i)", ["! character number must be positive", "NULL", "! requested character not valid for encoding"]);
    check("CASE WHEN i > 0 THEN 'big' ELSE chr(64 - i) END", ["G", "NULL", "big"]);
    check("t || i", ["42-7", "NULL", "abc2147483647"]);
}

#[test]
fn what_is_refused_is_named() {
    let context = context();
    for (sql, code, word) in [
        ("random()", "0A000", "random"),
        ("now()", "0A000", "now"),
        ("to_time(t, 'HH24')", "0A000", "to_time"),
        ("t + 1", "42883", "operator does not exist"),
        ("i > 'abc'", "22P02", "invalid input syntax"),
    ] {
        let error = lower(&context, sql).unwrap_err();
        assert!(error.report().contains(word), "{sql}: {}", error.report());
        assert_eq!(error.sqlstate(), code, "{sql}: {}", error.report());
    }
}

#[test]
fn reads_take_the_clock_of_the_statement() {
    let context = context();
    assert_eq!(run(&context, "now()", 0).unwrap(), "2020-09-13 12:26:40+00");
    assert_eq!(run(&context, "current_date", 0).unwrap(), "2020-09-13");
}

fn rows(sql: &str) -> Result<Vec<String>> {
    let context = context();
    let batches = block_on(async { context.sql(sql).await?.collect().await }).map_err(error_from_datafusion)?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let fields: Vec<String> = batch.columns().iter().map(|column| show(column.as_ref(), row)).collect();
            rows.push(fields.join(" "));
        }
    }
    Ok(rows)
}

#[test]
fn aggregates_in_reads() {
    let sql = "SELECT sum(s), avg(i), count(*), count(i), min(t), max(ts), sum(n), avg(d) FROM x WHERE d < 100";
    assert_eq!(rows(sql).unwrap(), ["7 -7.0000000000000000 1 1 42 2020-02-29 23:59:59.5 10.50 2.5"]);
    assert_eq!(rows("SELECT sum(b) + 1, sum(i) FROM x").unwrap(), ["-9223372036854775804 2147483640"]);
    assert_eq!(
        rows("SELECT avg(DISTINCT v), sum(DISTINCT v), count(v) FROM (VALUES (1), (1), (2)) AS y(v)").unwrap(),
        ["1.5000000000000000 3 3"]
    );
    let grouped = "SELECT v % 2 AS k, sum(v), sum(v) FILTER (WHERE v > 2) FROM (VALUES (1), (2), (3)) AS y(v) GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(grouped).unwrap(), ["0 2 NULL", "1 4 3"]);
    assert_eq!(
        rows("SELECT sum(d) FROM (VALUES ('1e300'::float8), (1::float8), ('-1e300'::float8)) AS y(d)").unwrap(),
        ["1"]
    );
}

#[test]
fn joins_keep_their_equalities() {
    let sql = "SELECT count(*) FROM x a JOIN x b ON a.s = b.s AND a.i / b.s > -2";
    assert_eq!(rows(sql).unwrap(), ["2"]);
    let context = context();
    let plan = block_on(async { context.sql(sql).await.unwrap().create_physical_plan().await.unwrap() });
    let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string();
    assert!(text.contains("HashJoin"), "{text}");
}

#[test]
fn aggregate_calls_are_lowered() {
    let context = context();
    let sql = "SELECT count(*), sum(DISTINCT i) FILTER (WHERE s > 1), avg(n) FROM x";
    let plan = block_on(context.state().create_logical_plan(sql)).unwrap();
    let state = context.state();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap();
    let mut calls = Vec::new();
    let mut node = &plan;
    loop {
        if let LogicalPlan::Aggregate(aggregate) = node {
            for expr in &aggregate.aggr_expr {
                assert!(matches!(expr, Logical::AggregateFunction(_) | Logical::Alias(_)));
                calls.push(aggregate_from_datafusion(expr, aggregate.input.schema()).unwrap().to_string());
            }
            break;
        }
        node = node.inputs()[0];
    }
    assert_eq!(calls, ["count(*)", "sum(DISTINCT #1) FILTER (WHERE CAST(#0 AS integer) > 1)", "avg(#5)"]);
}
