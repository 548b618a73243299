//! Scripts of `during`, and random rows against bounds looked at anew in every epoch.

use arrow::array::BooleanArray;

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::state::Tier;
use crate::types::{Epoch, Schema};

fn input() -> Schema {
    schema("k bigint, a timestamp, b timestamp")
}

fn bound(column: usize, after: bool) -> ClockBound {
    ClockBound { column, after }
}

#[test]
fn scripts() {
    run_scripts("during", &|name| {
        let (from, until) = match name {
            "until" => (vec![], vec![bound(1, false)]),
            "from" => (vec![bound(1, false)], vec![]),
            "between" => (vec![bound(1, false)], vec![bound(2, true)]),
            _ => return None,
        };
        Some((OperatorSpec::During(DuringSpec { input: input(), from, until }), vec![input()]))
    });
}

/// The rows whose bounds hold now.
fn answer(spec: &DuringSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let batch = moment.inputs[0].batch();
    let time = |column: usize, row: usize| {
        let times = batch.rows.column(column).as_primitive::<TimestampMicrosecondType>();
        times.is_valid(row).then(|| times.value(row))
    };
    let reached = |bound: &ClockBound, row: usize| {
        time(bound.column, row).map(|at| moment.clock_us > at || moment.clock_us == at && !bound.after)
    };
    let shown = |row: usize| {
        spec.from.iter().all(|bound| reached(bound, row) == Some(true))
            && spec.until.iter().all(|bound| reached(bound, row) == Some(false))
    };
    let shown: BooleanArray = (0..batch.len()).map(|row| Some(shown(row))).collect();
    let mut found = ZSet::new(spec.input.clone());
    found.add(&batch.filter(&shown).unwrap());
    vec![found]
}

#[test]
fn random_rows_are_those_whose_bounds_hold() {
    run_cases("during::tests::random_rows_are_those_whose_bounds_hold", 400, |random: &mut Random| {
        let bounds = |random: &mut Random, least: u64| -> Vec<ClockBound> {
            (0..least + random.below(2)).map(|_| bound(1 + random.below(2) as usize, random.one_in(2))).collect()
        };
        let kind = random.below(3);
        let from = if kind == 0 { Vec::new() } else { bounds(random, 1) };
        let until = if kind == 1 { Vec::new() } else { bounds(random, 1) };
        let spec = DuringSpec { input: input(), from, until };
        Case {
            inputs: vec![RandomRows { schema: input(), extremes: false }],
            retracts: random.one_in(2),
            window_end: None,
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: None,
            spec: OperatorSpec::During(spec),
        }
    });
}

/// A row that lives for three epochs in each of 1,000: no more timers than rows that live.
#[test]
fn state_goes_with_the_clock() {
    let spec = DuringSpec { input: input(), from: vec![], until: vec![bound(1, false)] };
    let mut bench = Bench::new(&OperatorSpec::During(spec), Tier::Strict, 2);
    for second in 1..=1000_i64 {
        let at = chrono::DateTime::from_timestamp(second + 3, 0).unwrap().format("%Y-%m-%dT%H:%M:%S");
        bench.delta(0, &DeltaBatch::inserts(batch_of_text(&input(), &[&format!("({second}, '{at}', NULL)")])));
        bench.end(&EpochEnd { epoch: Epoch(second as u64), clock_us: second * 1_000_000, watermarks: vec![] });
        bench.emitted.clear();
        if second % 100 == 0 {
            bench.restart(1 + second as usize / 100 % 3);
        }
        let rows: usize = bench.rows().iter().map(|(_, rows)| rows).sum();
        assert!(rows <= 3, "{rows} rows of state in second {second}");
    }
}

#[test]
fn a_bound_is_a_timestamp() {
    assert!(DuringSpec { input: input(), from: vec![bound(0, false)], until: vec![] }.build().is_err());
    assert!(DuringSpec { input: input(), from: vec![], until: vec![bound(9, false)] }.build().is_err());
}
