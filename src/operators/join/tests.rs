//! Scripts of `join`, and random input against a nested loop over both relations.

use super::*;
use crate::base::random::Random;
use crate::functions::{BinaryOp, Literal};
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::operators::{OperatorSpec, fault_schema};
use crate::state::Tier;
use crate::types::{Epoch, Watermark};

fn column(i: usize) -> Expr {
    Expr::Column(i)
}

/// `10 / #1 > #4`: faults where #1 is 0.
fn residual() -> Expr {
    let ten = Expr::Literal(Literal::bigint(10));
    Expr::binary(BinaryOp::Greater, Expr::binary(BinaryOp::Divide, ten, column(1)), column(4))
}

fn spec(on: Vec<(usize, usize)>, residual: Option<Expr>) -> JoinSpec {
    JoinSpec {
        left: schema("k bigint, l bigint, s varchar"),
        right: schema("k bigint, r bigint, t varchar"),
        on,
        residual,
    }
}

#[test]
fn scripts() {
    run_scripts("join", &|name| {
        let spec = match name {
            "on key" => spec(vec![(0, 0)], None),
            "on key with residual" => spec(vec![(0, 0)], Some(residual())),
            "on two columns" => spec(vec![(0, 0), (2, 2)], None),
            "every pair" => spec(Vec::new(), None),
            _ => return None,
        };
        let inputs = vec![spec.left.clone(), spec.right.clone()];
        Some((OperatorSpec::Join(spec), inputs))
    });
}

/// Every pair of rows, one by one.
fn answer(spec: &JoinSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let output = spec.output();
    let residual = spec.residual.as_ref().map(|expr| Compiled::new(expr, &output).unwrap());
    let mut found = vec![ZSet::new(output), ZSet::new(Schema::default()), ZSet::new(fault_schema())];
    let codec = |side: &Schema, on: usize| RowCodec::new(vec![side.columns[on].ty.clone()]);
    let (left, right) = (moment.inputs[0].batch(), moment.inputs[1].batch());
    for l in 0..left.len() {
        for r in 0..right.len() {
            let (l, r) = (left.slice(l, 1), right.slice(r, 1));
            let met = spec.on.iter().all(|&(lc, rc)| {
                let (lv, rv) = (l.rows.column(lc), r.rows.column(rc));
                let bytes = |codec: RowCodec, column: &ArrayRef| {
                    codec.encode(std::slice::from_ref(column)).unwrap().row(0).to_vec()
                };
                lv.is_valid(0)
                    && rv.is_valid(0)
                    && bytes(codec(&spec.left, lc), lv) == bytes(codec(&spec.right, rc), rv)
            });
            if !met {
                continue;
            }
            let columns = l.rows.columns().iter().chain(r.rows.columns()).cloned().collect();
            let rows = RecordBatch::try_new(found[0].schema.arrow(), columns).unwrap();
            let weight = l.weights.get(0) * r.weights.get(0);
            let evaluated = residual.as_ref().map(|residual| residual.evaluate_filter(&rows).unwrap());
            match evaluated {
                Some((_, Some(faults))) => {
                    let reasons = vec![faults.reason(0).to_owned()];
                    found[2].add(&fault_batch(&rows, reasons, vec![weight]).unwrap());
                }
                Some((kept, None)) if kept.is_null(0) || !kept.value(0) => {}
                _ => found[0].add(&DeltaBatch::new(rows, vec![weight]).unwrap()),
            }
        }
    }
    found
}

#[test]
fn random_input_is_every_pair() {
    run_cases("join::tests::random_input_is_every_pair", 200, |random: &mut Random| {
        let on = match random.below(8) {
            0..4 => vec![(0, 0)],
            4 | 5 => vec![(0, 1)],
            6 => vec![(0, 0), (2, 2)],
            _ => vec![(1, 0), (1, 1)],
        };
        let residual = random.one_in(2).then(residual);
        let mut spec = spec(on, residual);
        if random.one_in(4) {
            // Keys whose equal values have more than one spelling.
            for side in [&mut spec.left, &mut spec.right] {
                side.columns[0].ty = SqlType::Double;
                side.columns[1].ty = SqlType::Double;
            }
            spec.residual = None;
        }
        Case {
            inputs: vec![RandomRows::new(spec.left.clone()), RandomRows::new(spec.right.clone())],
            retracts: !random.one_in(4),
            window_end: None,
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: None,
            spec: OperatorSpec::Join(spec),
        }
    });
}

#[test]
fn a_huge_fan_out_comes_in_slices() {
    let spec = spec(vec![(0, 0)], None);
    for tier in [Tier::Resident, Tier::Strict] {
        let mut bench = Bench::new(&OperatorSpec::Join(spec.clone()), tier, 1);
        let texts: Vec<String> = (0..600).map(|i| format!("(7, {i}, 'x')")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        bench.delta(0, &DeltaBatch::inserts(batch_of_text(&spec.left, &texts)));
        bench.delta(1, &DeltaBatch::inserts(batch_of_text(&spec.right, &texts)));
        assert!(bench.emitted.iter().all(|(_, batch)| batch.len() <= SLICE_ROWS));
        assert_eq!(bench.slices, 360_000 / SLICE_ROWS);
        let end = EpochEnd { epoch: Epoch(1), clock_us: 0, watermarks: vec![Watermark::NONE; 2] };
        assert_eq!(bench.end(&end)[0].rows.len(), 360_000);
    }
}

#[test]
fn contradictions_are_refused() {
    assert!(spec(vec![(0, 2)], None).build().is_err());
    assert!(spec(vec![(0, 9)], None).build().is_err());
}
