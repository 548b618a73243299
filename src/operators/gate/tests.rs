//! Scripts of `gate`, and random rows judged one by one.

use super::*;
use crate::base::random::Random;
use crate::operators::OperatorSpec;
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};

fn spec() -> GateSpec {
    GateSpec {
        input: schema("a varchar, __watermark bigint, window_end timestamp"),
        watermark: 1,
        window_end: 2,
        shift_us: 0,
    }
}

#[test]
fn scripts() {
    run_scripts("gate", &|name| (name == "by window_end").then(|| (OperatorSpec::Gate(spec()), vec![spec().input])));
}

fn answer(moment: &Moment<'_>) -> Vec<ZSet> {
    let [main, late] = spec().outputs().unwrap();
    let mut found = vec![ZSet::new(main), ZSet::new(late)];
    let batch = moment.inputs[0].batch();
    for row in 0..batch.len() {
        let one = batch.slice(row, 1);
        let mark = one.rows.column(1).as_primitive::<Int64Type>();
        let end = one.rows.column(2).as_primitive::<TimestampMicrosecondType>();
        let is_late = mark.is_valid(0) && end.is_valid(0) && end.value(0) <= mark.value(0);
        let mut columns = vec![Arc::clone(one.rows.column(0)), Arc::clone(one.rows.column(2))];
        if is_late {
            columns.push(Arc::new(TimestampMicrosecondArray::from(vec![mark.value(0)])));
        }
        let port = usize::from(is_late);
        let rows = RecordBatch::try_new(found[port].schema.arrow(), columns).unwrap();
        found[port].add(&DeltaBatch { rows, weights: one.weights });
    }
    found
}

#[test]
fn random_rows_are_judged_one_by_one() {
    run_cases("gate::tests::random_rows_are_judged_one_by_one", 200, |_: &mut Random| Case {
        spec: OperatorSpec::Gate(spec()),
        inputs: vec![RandomRows { schema: spec().input, extremes: true }],
        retracts: true,
        window_end: None,
        answer: Box::new(answer),
        emitted: None,
    });
}

#[test]
fn other_columns_are_refused() {
    assert!(GateSpec { watermark: 0, ..spec() }.build().is_err());
    assert!(GateSpec { window_end: 9, ..spec() }.build().is_err());
}
