//! Scripts of `join`, and random input against a nested loop over both relations.

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::*;
use crate::base::random::Random;
use crate::functions::{BinaryOp, Compiled, Expr, Literal};
use crate::operators::faults::fault_batch;
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::operators::{EpochEnd, OperatorSpec, SLICE_ROWS, fault_schema};
use crate::state::Tier;
use crate::types::{DeltaBatch, Epoch, RowCodec, Schema, SqlType, Watermark};

fn column(i: usize) -> Expr {
    Expr::Column(i)
}

/// `10 / #1 > #4`: faults where #1 is 0.
fn residual() -> Expr {
    let ten = Expr::Literal(Literal::bigint(10));
    Expr::binary(BinaryOp::Greater, Expr::binary(BinaryOp::Divide, ten, column(1)), column(4))
}

fn spec(on: Vec<(usize, usize)>, residual: Option<Expr>) -> JoinSpec {
    JoinSpec::inner(schema("k bigint, l bigint, s varchar"), schema("k bigint, r bigint, t varchar"), on, residual)
}

fn of_kind(kind: JoinKind, residual: Option<Expr>) -> JoinSpec {
    JoinSpec { kind, ..spec(vec![(0, 0)], residual) }
}

/// A left join whose pairs are at most 10 us apart; a row is freed once nothing can come for it.
fn interval() -> JoinSpec {
    let (left, right) = (schema("k bigint, at timestamp"), schema("k bigint, then timestamp"));
    let plus = |i| Expr::binary(BinaryOp::Add, column(i), Expr::Literal(Literal::interval(0, 0, 10_000)));
    let low = Expr::binary(BinaryOp::LessEqual, column(1), plus(3));
    let high = Expr::binary(BinaryOp::LessEqual, column(3), plus(1));
    let due = || Due { column: 1, partner_us: 11, own_us: None };
    JoinSpec {
        kind: JoinKind::Left,
        band: Some(Band { left: 1, right: 1, low: Some(-10), high: Some(10) }),
        free: Some([due(), due()]),
        ..JoinSpec::inner(left, right, vec![(0, 0)], Some(Expr::And(vec![low, high])))
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
            "left" => of_kind(JoinKind::Left, None),
            "left with residual" => of_kind(JoinKind::Left, Some(residual())),
            "full" => of_kind(JoinKind::Full, None),
            "semi" => of_kind(JoinKind::Semi, None),
            "semi with residual" => of_kind(JoinKind::Semi, Some(residual())),
            "anti" => of_kind(JoinKind::Anti, None),
            "anti with residual" => of_kind(JoinKind::Anti, Some(residual())),
            "null-safe" => JoinSpec { null_safe: true, ..of_kind(JoinKind::Full, None) },
            "interval" => interval(),
            _ => return None,
        };
        let inputs = vec![spec.left.clone(), spec.right.clone()];
        Some((OperatorSpec::Join(spec), inputs))
    });
}

/// Whether two values are equal, or both NULL where that counts.
fn meet(spec: &JoinSpec, left: &DeltaBatch, right: &DeltaBatch) -> bool {
    spec.on.iter().all(|&(l, r)| {
        let (lv, rv) = (left.rows.column(l), right.rows.column(r));
        let bytes = |column: &ArrayRef, ty: &SqlType| {
            let codec = RowCodec::new(vec![ty.clone()]);
            codec.encode(std::slice::from_ref(column)).unwrap().row(0).to_vec()
        };
        let equal = bytes(lv, &spec.left.columns[l].ty) == bytes(rv, &spec.right.columns[r].ty);
        equal && (spec.null_safe || (lv.is_valid(0) && rv.is_valid(0)))
    })
}

/// What is true of a pair.
enum Judged {
    Met,
    Not,
    Faulty(String),
}

fn pair(spec: &JoinSpec, left: &DeltaBatch, right: &DeltaBatch) -> RecordBatch {
    let columns = left.rows.columns().iter().chain(right.rows.columns()).cloned().collect();
    RecordBatch::try_new(spec.pair().arrow(), columns).unwrap()
}

fn judge(spec: &JoinSpec, residual: Option<&Compiled>, left: &DeltaBatch, right: &DeltaBatch) -> Judged {
    if !meet(spec, left, right) {
        return Judged::Not;
    }
    let Some(residual) = residual else { return Judged::Met };
    match residual.evaluate_filter(&pair(spec, left, right)).unwrap() {
        (_, Some(faults)) => Judged::Faulty(faults.reason(0).to_owned()),
        (kept, None) if kept.is_null(0) || !kept.value(0) => Judged::Not,
        _ => Judged::Met,
    }
}

/// A row beside NULLs, or bare.
fn lone(spec: &JoinSpec, side: usize, row: &DeltaBatch) -> DeltaBatch {
    let mut columns = row.rows.columns().to_vec();
    if spec.kind.pairs() {
        let other = if side == 0 { &spec.right } else { &spec.left };
        let nulls = other.columns.iter().map(|column| arrow::array::new_null_array(&column.ty.arrow(), 1));
        if side == 0 { columns.extend(nulls) } else { columns = nulls.chain(columns).collect() }
    }
    let rows = RecordBatch::try_new(spec.output().arrow(), columns).unwrap();
    DeltaBatch { rows, weights: row.weights.clone() }
}

/// Every pair of rows, one by one.
fn answer(spec: &JoinSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let residual = spec.residual.as_ref().map(|expr| Compiled::new(expr, &spec.pair()).unwrap());
    let mut found = vec![ZSet::new(spec.output()), ZSet::new(Schema::default()), ZSet::new(fault_schema())];
    let sides = [moment.inputs[0].batch(), moment.inputs[1].batch()];
    // Per row: surely met, perhaps met.
    let mut met = [vec![(false, false); sides[0].len()], vec![(false, false); sides[1].len()]];
    for l in 0..sides[0].len() {
        for r in 0..sides[1].len() {
            let (left, right) = (sides[0].slice(l, 1), sides[1].slice(r, 1));
            let weight = left.weights.get(0) * right.weights.get(0);
            let sure = match judge(spec, residual.as_ref(), &left, &right) {
                Judged::Not => continue,
                Judged::Faulty(reason) => {
                    found[2].add(&fault_batch(&pair(spec, &left, &right), vec![reason], vec![weight]).unwrap());
                    false
                }
                Judged::Met => {
                    if spec.kind.pairs() {
                        let columns = pair(spec, &left, &right).columns().to_vec();
                        let rows = RecordBatch::try_new(spec.output().arrow(), columns).unwrap();
                        found[0].add(&DeltaBatch::new(rows, vec![weight]).unwrap());
                    }
                    true
                }
            };
            for (side, row) in [(0, l), (1, r)] {
                met[side][row].0 |= sure;
                met[side][row].1 = true;
            }
        }
    }
    for side in 0..2 {
        for (row, &(sure, perhaps)) in met[side].iter().enumerate() {
            let shows = match spec.kind.shown(side) {
                None => false,
                Some(super::side::Shown::Matched) => sure,
                Some(super::side::Shown::Unmatched) => !perhaps,
            };
            if shows {
                found[0].add(&lone(spec, side, &sides[side].slice(row, 1)));
            }
        }
    }
    found
}

const KINDS: [JoinKind; 6] =
    [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];

/// `#1 <= #4 + 1 AND #4 <= #1 + 2`, with the band that says the same.
fn banded() -> (Expr, Band) {
    let plus = |i, by| Expr::binary(BinaryOp::Add, column(i), Expr::Literal(Literal::bigint(by)));
    let low = Expr::binary(BinaryOp::LessEqual, column(1), plus(4, 1));
    let high = Expr::binary(BinaryOp::LessEqual, column(4), plus(1, 2));
    (Expr::And(vec![low, high]), Band { left: 1, right: 1, low: Some(-1), high: Some(2) })
}

#[test]
fn random_input_is_every_pair() {
    run_cases("join::tests::random_input_is_every_pair", 600, |random: &mut Random| {
        let on = match random.below(9) {
            0..4 => vec![(0, 0)],
            4 | 5 => vec![(0, 1)],
            6 => vec![(0, 0), (2, 2)],
            7 => Vec::new(),
            _ => vec![(1, 0), (1, 1)],
        };
        let residual = random.one_in(2).then(residual);
        let mut spec = spec(on, residual);
        spec.kind = *random.pick(&KINDS).unwrap();
        spec.null_safe = random.one_in(4);
        if spec.on.iter().all(|pair| pair.0 != 1 && pair.1 != 1) && random.one_in(3) {
            let (residual, band) = banded();
            spec.residual = Some(residual);
            spec.band = Some(band);
        }
        if spec.band.is_none() && random.one_in(4) {
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
