//! Scripts of `keep`, and random input against the newest rows picked anew at every epoch.

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};

fn spec(rows_max: u64, bytes_max: u64, append_only: bool) -> OperatorSpec {
    let input = schema("a bigint, b varchar");
    OperatorSpec::Keep(KeepSpec { input, rows_max, bytes_max, append_only })
}

#[test]
fn scripts() {
    run_scripts("keep", &|name| {
        let spec = match name {
            "three rows" => spec(3, 1 << 20, false),
            "append-only two rows" => spec(2, 1 << 20, true),
            "forty bytes" => spec(100, 40, false),
            _ => return None,
        };
        Some((spec, vec![schema("a bigint, b varchar")]))
    });
}

/// The kept rows as a plain list of (epoch, row), oldest first, and the count.
fn answer(spec: KeepSpec) -> impl FnMut(&Moment<'_>) -> Vec<ZSet> {
    let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut total: Option<i64> = None;
    move |moment| {
        let change = &moment.changes[0];
        for (row, weight) in &change.rows {
            for _ in *weight..0 {
                if let Some(at) = kept.iter().position(|(_, other)| other == row) {
                    kept.remove(at);
                }
            }
            for _ in 0..*weight {
                kept.push((moment.epoch.0, row.clone()));
            }
        }
        kept.sort();
        let bytes = |kept: &[(u64, Vec<u8>)]| kept.iter().map(|(_, row)| row.len() as u64).sum::<u64>();
        while kept.len() as u64 > spec.rows_max || bytes(&kept) > spec.bytes_max {
            kept.remove(0);
        }
        let [input, counted] = spec.outputs();
        let mut rows = ZSet::new(input);
        kept.iter().for_each(|(_, row)| rows.add_row(row, 1));
        if !change.rows.is_empty() || total.is_some() {
            total = Some(moment.inputs[0].rows.values().sum());
        }
        let mut count = ZSet::new(counted);
        if let Some(total) = total {
            let column: ArrayRef = Arc::new(Int64Array::from(vec![total]));
            let batch = RecordBatch::try_new(count.schema.arrow(), vec![column]).unwrap();
            count.add(&DeltaBatch::inserts(batch));
        }
        vec![rows, count]
    }
}

#[test]
fn random_input_keeps_the_newest() {
    run_cases("keep::tests::random_input_keeps_the_newest", 200, |random: &mut Random| {
        let append_only = random.one_in(2);
        let input = schema("a bigint, b varchar");
        let spec = KeepSpec {
            input: input.clone(),
            rows_max: random.below(30),
            bytes_max: 1 + random.below(600),
            append_only,
        };
        Case {
            inputs: vec![RandomRows::new(input)],
            retracts: !append_only,
            window_end: None,
            answer: Box::new(answer(spec.clone())),
            emitted: None,
            spec: OperatorSpec::Keep(spec),
        }
    });
}

#[test]
fn count_bytes_are_read_back() {
    let count = Count { total: 7, rows: -1, bytes: i64::MAX };
    assert!(Count::read(&count.write()).unwrap() == count);
    assert!(Count::read(&[0; 23]).is_err());
}
