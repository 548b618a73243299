//! Scripts of `session`, and random rows against sessions found anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::state::Tier;
use crate::types::{Epoch, RowCodec, Schema};

const G: usize = 1;
const TS: usize = 2;

fn input() -> Schema {
    schema("k bigint, g varchar, ts timestamp")
}

fn spec(keys: &[usize], gap_us: i64, free_after_us: Option<i64>, on_close: bool) -> SessionSpec {
    SessionSpec { input: input(), keys: keys.to_vec(), time: TS, gap_us, free_after_us, on_close }
}

#[test]
fn scripts() {
    run_scripts("session", &|name| {
        let minute = 60_000_000;
        let spec = match name {
            "by group" => spec(&[G], minute, None, false),
            "wide" => spec(&[G], i64::MAX / 2 - 1, None, false),
            "of all rows" => spec(&[], minute, None, false),
            "freed" => spec(&[G], minute, Some(minute), false),
            "on close" => spec(&[G], minute, Some(minute), true),
            _ => return None,
        };
        Some((OperatorSpec::Session(spec), vec![input()]))
    });
}

/// Every key's rows in order of time, cut where the pause is longer than the gap.
fn answer(spec: &SessionSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let mut found = ZSet::new(spec.output().unwrap());
    let batch = moment.inputs[0].batch();
    let codec = RowCodec::new(spec.input.project(&spec.keys).types());
    let keys: Vec<_> = spec.keys.iter().map(|&key| Arc::clone(batch.rows.column(key))).collect();
    let keys = codec.encode_rows(&keys, batch.len()).unwrap();
    let times = batch.rows.column(TS).as_primitive::<TimestampMicrosecondType>();
    let mut by_key: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for row in (0..batch.len()).filter(|&row| times.is_valid(row)) {
        by_key.entry(keys.row(row)).or_default().push(row);
    }
    for rows in by_key.values_mut() {
        rows.sort_by_key(|&row| times.value(row));
        for session in rows.chunk_by(|&a, &b| times.value(b) - times.value(a) <= spec.gap_us) {
            let start = times.value(session[0]);
            let end = times.value(session[session.len() - 1]) + spec.gap_us;
            let closed = spec.free_after_us.is_some_and(|after| moment.watermark.shifted(-after).closes(end));
            if spec.on_close && !closed {
                continue;
            }
            for &row in session {
                let mut columns = batch.rows.slice(row, 1).columns().to_vec();
                for bound in [start, end] {
                    columns.push(Arc::new(TimestampMicrosecondArray::from(vec![bound])));
                }
                let row_of = RecordBatch::try_new(spec.output().unwrap().arrow(), columns).unwrap();
                found.add(&DeltaBatch::new(row_of, vec![batch.weights.get(row)]).unwrap());
            }
        }
    }
    vec![found]
}

#[test]
fn random_input_is_every_session_found_anew() {
    run_cases("session::tests::random_input_is_every_session_found_anew", 400, |random: &mut Random| {
        let keys: Vec<usize> = [0, G].into_iter().filter(|_| random.one_in(2)).collect();
        let freed = random.one_in(2).then_some(0);
        let spec = spec(&keys, 1 + random.below(8) as i64, freed, freed.is_some() && random.one_in(3));
        Case {
            inputs: vec![RandomRows { schema: input(), extremes: false }],
            retracts: random.one_in(2),
            window_end: freed.map(|_| TS),
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: None,
            spec: OperatorSpec::Session(spec),
        }
    });
}

/// A session in each of 1,000 windows: no more state than that of those that are open.
#[test]
fn state_goes_with_the_sessions() {
    let second = 1_000_000;
    let mut bench = Bench::new(&OperatorSpec::Session(spec(&[G], second, Some(second), false)), Tier::Strict, 2);
    for window in 1..=1000 {
        let at = |seconds: i64| chrono::DateTime::from_timestamp(seconds, 0).unwrap().format("%Y-%m-%dT%H:%M:%S");
        let rows: Vec<String> = (0..9).map(|x| format!("({x}, 'a', '{}')", at(window * 10 + x % 3))).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        bench.delta(0, &DeltaBatch::inserts(batch_of_text(&input(), &rows)));
        let watermarks = vec![Watermark(window * 10 * second)];
        bench.end(&EpochEnd { epoch: Epoch(window as u64), clock_us: 0, watermarks });
        bench.emitted.clear();
        if window % 100 == 0 {
            bench.restart(1 + window as usize / 100 % 3);
        }
        let rows: usize = bench.rows().iter().map(|(_, rows)| rows).sum();
        assert!(rows <= 9 + 1, "{rows} rows of state in window {window}");
    }
}

#[test]
fn contradictions_are_refused() {
    assert!(spec(&[G], 0, None, false).build().is_err());
    assert!(spec(&[9], 1, None, false).build().is_err());
    assert!(spec(&[G], 1, None, true).build().is_err());
    assert!(SessionSpec { time: 0, ..spec(&[G], 1, None, false) }.build().is_err());
}
