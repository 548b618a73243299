//! Scripts of `asof`, and random input against a look at every version of every row.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};
use crate::types::RowCodec;

fn spec(strict: bool, outer: bool, sealed_us: Option<[i64; 2]>) -> AsofSpec {
    AsofSpec {
        left: schema("k bigint, at timestamp, s varchar"),
        right: schema("since timestamp, k bigint, r bigint"),
        on: vec![(0, 1)],
        left_time: 1,
        right_time: 0,
        strict,
        outer,
        sealed_us,
    }
}

#[test]
fn scripts() {
    run_scripts("asof", &|name| {
        let spec = match name {
            "inner" => spec(false, false, None),
            "left strict" => spec(true, true, None),
            "left sealed" => spec(false, true, Some([1, 1])),
            _ => return None,
        };
        let inputs = vec![spec.left.clone(), spec.right.clone()];
        Some((OperatorSpec::Asof(spec), inputs))
    });
}

/// Each left row beside its version, one by one.
fn answer(spec: &AsofSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let mut found = ZSet::new(spec.output());
    let (lefts, rights) = (moment.inputs[0].batch(), moment.inputs[1].batch());
    let time = |batch: &DeltaBatch, column: usize| {
        let times = batch.rows.column(column).as_primitive::<TimestampMicrosecondType>().clone();
        (!arrow::array::Array::is_null(&times, 0)).then(|| times.value(0))
    };
    let key = |batch: &DeltaBatch, column: usize| {
        let keys = batch.rows.column(column).as_primitive::<arrow::datatypes::Int64Type>().clone();
        (!arrow::array::Array::is_null(&keys, 0)).then(|| keys.value(0))
    };
    for l in 0..lefts.len() {
        let left = lefts.slice(l, 1);
        let mut best: Option<(Vec<u8>, DeltaBatch)> = None;
        for r in 0..rights.len() {
            let right = rights.slice(r, 1);
            let (Some(at), Some(since)) = (time(&left, 1), time(&right, 0)) else { continue };
            if key(&left, 0).is_none() || key(&left, 0) != key(&right, 1) || since > at || (spec.strict && since == at)
            {
                continue;
            }
            // Time first, then the rest of the row, as canonical bytes.
            let types = [0, 2].map(|i| spec.right.columns[i].ty.clone()).to_vec();
            let columns = [0, 2].map(|i| ArrayRef::clone(right.rows.column(i)));
            let rank = RowCodec::new(types).encode(&columns).unwrap().row(0).to_vec();
            if best.as_ref().is_none_or(|(known, _)| *known < rank) {
                best = Some((rank, right));
            }
        }
        let right = match best {
            Some((_, right)) => right.rows.columns().to_vec(),
            None if spec.outer => {
                spec.right.columns.iter().map(|column| new_null_array(&column.ty.arrow(), 1)).collect()
            }
            None => continue,
        };
        let columns = left.rows.columns().iter().cloned().chain(right).collect();
        let rows = RecordBatch::try_new(spec.output().arrow(), columns).unwrap();
        found.add(&DeltaBatch { rows, weights: left.weights });
    }
    vec![found]
}

#[test]
fn random_input_is_the_newest_version() {
    run_cases("asof::tests::random_input_is_the_newest_version", 300, |random: &mut Random| {
        let sealed = random.one_in(3);
        let mut spec = spec(random.one_in(2), random.one_in(2), sealed.then_some([0, 0]));
        if sealed {
            // The bench holds back rows of one column for all inputs: the time must be the same one.
            spec.right = schema("k bigint, since timestamp, r bigint");
            spec.on = vec![(0, 0)];
            spec.right_time = 1;
        }
        Case {
            inputs: vec![RandomRows::new(spec.left.clone()), RandomRows::new(spec.right.clone())],
            retracts: !sealed,
            window_end: sealed.then_some(1),
            answer: Box::new({
                let spec = spec.clone();
                move |moment| if sealed { answer_sealed(&spec, moment) } else { answer(&spec, moment) }
            }),
            emitted: None,
            spec: OperatorSpec::Asof(spec),
        }
    });
}

/// As [`answer`], for the columns in the order of the sealed case.
fn answer_sealed(spec: &AsofSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let turned =
        |batch: DeltaBatch| DeltaBatch { rows: batch.rows.project(&[1, 0, 2]).unwrap(), weights: batch.weights };
    let mut right = ZSet::new(schema("since timestamp, k bigint, r bigint"));
    right.add(&turned(moment.inputs[1].batch()));
    let plain = self::spec(spec.strict, spec.outer, None);
    let inputs = [moment.inputs[0].clone(), right];
    let moment = Moment { inputs: &inputs, ..*moment };
    let found = answer(&plain, &moment).remove(0).batch();
    let mut back = ZSet::new(spec.output());
    let rows = found.rows.project(&[0, 1, 2, 4, 3, 5]).unwrap();
    back.add(&DeltaBatch { rows, weights: found.weights });
    vec![back]
}
