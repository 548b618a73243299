//! Scripts of `chain`, and random chains over random rows against evaluating them row by row.

use super::*;
use crate::base::random::Random;
use crate::functions::{BinaryOp, Literal};
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::operators::{OperatorSpec, fault_schema};
use crate::state::Tier;

fn column(i: usize) -> Expr {
    Expr::Column(i)
}

fn number(value: i64) -> Expr {
    Expr::Literal(Literal::bigint(value))
}

fn input() -> Schema {
    schema("a bigint, b bigint, s varchar, ts timestamp")
}

fn ratio() -> Expr {
    Expr::binary(BinaryOp::Divide, column(0), column(1))
}

fn spec(steps: Vec<Step>) -> ChainSpec {
    ChainSpec { input: input(), steps }
}

#[test]
fn scripts() {
    let second = 1_000_000;
    run_scripts("chain", &|name| {
        let positive = Step::Filter(Expr::binary(BinaryOp::Greater, ratio(), number(0)));
        let project = Step::Project(vec![("ratio".into(), ratio()), ("s".into(), column(2)), ("ts".into(), column(3))]);
        let steps = match name {
            "filter" => vec![positive],
            "project" => vec![project],
            "tumble" => vec![Step::Tumble { time: 3, size_us: 10 * second, offset_us: 3 * second }],
            "unnest" => vec![lists()],
            "repeat" => vec![Step::Repeat(column(0))],
            "hop" => vec![Step::Hop { time: 3, slide_us: 4 * second, size_us: 10 * second, offset_us: 0 }],
            "hop then project" => {
                vec![Step::Hop { time: 3, slide_us: 5 * second, size_us: 10 * second, offset_us: 0 }, project]
            }
            _ => return None,
        };
        Some((OperatorSpec::Chain(spec(steps)), vec![input()]))
    });
}

/// Every row by itself through every step, windows by their definition.
fn answer(spec: &ChainSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let schemas = spec.schemas().unwrap();
    let mut found = vec![ZSet::new(spec.output().unwrap()), ZSet::new(Schema::default()), ZSet::new(fault_schema())];
    let batch = moment.inputs[0].batch();
    for row in 0..batch.len() {
        let source = batch.slice(row, 1);
        let mut rows = vec![source.rows.clone()];
        for (step, ends) in spec.steps.iter().zip(schemas.windows(2)) {
            let mut next = Vec::new();
            for row in rows {
                match one_step(step, &ends[0], &ends[1], &row) {
                    Ok(rows) => next.extend(rows),
                    Err(reason) => {
                        let weights = vec![source.weights.get(0)];
                        found[2].add(&fault_batch(&source.rows, vec![reason], weights).unwrap());
                    }
                }
            }
            rows = next;
        }
        for row in rows {
            found[0].add(&DeltaBatch { rows: row, weights: source.weights.clone() });
        }
    }
    found
}

/// The rows that one step makes of one row, or why there are none.
fn one_step(step: &Step, input: &Schema, output: &Schema, row: &RecordBatch) -> Result<Vec<RecordBatch>, String> {
    let value = |expr: &Expr| {
        let Evaluated { values, faults } = Compiled::new(expr, input).unwrap().evaluate(row).unwrap();
        faults.map_or(Ok(values), |faults| Err(faults.reason(0).to_owned()))
    };
    let (time, slide, size, offset, step) = match step {
        Step::Filter(expr) => {
            let kept = value(expr)?;
            let kept = kept.as_boolean();
            return Ok(if kept.is_valid(0) && kept.value(0) { vec![row.clone()] } else { Vec::new() });
        }
        Step::Repeat(times) => {
            let times = value(times)?;
            let times = times.as_primitive::<Int64Type>();
            let times = if times.is_valid(0) { times.value(0).max(0) } else { 0 };
            return Ok(vec![row.clone(); times as usize]);
        }
        Step::Unnest(lists) => {
            let lists = lists.iter().map(|(_, list)| value(list)).collect::<Result<Vec<_>, _>>()?;
            let lists: Vec<ArrayRef> = lists.iter().map(|list| list.as_list::<i32>().value(0)).collect();
            let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
            let element = |list: &ArrayRef, at: usize| match at < list.len() {
                true => list.slice(at, 1),
                false => arrow::array::new_null_array(list.data_type(), 1),
            };
            let row = |at: usize| {
                let elements = lists.iter().map(|list| element(list, at));
                RecordBatch::try_new(output.arrow(), row.columns().iter().cloned().chain(elements).collect()).unwrap()
            };
            return Ok((0..longest).map(row).collect());
        }
        Step::Project(columns) => {
            let columns = columns.iter().map(|(_, expr)| value(expr)).collect::<Result<Vec<_>, _>>()?;
            return Ok(vec![RecordBatch::try_new(output.arrow(), columns).unwrap()]);
        }
        Step::Tumble { time, size_us, offset_us } => (*time, *size_us, *size_us, *offset_us, *size_us),
        Step::Hop { time, slide_us, size_us, offset_us } => (*time, *slide_us, *size_us, *offset_us, *size_us),
        Step::Cumulate { time, step_us, size_us, offset_us } => (*time, *size_us, *size_us, *offset_us, *step_us),
    };
    let times = row.column(time).as_primitive::<TimestampMicrosecondType>();
    if times.is_null(0) {
        return Ok(Vec::new());
    }
    let at = times.value(0);
    let starts = (-500..500).map(|k| offset + k * slide).filter(|start| *start <= at && at < start + size);
    // Of one start: ends by steps, behind the time.
    let ends = |start: i64| (1..=size / step).map(move |k| (start, start + k * step)).filter(move |(_, end)| at < *end);
    let window = |(start, end): (i64, i64)| {
        let bound = |at: i64| Arc::new(TimestampMicrosecondArray::from(vec![at])) as ArrayRef;
        let columns = row.columns().iter().cloned().chain([bound(start), bound(end)]).collect();
        RecordBatch::try_new(output.arrow(), columns).unwrap()
    };
    Ok(starts.flat_map(ends).map(window).collect())
}

/// The letters of a text, and a series up to the quotient of two columns.
fn lists() -> Step {
    let array = |ty: SqlType| SqlType::Array(Box::new(ty));
    let nothing = Expr::Literal(Literal::null(SqlType::Varchar));
    let letters =
        Expr::Call { function: "string_to_array".into(), args: vec![column(2), nothing], ty: array(SqlType::Varchar) };
    let ends = vec![number(1), Expr::binary(BinaryOp::Modulo, ratio(), number(7))];
    let series = Expr::Call { function: "__series".into(), args: ends, ty: array(SqlType::BigInt) };
    Step::Unnest(vec![("letter".into(), letters), ("n".into(), series)])
}

fn random_spec(random: &mut Random) -> ChainSpec {
    let mut steps = Vec::new();
    for _ in 0..random.below(4) {
        // Columns 0 to 3 keep their types through every step.
        let step_us = random.between(1, 10);
        steps.push(match random.below(8) {
            0 => Step::Filter(Expr::binary(BinaryOp::Less, column(0), column(1))),
            1 => Step::Filter(Expr::binary(BinaryOp::GreaterEqual, ratio(), number(0))),
            2 => Step::Project(vec![
                ("x".into(), if random.one_in(2) { ratio() } else { column(1) }),
                ("y".into(), Expr::binary(BinaryOp::Add, column(0), column(1))),
                ("s".into(), column(2)),
                ("ts".into(), column(3)),
            ]),
            3 => Step::Repeat(Expr::binary(BinaryOp::Modulo, column(0), number(random.between(0, 4)))),
            6 => lists(),
            4 => Step::Tumble { time: 3, size_us: random.between(1, 30), offset_us: random.between(-9, 9) },
            5 => Step::Cumulate {
                time: 3,
                step_us,
                size_us: step_us * random.between(1, 4),
                offset_us: random.between(-9, 9),
            },
            _ => Step::Hop {
                time: 3,
                slide_us: random.between(1, 10),
                size_us: random.between(1, 30),
                offset_us: random.between(-9, 9),
            },
        });
    }
    spec(steps)
}

#[test]
fn random_chains_go_row_by_row() {
    run_cases("chain::tests::random_chains_go_row_by_row", 200, |random: &mut Random| {
        let spec = random_spec(random);
        Case {
            inputs: vec![RandomRows { schema: input(), extremes: true }],
            retracts: true,
            window_end: None,
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: None,
            spec: OperatorSpec::Chain(spec),
        }
    });
}

#[test]
fn many_windows_come_in_slices() {
    let spec = spec(vec![Step::Hop { time: 3, slide_us: 1, size_us: 10_000, offset_us: 0 }]);
    let mut bench = Bench::new(&OperatorSpec::Chain(spec), Tier::Resident, 1);
    let rows = vec!["(1, 1, 'a', '2026-01-01T00:00:00')"; 20];
    bench.delta(0, &DeltaBatch::inserts(batch_of_text(&input(), &rows)));
    let rows: usize = bench.emitted.iter().map(|(_, batch)| batch.len()).sum();
    assert!(bench.slices >= 5 && rows == 200_000, "{} slices, {rows} rows", bench.slices);
}

#[test]
fn windows_need_a_timestamp() {
    let error = spec(vec![Step::Tumble { time: 0, size_us: 1, offset_us: 0 }]).output().unwrap_err();
    assert_eq!(error.message(), "window functions need a timestamp; column \"a\" is of type bigint");
}
