//! Scripts of `lookup`, and random rows against what stood on the right when each came.

use std::collections::BTreeMap;

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};

fn left() -> Schema {
    schema("k bigint, x bigint")
}

fn right() -> Schema {
    schema("g varchar, k bigint")
}

fn spec(outer: bool, append_only: bool) -> LookupSpec {
    LookupSpec { left: left(), right: right(), on: vec![(0, 1)], outer, append_only }
}

#[test]
fn scripts() {
    run_scripts("lookup", &|name| {
        let spec = match name {
            "inner" => spec(false, false),
            "left" => spec(true, false),
            "append-only" => spec(false, true),
            _ => return None,
        };
        Some((OperatorSpec::Lookup(spec), vec![left(), right()]))
    });
}

/// A left row that came, how often, and the right rows of its key then.
type Came = (Vec<u8>, i64, Vec<(Vec<u8>, i64)>);

fn key_of(schema: &Schema, row: &[u8], column: usize) -> Option<i64> {
    use arrow::array::AsArray;
    let columns = crate::types::RowCodec::new(schema.types()).decode([row]).unwrap();
    let keys = columns[column].as_primitive::<arrow::datatypes::Int64Type>();
    keys.is_valid(0).then(|| keys.value(0))
}

fn answer(spec: &LookupSpec, came: &mut Vec<Came>, moment: &Moment<'_>) -> Vec<ZSet> {
    let mut rights: BTreeMap<i64, Vec<(Vec<u8>, i64)>> = BTreeMap::new();
    for (row, &weight) in &moment.inputs[1].rows {
        if let Some(key) = key_of(&spec.right, row, 1) {
            rights.entry(key).or_default().push((row.clone(), weight));
        }
    }
    for (row, &weight) in &moment.changes[0].rows {
        if weight > 0 {
            let key = key_of(&spec.left, row, 0);
            came.push((row.clone(), weight, key.and_then(|key| rights.get(&key).cloned()).unwrap_or_default()));
        }
        let mut gone = (-weight).max(0);
        for (_, times, _) in came.iter_mut().rev().filter(|(other, ..)| other == row) {
            let take = gone.min(*times);
            *times -= take;
            gone -= take;
        }
    }
    let mut found = ZSet::new(spec.output());
    let decode = |schema: &Schema, row: &[u8]| crate::types::RowCodec::new(schema.types()).decode([row]).unwrap();
    for (row, times, beside) in came.iter().filter(|(_, times, _)| *times > 0) {
        let mut pairs: Vec<(Vec<ArrayRef>, i64)> =
            beside.iter().map(|(right, weight)| (decode(&spec.right, right), *weight)).collect();
        if pairs.is_empty() && spec.outer {
            let nulls = spec.right.columns.iter().map(|c| arrow::array::new_null_array(&c.ty.arrow(), 1)).collect();
            pairs.push((nulls, 1));
        }
        for (right, weight) in pairs {
            let columns = decode(&spec.left, row).into_iter().chain(right).collect();
            let rows = RecordBatch::try_new(spec.output().arrow(), columns).unwrap();
            found.add(&DeltaBatch::new(rows, vec![weight * times]).unwrap());
        }
    }
    vec![found]
}

#[test]
fn random_rows_are_beside_what_stood_there_when_they_came() {
    run_cases("lookup::tests::random_rows_are_beside_what_stood_there_when_they_came", 300, |random: &mut Random| {
        let spec = spec(random.one_in(2), false);
        let mut came = Vec::new();
        Case {
            inputs: vec![
                RandomRows { schema: left(), extremes: false },
                RandomRows { schema: right(), extremes: false },
            ],
            retracts: random.one_in(2),
            window_end: None,
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, &mut came, moment)
            }),
            emitted: None,
            spec: OperatorSpec::Lookup(spec),
        }
    });
}
