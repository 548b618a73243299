//! Scripts of `over`, and random window functions against computing every row by the definition.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Decimal128Type, Int64Type};

use super::*;
use crate::base::random::Random;
use crate::functions::{AggregateCall, AggregateFunction, Expr, Literal};
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::operators::{FreeOn, OperatorSpec, OrderKey, RowOrder, fault_schema};
use crate::state::Tier;
use crate::types::{Epoch, Schema, Watermark};

const K: usize = 0;
const G: usize = 1;
const X: usize = 2;
const END: usize = 4;

fn input() -> Schema {
    schema("k bigint, g varchar, x bigint, y double, window_end timestamp")
}

fn key(column: usize) -> OrderKey {
    OrderKey { column, descending: false, nulls_first: false }
}

fn rows(start: Bound, end: Bound) -> Frame {
    Frame { units: Units::Rows, start, end }
}

fn call(function: OverFunction, frame: Frame) -> OverCall {
    let ty = result_type(&function, &input()).unwrap();
    OverCall { function, frame, ty }
}

fn aggregate(function: AggregateFunction, column: Option<usize>) -> OverFunction {
    let args = column.map(Expr::Column).into_iter().collect();
    OverFunction::Aggregate(AggregateCall::new(function, args, false, None, &input()).unwrap())
}

fn spec(partition: &[usize], order: Vec<OrderKey>, calls: Vec<OverCall>) -> OverSpec {
    let order = RowOrder { partition: partition.to_vec(), order, tie: (0..5).collect() };
    OverSpec { input: input(), order, calls, free_on: None }
}

#[test]
fn scripts() {
    use AggregateFunction::*;
    run_scripts("over", &|name| {
        let running = || Frame { units: Units::Range, start: Bound::First, end: Bound::Current };
        let spec = match name {
            "running sum" => spec(&[G], vec![key(X)], vec![call(aggregate(Sum, Some(X)), running())]),
            "numbers" => {
                let calls =
                    [OverFunction::RowNumber, OverFunction::Rank, OverFunction::DenseRank, OverFunction::Ntile(2)];
                spec(&[], vec![key(X)], calls.map(|function| call(function, Frame::WHOLE)).to_vec())
            }
            "neighbours" => {
                let shift =
                    |by| OverFunction::Shift { column: K, by, default: Some(Literal::bigint(0)), ignore_nulls: false };
                spec(&[G], vec![key(X)], vec![call(shift(1), Frame::WHOLE), call(shift(-1), Frame::WHOLE)])
            }
            "three rows" => {
                let frame = rows(Bound::Before(1), Bound::Behind(1));
                spec(
                    &[],
                    vec![key(X)],
                    vec![call(aggregate(Max, Some(X)), frame.clone()), call(aggregate(CountStar, None), frame)],
                )
            }
            "windows" => OverSpec {
                free_on: Some(FreeOn { place: 0, shift_us: 0 }),
                ..spec(&[END], vec![key(X)], vec![call(OverFunction::RowNumber, Frame::WHOLE)])
            },
            _ => return None,
        };
        Some((OperatorSpec::Over(spec), vec![input()]))
    });
}

/// Every row's value by the definition: its frame is looked for anew, its rows are counted one by one.
fn answer(spec: &OverSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let mut found = vec![ZSet::new(spec.output()), ZSet::new(Schema::default()), ZSet::new(fault_schema())];
    let batch = moment.inputs[0].batch();
    let codec = |column: usize| RowCodec::new(vec![input().columns[column].ty.clone()]);
    let bytes = |column: usize| -> Vec<Vec<u8>> {
        let column = codec(column).encode(&[Arc::clone(batch.rows.column(column))]).unwrap();
        column.iter().map(<[u8]>::to_vec).collect()
    };
    let columns: Vec<Vec<Vec<u8>>> = (0..input().columns.len()).map(bytes).collect();
    let columns = &columns;
    let mut partitions: BTreeMap<Vec<Vec<u8>>, Vec<usize>> = BTreeMap::new();
    let places: Vec<usize> = (0..batch.len()).collect();
    for row in places {
        let key: Vec<_> = spec.order.partition.iter().map(|&column| columns[column][row].clone()).collect();
        (0..batch.weights.get(row)).for_each(|_| partitions.entry(key.clone()).or_default().push(row));
    }
    let peers = |a: usize, b: usize| {
        spec.order.order.iter().fold(Ordering::Equal, |order, key| {
            let (a, b) = (&columns[key.column][a], &columns[key.column][b]);
            order.then_with(|| match (a[0] == 2, b[0] == 2) {
                (false, false) if key.descending => b.cmp(a),
                (false, false) => a.cmp(b),
                (a, b) if key.nulls_first => b.cmp(&a),
                (a, b) => a.cmp(&b),
            })
        })
    };
    for rows in partitions.values_mut() {
        let whole = |row: usize| spec.order.tie.iter().map(move |&i| &columns[i][row]).collect::<Vec<_>>();
        rows.sort_by(|&a, &b| peers(a, b).then_with(|| whole(a).cmp(&whole(b))));
        for (place, &row) in rows.iter().enumerate() {
            let mut shown = batch.rows.slice(row, 1).columns().to_vec();
            let mut overflow = false;
            for call in &spec.calls {
                let value = value(call, &batch.rows, rows, place, &peers, spec);
                overflow |= value.is_none();
                shown.push(value.unwrap_or_else(|| arrow::array::new_null_array(&call.ty.arrow(), 1)));
            }
            if overflow {
                let reason = "bigint out of range".to_owned();
                found[2].add(&fault_batch(&batch.rows.slice(row, 1), vec![reason], vec![1]).unwrap());
            } else {
                found[0].add(&DeltaBatch::inserts(RecordBatch::try_new(spec.output().arrow(), shown).unwrap()));
            }
        }
    }
    found
}

/// The value of `call` for the row at `place` of a partition; `None` if it is out of range.
fn value(
    call: &OverCall,
    batch: &RecordBatch,
    rows: &[usize],
    place: usize,
    peers: &dyn Fn(usize, usize) -> Ordering,
    spec: &OverSpec,
) -> Option<ArrayRef> {
    let count = rows.len();
    let same = |other: usize| peers(rows[place], rows[other]).is_eq();
    let before = (0..place).filter(|&other| !same(other)).count();
    let number = |number: usize| -> Option<ArrayRef> { Some(Arc::new(Int64Array::from(vec![number as i64]))) };
    let share = |share: f64| -> Option<ArrayRef> { Some(Arc::new(Float64Array::from(vec![share]))) };
    let cell = |column: usize, row: usize| batch.column(column).slice(rows[row], 1);
    let null = |column: usize| arrow::array::new_null_array(batch.column(column).data_type(), 1);
    match &call.function {
        OverFunction::RowNumber => number(place + 1),
        OverFunction::Rank => number(before + 1),
        OverFunction::DenseRank => number(1 + (1..=place).filter(|&at| peers(rows[at - 1], rows[at]).is_ne()).count()),
        OverFunction::PercentRank => share(if count > 1 { before as f64 / (count - 1) as f64 } else { 0.0 }),
        OverFunction::CumeDist => {
            share((0..count).filter(|&other| other <= place || same(other)).count() as f64 / count as f64)
        }
        OverFunction::Ntile(buckets) => {
            let sizes =
                (0..*buckets as usize).map(|i| count / *buckets as usize + usize::from(i < count % *buckets as usize));
            let ends = sizes.scan(0, |end, size| {
                *end += size;
                Some(*end)
            });
            number(1 + ends.take_while(|&end| end <= place).count())
        }
        OverFunction::Shift { column, by, default, ignore_nulls } => {
            let mut seen: Box<dyn Iterator<Item = usize>> =
                if *by > 0 { Box::new((0..place).rev()) } else { Box::new(place + 1..count) };
            let wanted = by.unsigned_abs() as usize;
            let found = match wanted {
                0 => Some(place),
                _ if *ignore_nulls => seen.filter(|&other| cell(*column, other).is_valid(0)).nth(wanted - 1),
                _ => seen.nth(wanted - 1),
            };
            let missing = || default.as_ref().map_or_else(|| null(*column), |default| default.to_array().unwrap());
            Some(found.map_or_else(missing, |found| cell(*column, found)))
        }
        OverFunction::Nth { column, place: nth, ignore_nulls } => {
            let mut seen: Vec<usize> = frame(&call.frame, batch, rows, place, peers, spec);
            seen.retain(|&other| !ignore_nulls || cell(*column, other).is_valid(0));
            let found = match *nth > 0 {
                true => seen.get(*nth as usize - 1),
                false => seen.len().checked_sub(nth.unsigned_abs() as usize).and_then(|at| seen.get(at)),
            };
            Some(found.map_or_else(|| null(*column), |&found| cell(*column, found)))
        }
        OverFunction::Aggregate(aggregate) => {
            let seen = frame(&call.frame, batch, rows, place, peers, spec);
            let cells: Vec<ArrayRef> = match aggregate.args.first() {
                Some(Expr::Column(column)) => seen.iter().map(|&row| cell(*column, row)).collect(),
                _ => return number(seen.len()),
            };
            let values: Vec<i64> = cells
                .iter()
                .filter_map(|cell| {
                    let cell = cell.as_primitive::<Int64Type>();
                    cell.is_valid(0).then(|| cell.value(0))
                })
                .collect();
            let one = |value: Option<i64>| -> Option<ArrayRef> { Some(Arc::new(Int64Array::from(vec![value]))) };
            match aggregate.function {
                AggregateFunction::Count => number(values.len()),
                AggregateFunction::Min => one(values.iter().min().copied()),
                AggregateFunction::Max => one(values.iter().max().copied()),
                _ => {
                    let sum: i128 = values.iter().map(|&value| i128::from(value)).sum();
                    let sum = (!values.is_empty()).then_some(sum);
                    let sums = arrow::array::PrimitiveArray::<Decimal128Type>::from(vec![sum]);
                    Some(Arc::new(sums.with_data_type(call.ty.arrow())))
                }
            }
        }
    }
}

/// The places of the rows of a frame.
fn frame(
    frame: &Frame,
    batch: &RecordBatch,
    rows: &[usize],
    place: usize,
    peers: &dyn Fn(usize, usize) -> Ordering,
    spec: &OverSpec,
) -> Vec<usize> {
    let group = |at: usize| (1..=at).filter(|&i| peers(rows[i - 1], rows[i]).is_ne()).count() as i128;
    let value = |at: usize| {
        let column = batch.column(spec.order.order[0].column).as_primitive::<Int64Type>();
        column.is_valid(rows[at]).then(|| i128::from(column.value(rows[at])))
    };
    let offset = |literal: &Literal| match literal.value {
        crate::functions::Value::Integer(offset) => i128::from(offset),
        _ => panic!("an integer"),
    };
    // How far `other` lies behind the row, in the units of the frame.
    let distance = |other: usize| -> i128 {
        match frame.units {
            Units::Rows => other as i128 - place as i128,
            Units::Groups => group(other) - group(place),
            Units::Range => peers(rows[other], rows[place]) as i128,
        }
    };
    let by_value = |other: usize, offset: i128| -> Ordering {
        match (value(other), value(place)) {
            (Some(there), Some(here)) if spec.order.order[0].descending => (-there).cmp(&(-here + offset)),
            (Some(there), Some(here)) => there.cmp(&(here + offset)),
            // NULL is a peer of NULL only, on its side of all values.
            _ => peers(rows[other], rows[place]),
        }
    };
    let is_in = |bound: &Bound, other: usize, start: bool| match bound {
        Bound::First => start,
        Bound::Last => !start,
        Bound::Current if start => distance(other) >= 0,
        Bound::Current => distance(other) <= 0,
        Bound::Before(n) if start => distance(other) >= -i128::from(*n),
        Bound::Before(n) => distance(other) <= -i128::from(*n),
        Bound::Behind(n) if start => distance(other) >= i128::from(*n),
        Bound::Behind(n) => distance(other) <= i128::from(*n),
        Bound::Below(x) if start => by_value(other, -offset(x)).is_ge(),
        Bound::Below(x) => by_value(other, -offset(x)).is_le(),
        Bound::Above(x) if start => by_value(other, offset(x)).is_ge(),
        Bound::Above(x) => by_value(other, offset(x)).is_le(),
    };
    (0..rows.len()).filter(|&other| is_in(&frame.start, other, true) && is_in(&frame.end, other, false)).collect()
}

fn random_frame(random: &mut Random, order: &[OrderKey]) -> Frame {
    let by_value = matches!(order, [key] if key.column == K || key.column == X);
    let units = *random.pick(&[Units::Rows, Units::Rows, Units::Groups, Units::Range]).unwrap();
    let mut bound = |start: bool| match (random.below(4), units) {
        (0, _) if start => Bound::First,
        (0, _) => Bound::Last,
        (1, _) => Bound::Current,
        (2, Units::Range) if by_value => Bound::Below(Literal::bigint(random.between(0, 3))),
        (3, Units::Range) if by_value => Bound::Above(Literal::bigint(random.between(0, 3))),
        (_, Units::Range) => Bound::Current,
        (2, _) => Bound::Before(random.below(4)),
        (_, _) => Bound::Behind(random.below(4)),
    };
    Frame { units, start: bound(true), end: bound(false) }
}

fn random_call(random: &mut Random, order: &[OrderKey]) -> OverCall {
    use AggregateFunction::*;
    let column = *random.pick(&[K, G, X]).unwrap();
    let number = *random.pick(&[K, X]).unwrap();
    let ignore_nulls = random.one_in(3);
    let function = match random.below(12) {
        0 => OverFunction::RowNumber,
        1 => OverFunction::Rank,
        2 => OverFunction::DenseRank,
        3 => OverFunction::PercentRank,
        4 => OverFunction::CumeDist,
        5 => OverFunction::Ntile(1 + random.below(4)),
        6 | 7 => {
            let default = (column != G && random.one_in(2)).then(|| Literal::bigint(99));
            OverFunction::Shift { column, by: random.between(-3, 3), default, ignore_nulls }
        }
        8 => {
            let place = *random.pick(&[1, -1, 2, 3, -2]).unwrap();
            OverFunction::Nth { column, place, ignore_nulls }
        }
        9 => aggregate(CountStar, None),
        10 => aggregate(*random.pick(&[Min, Max]).unwrap(), Some(number)),
        _ => aggregate(*random.pick(&[Count, Sum]).unwrap(), Some(number)),
    };
    let frame = random_frame(random, order);
    call(function, frame)
}

fn random_spec(random: &mut Random) -> OverSpec {
    let mut partition: Vec<usize> = [K, G, 3].into_iter().filter(|_| random.one_in(4)).collect();
    let columns: Vec<usize> = [K, G, X, 3].into_iter().filter(|_| random.one_in(3)).collect();
    let order: Vec<OrderKey> = columns
        .into_iter()
        .map(|column| OrderKey { column, descending: random.one_in(2), nulls_first: random.one_in(2) })
        .collect();
    let local = random.one_in(3);
    let calls = (0..1 + random.below(3)).map(|_| {
        loop {
            let call = random_call(random, &order);
            let one = spec(&[], order.clone(), vec![call.clone()]);
            if !local || matches!(Reach::of(&one), Reach::Rows { .. }) {
                break call;
            }
        }
    });
    let calls = calls.collect();
    let free_on = random.one_in(4).then(|| {
        partition.push(END);
        FreeOn { place: partition.len() - 1, shift_us: 0 }
    });
    OverSpec { free_on, ..spec(&partition, order, calls) }
}

#[test]
fn random_input_is_every_row_by_definition() {
    run_cases("over::tests::random_input_is_every_row_by_definition", 500, |random: &mut Random| {
        let spec = random_spec(random);
        Case {
            inputs: vec![RandomRows::new(input())],
            retracts: true,
            window_end: spec.free_on.map(|_| END),
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: None,
            spec: OperatorSpec::Over(spec),
        }
    });
}

/// Rows of each of 1,000 windows: no more state than that of the windows that are open.
#[test]
fn state_goes_with_the_windows() {
    let free_on = Some(FreeOn { place: 0, shift_us: 0 });
    let spec = OverSpec { free_on, ..spec(&[END], vec![key(X)], vec![call(OverFunction::RowNumber, Frame::WHOLE)]) };
    let mut bench = Bench::new(&OperatorSpec::Over(spec), Tier::Strict, 2);
    for window in 1..=1000 {
        let at = |end: i64| chrono::DateTime::from_timestamp(end, 0).unwrap().format("%Y-%m-%dT%H:%M:%S").to_string();
        let rows: Vec<String> = (0..9).map(|x| format!("({x}, 'a', {x}, 0, '{}')", at(window + x % 3))).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        bench.delta(0, &DeltaBatch::inserts(batch_of_text(&input(), &rows)));
        let watermarks = vec![Watermark(window * 1_000_000)];
        bench.end(&EpochEnd { epoch: Epoch(window as u64), clock_us: 0, watermarks });
        bench.emitted.clear();
        let rows: usize = bench.rows().iter().map(|(_, rows)| rows).sum();
        assert!(rows <= 3 * 3 + 2 * 3, "{rows} rows of state in window {window}");
    }
}

/// A change in the middle of a long partition reads and computes a few rows only.
#[test]
fn frames_of_rows_bound_the_stretch() {
    let frame = rows(Bound::Before(2), Bound::Behind(1));
    let spec = spec(&[], vec![key(K)], vec![call(aggregate(AggregateFunction::Sum, Some(X)), frame)]);
    let codec = PartitionCodec::new(&spec.input, &spec.order).unwrap();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let mut columns = vec![Arc::clone(&numbers)];
    columns.extend(input().columns[1..].iter().map(|column| arrow::array::new_null_array(&column.ty.arrow(), 10_000)));
    let batch = RecordBatch::try_new(input().arrow(), columns).unwrap();
    let (keys, rows) = codec.encode(&batch).unwrap();
    let mut state = OperatorState::in_memory(spec.tables().unwrap());
    let bag = state.bag(ROWS).unwrap();
    bag.add_batch(&keys, &rows, &crate::types::Weights::Ones).unwrap();
    let changed = rows.row(5_000);
    let place = Place::new(Reach::of(&spec), bag, &[], changed, changed).unwrap();
    let stretch = place.read(bag, &[]).unwrap();
    assert_eq!((stretch.rows.len(), stretch.from, stretch.to), (7, 2, 6));
    assert!(stretch.rows.row(3) == changed);
}
