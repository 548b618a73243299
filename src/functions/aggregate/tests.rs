//! Aggregates against naive ones over random weighted rows, whatever the order and the cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;

use super::*;
use crate::functions::{Expr, Literal};
use crate::types::numeric::Leading;
use crate::types::{Column, Schema, SqlType, Weights};

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn input() -> Schema {
    Schema::new(vec![
        Column::new("b", SqlType::BigInt),
        Column::new("d", SqlType::Double),
        Column::new("n", SqlType::Decimal { precision: 20, scale: 2 }),
        Column::new("t", SqlType::Varchar),
    ])
}

fn calls() -> Vec<AggregateCall> {
    use AggregateFunction::*;
    let filter = Expr::binary(crate::functions::BinaryOp::Greater, Expr::Column(0), Expr::Literal(Literal::bigint(0)));
    let call = |function, column: Option<usize>, filter| {
        AggregateCall::new(function, column.map(Expr::Column).into_iter().collect(), false, filter, &input()).unwrap()
    };
    vec![
        call(CountStar, None, None),
        call(Count, Some(0), None),
        call(Sum, Some(0), None),
        call(Avg, Some(0), Some(filter)),
        call(Sum, Some(1), None),
        call(Avg, Some(1), None),
        call(Sum, Some(2), None),
        call(Min, Some(0), None),
        call(Max, Some(1), None),
        call(Max, Some(3), None),
    ]
}

type Row = (Option<i64>, Option<f64>, Option<i128>, Option<String>);

fn batch(rows: &[&Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
        Arc::new(
            rows.iter().map(|row| row.2).collect::<Decimal128Array>().with_data_type(input().columns[2].ty.arrow()),
        ),
        Arc::new(rows.iter().map(|row| row.3.clone()).collect::<StringArray>()),
    ];
    RecordBatch::try_new(input().arrow(), columns).unwrap()
}

fn random_row(random: &mut Random) -> Row {
    let some = |random: &mut Random| random.below(5) > 0;
    let float = f64::from_bits(random.next());
    let float = if float.is_finite() { float * 1e-20 } else { 0.5 };
    (
        some(random).then(|| random.next() as i64 >> random.below(60)),
        some(random).then_some(float),
        some(random).then(|| i128::from(random.next() as i64)),
        some(random).then(|| format!("k{}", random.below(100))),
    )
}

fn encode_all(accumulators: &Accumulators) -> Vec<Vec<u8>> {
    let encode = |slot| {
        let mut bytes = Vec::new();
        accumulators.encode(slot, &mut bytes);
        bytes
    };
    (0..accumulators.len()).map(encode).collect()
}

#[test]
fn order_cuts_merges_and_retractions_leave_no_trace() {
    for seed in 1..=20u64 {
        eprintln!("seed {seed}");
        let mut random = Random(seed);
        let rows: Vec<Row> = (0..60).map(|_| random_row(&mut random)).collect();
        let groups: Vec<u32> = rows.iter().map(|_| random.below(4) as u32).collect();
        let aggregates = Aggregates::new(&calls(), &input(), true).unwrap();
        let mut direct = aggregates.accumulators();
        direct.resize(4);
        let all = batch(&rows.iter().collect::<Vec<_>>());
        direct.update(&aggregates.arguments(&all).unwrap(), &groups, &Weights::Ones).unwrap();

        // In another order, one row at a time, through partial sets and bytes.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_cached_key(|_| random.next());
        let mut other = aggregates.accumulators();
        other.resize(4);
        for &row in &order {
            let mut partial = aggregates.accumulators();
            partial.resize(1);
            let arguments = aggregates.arguments(&batch(&[&rows[row]])).unwrap();
            partial.update(&arguments, &[0], &Weights::Ones).unwrap();
            let mut decoded = aggregates.accumulators();
            decoded.decode(&encode_all(&partial)[0]).unwrap();
            other.merge(&decoded, &[groups[row]]).unwrap();
        }
        assert_eq!(encode_all(&direct), encode_all(&other));
        check_naive(&direct, &rows, &groups);
    }
}

fn check_naive(accumulators: &Accumulators, rows: &[Row], groups: &[u32]) {
    let results = accumulators.finish(0, 4).unwrap();
    for group in 0..4u32 {
        let slot = group as usize;
        let mine: Vec<&Row> = rows.iter().zip(groups).filter(|(_, g)| **g == group).map(|(row, _)| row).collect();
        let count = results[0].values.as_primitive::<arrow::datatypes::Int64Type>().value(slot);
        assert_eq!(count, mine.len() as i64);
        let sum: i128 = mine.iter().filter_map(|row| row.0).map(i128::from).sum();
        let found = results[2].values.as_primitive::<arrow::datatypes::Decimal128Type>();
        assert!(found.is_null(slot) || found.value(slot) == sum);
        let positive: Vec<i128> = mine.iter().filter_map(|row| row.0).filter(|v| *v > 0).map(i128::from).collect();
        let average = results[3].values.as_primitive::<arrow::datatypes::Decimal128Type>();
        if average.is_valid(slot) {
            let (sum, count) = (positive.iter().sum::<i128>(), positive.len() as i128);
            let digits = Leading::of(sum.unsigned_abs(), 0).divided_by(Leading::of(count.unsigned_abs(), 0));
            let off = average.value(slot) * count - sum * 10i128.pow(18);
            assert!(off.abs() * 2 <= count * 10i128.pow((18 - digits).max(0) as u32));
        }
        let least = mine.iter().filter_map(|row| row.0).min();
        let min = results[7].values.as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(min.is_valid(slot).then(|| min.value(slot)), least);
        let last = mine.iter().filter_map(|row| row.3.as_deref()).max();
        let max = results[9].values.as_string::<i32>();
        assert_eq!(max.is_valid(slot).then(|| max.value(slot)), last);
    }
}

#[test]
fn retracting_everything_leaves_an_empty_group() {
    for seed in 1..=20u64 {
        eprintln!("seed {seed}");
        let mut random = Random(seed);
        let calls: Vec<AggregateCall> = calls().into_iter().take(7).collect();
        let aggregates = Aggregates::new(&calls, &input(), false).unwrap();
        let rows: Vec<Row> = (0..30).map(|_| random_row(&mut random)).collect();
        let kept = random_row(&mut random);
        let mut all: Vec<&Row> = rows.iter().collect();
        all.extend(rows.iter().rev());
        all.push(&kept);
        let mut weights: Vec<i64> = rows.iter().map(|_| 1 + random.below(1 << 40) as i64).collect();
        weights.extend(weights.clone().iter().rev().map(|weight| -weight));
        weights.push(1);
        let mut accumulators = aggregates.accumulators();
        accumulators.resize(1);
        let groups = vec![0; all.len()];
        let arguments = aggregates.arguments(&batch(&all)).unwrap();
        accumulators.update(&arguments, &groups, &Weights::from_vec(weights)).unwrap();
        let mut alone = aggregates.accumulators();
        alone.resize(1);
        alone.update(&aggregates.arguments(&batch(&[&kept])).unwrap(), &[0], &Weights::Ones).unwrap();
        assert_eq!(encode_all(&accumulators), encode_all(&alone));
        assert_eq!(accumulators.rows(0), 1);
    }
}

#[test]
fn float_sums_are_exact_and_rounded_once() {
    // Sums of random integers of up to 2^100 times a power of two, against i128.
    for seed in 1..=200u64 {
        let mut random = Random(seed);
        let scale = random.below(1900) as i32 - 1000;
        let mut sum = FloatSum::default();
        let mut exact = 0i128;
        for _ in 0..20 {
            let digits = i128::from((random.next() >> 11) as i64) << random.below(40);
            let digits = if random.below(2) == 0 { -digits } else { digits };
            let weight = random.below(7) as i64 - 3;
            exact += digits * i128::from(weight);
            sum.add(digits as f64 * 2f64.powi(scale), weight);
        }
        let expected = exact as f64 * 2f64.powi(scale);
        assert_eq!(sum.to_f64(), expected, "seed {seed} scale {scale} exact {exact}");
    }
}

#[test]
fn float_sums_at_the_edges() {
    let total = |values: &[f64]| {
        let mut sum = FloatSum::default();
        values.iter().for_each(|&value| sum.add(value, 1));
        sum.to_f64()
    };
    assert_eq!(total(&[1e300, 1.0, -1e300]), 1.0);
    assert_eq!(total(&[f64::MAX, f64::MAX]), f64::INFINITY);
    assert_eq!(total(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
    assert_eq!(total(&[f64::from_bits(1), f64::from_bits(1)]), f64::from_bits(2));
    assert_eq!(total(&[f64::MIN_POSITIVE, -f64::from_bits(1)]), f64::MIN_POSITIVE - f64::from_bits(1));
    assert_eq!(total(&[1.0, 2f64.powi(-53)]), 1.0);
    assert_eq!(total(&[1.0, 2f64.powi(-53), f64::from_bits(1)]), 1.0 + 2f64.powi(-52));
    assert_eq!(total(&[0.1; 10]), 1.0);
    assert!(total(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    assert_eq!(total(&[-0.0]).to_bits(), 0);
    let mut sum = FloatSum::default();
    sum.add(f64::INFINITY, 1);
    sum.add(2.5, 1);
    sum.add(f64::INFINITY, -1);
    assert_eq!(sum.to_f64(), 2.5);
    let mut real = FloatSum::default();
    [1.0, 2f64.powi(-24), 2f64.powi(-60)].iter().for_each(|&value| real.add(value, 1));
    assert_eq!(real.to_f32(), 1.0 + f32::EPSILON);
}

#[test]
fn state_rows_are_golden() {
    let input = Schema::new(vec![Column::new("x", SqlType::BigInt), Column::new("y", SqlType::Double)]);
    let call = |function, columns: &[usize]| {
        AggregateCall::new(function, columns.iter().map(|&i| Expr::Column(i)).collect(), false, None, &input).unwrap()
    };
    use AggregateFunction::*;
    let calls = [call(CountStar, &[]), call(Sum, &[0]), call(Avg, &[1]), call(Max, &[0])];
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![7, 7])), Arc::new(Float64Array::from(vec![1.5, -4.0]))];
    let batch = RecordBatch::try_new(input.arrow(), columns).unwrap();
    let hex = |calls: &[AggregateCall]| {
        let aggregates = Aggregates::new(calls, &input, true).unwrap();
        let mut accumulators = aggregates.accumulators();
        accumulators.resize(1);
        accumulators.update(&aggregates.arguments(&batch).unwrap(), &[0, 0], &Weights::Ones).unwrap();
        let bytes = encode_all(&accumulators).remove(0);
        let mut again = aggregates.accumulators();
        again.decode(&bytes).unwrap();
        assert_eq!(encode_all(&again)[0], bytes);
        assert!(again.decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(hex(&calls[..2]), "01 04 04 1c 00");
    // avg(y): 2 values, two limbs, negative, lowest limb 33 (2^-32): 2.5 = 2 * 2^0 + 2^31 * 2^-32.
    assert_eq!(hex(&calls), "01 04 04 1c 00 04 0a 42 00 00 00 80 02 00 00 00 01 0e");
}

#[test]
fn overflow_is_a_fault_and_min_max_can_be_replaced() {
    let input = Schema::new(vec![Column::new("x", SqlType::Int)]);
    let call = |function| AggregateCall::new(function, vec![Expr::Column(0)], false, None, &input).unwrap();
    let aggregates =
        Aggregates::new(&[call(AggregateFunction::Sum), call(AggregateFunction::Max)], &input, false).unwrap();
    assert_eq!(aggregates.keeping()[1], Keeping::Extreme { row: vec![SqlType::Int], last: true });
    let values: ArrayRef = Arc::new(Int32Array::from(vec![i32::MAX, 3]));
    let batch = RecordBatch::try_new(input.arrow(), vec![Arc::clone(&values)]).unwrap();
    let mut accumulators = aggregates.accumulators();
    accumulators.resize(2);
    let arguments = aggregates.arguments(&batch).unwrap();
    accumulators.update(&arguments, &[0, 1], &Weights::from_vec(vec![i64::MAX, 1])).unwrap();
    let results = accumulators.finish(0, 2).unwrap();
    let faults = results[0].faults.as_ref().unwrap();
    assert_eq!((faults.count(), faults.reason(0)), (1, "bigint out of range"));
    assert!(accumulators.holds(1, 0, &values, 0) && !accumulators.holds(1, 1, &values, 0));
    accumulators.replace(1, &[0], &(Arc::new(Int32Array::from(vec![None])) as ArrayRef)).unwrap();
    let results = accumulators.finish(0, 2).unwrap();
    let seen: BTreeMap<usize, bool> = (0..2).map(|slot| (slot, results[1].values.is_valid(slot))).collect();
    assert_eq!(seen, BTreeMap::from([(0, false), (1, true)]));
}

/// One call over rows of two doubles, as text.
fn of_pairs(function: AggregateFunction, rows: &[(f64, f64)]) -> Option<f64> {
    let input = Schema::new(vec![Column::new("y", SqlType::Double), Column::new("x", SqlType::Double)]);
    let one = matches!(
        function,
        AggregateFunction::VarPop
            | AggregateFunction::VarSamp
            | AggregateFunction::StddevPop
            | AggregateFunction::StddevSamp
    );
    let args = (0..if one { 1 } else { 2 }).map(Expr::Column).collect();
    let call = AggregateCall::new(function, args, false, None, &input).unwrap();
    let aggregates = Aggregates::new(&[call], &input, true).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>()),
    ];
    let batch = RecordBatch::try_new(input.arrow(), columns).unwrap();
    let mut accumulators = aggregates.accumulators();
    accumulators.resize(1);
    accumulators.update(&aggregates.arguments(&batch).unwrap(), &vec![0; rows.len()], &Weights::Ones).unwrap();
    let done = accumulators.finish(0, 1).unwrap().remove(0);
    assert!(done.faults.is_none());
    let values = done.values.as_primitive::<arrow::datatypes::Float64Type>();
    values.is_valid(0).then(|| values.value(0))
}

#[test]
fn moments_are_what_their_definitions_say() {
    use AggregateFunction::*;
    let rows = [(1.0, 2.0), (2.0, 3.0), (4.0, 1.0), (8.0, 7.5), (-3.0, 0.25)];
    let n = rows.len() as f64;
    let (my, mx) = (rows.iter().map(|r| r.0).sum::<f64>() / n, rows.iter().map(|r| r.1).sum::<f64>() / n);
    let syy: f64 = rows.iter().map(|r| (r.0 - my).powi(2)).sum();
    let sxx: f64 = rows.iter().map(|r| (r.1 - mx).powi(2)).sum();
    let sxy: f64 = rows.iter().map(|r| (r.0 - my) * (r.1 - mx)).sum();
    let slope = sxy / sxx;
    let expected = [
        (VarPop, syy / n),
        (VarSamp, syy / (n - 1.0)),
        (StddevPop, (syy / n).sqrt()),
        (StddevSamp, (syy / (n - 1.0)).sqrt()),
        (CovarPop, sxy / n),
        (CovarSamp, sxy / (n - 1.0)),
        (Corr, sxy / (sxx * syy).sqrt()),
        (RegrAvgx, mx),
        (RegrAvgy, my),
        (RegrSxx, sxx),
        (RegrSyy, syy),
        (RegrSxy, sxy),
        (RegrSlope, slope),
        (RegrIntercept, my - slope * mx),
        (RegrR2, sxy * sxy / (sxx * syy)),
    ];
    for (function, expected) in expected {
        let found = of_pairs(function, &rows).unwrap();
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{function:?}: {found} {expected}");
    }
    // Nothing is lost where all values are equal, or large and close together.
    assert_eq!(of_pairs(StddevPop, &[(0.1, 0.0); 3]), Some(0.0));
    assert_eq!(of_pairs(VarSamp, &[(1e15 + 1.0, 0.0), (1e15 + 2.0, 0.0), (1e15 + 3.0, 0.0)]), Some(1.0));
    assert_eq!(of_pairs(VarSamp, &[(5.0, 0.0)]), None);
    assert_eq!(of_pairs(Corr, &[(5.0, 1.0), (5.0, 2.0)]), None);
    assert_eq!(of_pairs(RegrR2, &[(5.0, 1.0), (5.0, 2.0)]), Some(1.0));
    assert!(of_pairs(VarPop, &[(f64::INFINITY, 0.0)]).unwrap().is_nan());
}
