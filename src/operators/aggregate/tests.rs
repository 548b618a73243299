//! Scripts of `aggregate`, and random calls over random input against computing every group anew.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::base::random::Random;
use crate::functions::{AggregateCall, AggregateFunction, BinaryOp, Expr, FloatBits, Keeping, Literal, Order, Value};
use crate::operators::workbench::{Case, Moment, RandomRows, ZSet, run_cases, run_scripts, schema};
use crate::operators::{MAIN_PORT, OperatorSpec, fault_schema};
use crate::types::Schema;

/// Columns of [`input`] by name.
const K: usize = 0;
const G: usize = 1;
const X: usize = 2;
const Y: usize = 3;
const N: usize = 4;
const END: usize = 5;

fn input() -> Schema {
    schema("k bigint, g varchar, x bigint, y double, n numeric, window_end timestamp")
}

fn ratio() -> Expr {
    Expr::binary(BinaryOp::Divide, Expr::Column(X), Expr::Column(K))
}

fn call(function: AggregateFunction, arg: Option<Expr>, distinct: bool, filter: Option<Expr>) -> AggregateCall {
    AggregateCall::new(function, arg.into_iter().collect(), distinct, filter, &input()).unwrap()
}

fn of(function: AggregateFunction, column: usize) -> AggregateCall {
    call(function, Some(Expr::Column(column)), false, None)
}

fn spec(keys: &[usize], calls: Vec<AggregateCall>) -> AggregateSpec {
    AggregateSpec { input: input(), keys: keys.to_vec(), calls, append_only: false, emit: Emit::Changes, free_on: None }
}

#[test]
fn scripts() {
    use AggregateFunction::*;
    let star = || call(CountStar, None, false, None);
    let hot = || vec![star(), of(Max, X)];
    run_scripts("aggregate", &|name| {
        let positive = Expr::binary(BinaryOp::Greater, ratio(), Expr::Literal(Literal::bigint(0)));
        let spec = match name {
            "counts and sums" => spec(&[G], vec![star(), of(Count, X), of(Sum, X), of(Avg, X)]),
            "min and max" => spec(&[G], vec![of(Min, X), of(Max, X)]),
            "distinct calls" => {
                let distinct = |function| call(function, Some(Expr::Column(X)), true, None);
                spec(&[G], vec![distinct(Count), distinct(Sum)])
            }
            "distinct" => spec(&[K, G], Vec::new()),
            "one group" => spec(&[], vec![star(), of(Sum, X)]),
            "filter" => spec(&[G], vec![star(), call(Sum, Some(ratio()), false, Some(positive))]),
            "sum of numerics" => spec(&[G], vec![of(Sum, N)]),
            "windows, changes" => AggregateSpec { free_on: Some(1), ..spec(&[K, END], hot()) },
            "windows, on close" => AggregateSpec { emit: Emit::WindowClose { key: 1 }, ..spec(&[K, END], hot()) },
            "append-only max" => AggregateSpec { append_only: true, ..spec(&[G], hot()) },
            _ => return None,
        };
        Some((OperatorSpec::Aggregate(spec), vec![input()]))
    });
}

/// One group: its key columns (one row), and the rows that belong to it with their weights.
struct Group {
    key: Vec<ArrayRef>,
    rows: Vec<(usize, i64)>,
}

/// Every group computed anew from the contents of the input.
fn answer(spec: &AggregateSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    let mut found = vec![ZSet::new(spec.output().unwrap()), ZSet::new(Schema::default()), ZSet::new(fault_schema())];
    let batch = moment.inputs[0].batch();
    let arguments = spec.aggregates().unwrap().arguments(&batch.rows).unwrap();
    let codec = RowCodec::new(spec.key_schema().types());
    let mut groups: BTreeMap<Vec<u8>, Group> = BTreeMap::new();
    if spec.keys.is_empty() {
        groups.insert(Vec::new(), Group { key: Vec::new(), rows: Vec::new() });
    }
    for row in 0..batch.len() {
        let weight = batch.weights.get(row);
        if let Some(faults) = arguments.faults.as_ref().filter(|faults| faults.mask.value(row)) {
            let reasons = vec![faults.reason(row).to_owned()];
            found[2].add(&fault_batch(&batch.rows.slice(row, 1), reasons, vec![weight]).unwrap());
            continue;
        }
        let key: Vec<ArrayRef> = spec.keys.iter().map(|&key| batch.rows.column(key).slice(row, 1)).collect();
        let bytes = codec.encode_rows(&key, 1).unwrap().row(0).to_vec();
        groups.entry(bytes).or_insert(Group { key, rows: Vec::new() }).rows.push((row, weight));
    }
    for group in groups.values().filter(|group| is_shown(spec, group, moment.watermark)) {
        let mut columns = group.key.clone();
        let mut fault = None;
        for place in 0..spec.calls.len() {
            let (value, reason) = compute(spec, place, &group.rows, &arguments);
            columns.push(value);
            fault = fault.or(reason);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(1));
        let new = |schema: &Schema, columns| {
            arrow::array::RecordBatch::try_new_with_options(schema.arrow(), columns, &options).unwrap()
        };
        match fault {
            None => {
                let rows = new(&found[0].schema, columns);
                found[0].add(&DeltaBatch::inserts(rows));
            }
            Some(reason) => {
                let rows = new(&spec.key_schema(), group.key.clone());
                found[2].add(&fault_batch(&rows, vec![reason], vec![1]).unwrap());
            }
        }
    }
    found
}

fn is_shown(spec: &AggregateSpec, group: &Group, watermark: Watermark) -> bool {
    use arrow::array::{Array, AsArray};
    let Emit::WindowClose { key } = spec.emit else { return true };
    let ends = group.key[key].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    if ends.is_null(0) { watermark == Watermark::END } else { watermark.closes(ends.value(0)) }
}

/// One call over one group, in one batch without retractions; DISTINCT by a set of rows.
fn compute(
    spec: &AggregateSpec,
    place: usize,
    rows: &[(usize, i64)],
    arguments: &crate::functions::Arguments,
) -> (ArrayRef, Option<String>) {
    let mut counted: Vec<(usize, i64)> =
        rows.iter().copied().filter(|(row, _)| arguments.counts(place, *row)).collect();
    let columns = arguments.columns(place);
    let types = columns.iter().map(|column| SqlType::from_arrow(column.data_type()).unwrap()).collect();
    let encoded = RowCodec::new(types).encode_rows(columns, arguments_rows(columns, rows)).unwrap();
    let aggregates = Aggregates::new(&spec.calls, &spec.input, true).unwrap();
    if let Keeping::Multiset { .. } = aggregates.keeping()[place] {
        let mut kept: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        counted.iter().for_each(|(row, weight)| *kept.entry(encoded.row(*row).to_vec()).or_default() += weight);
        let mut folding = aggregates.folding(place).unwrap();
        folding.group(kept.iter().map(|(row, weight)| (row.as_slice(), *weight))).unwrap();
        return (folding.finish().unwrap(), None);
    }
    if matches!(aggregates.keeping()[place], Keeping::Distinct { .. }) {
        let mut seen = BTreeSet::new();
        counted.retain(|(row, _)| seen.insert(encoded.row(*row).to_vec()));
        counted.iter_mut().for_each(|(_, weight)| *weight = 1);
    }
    let indices = arrow::array::UInt64Array::from_iter_values(counted.iter().map(|(row, _)| *row as u64));
    let weights: Vec<i64> = counted.iter().map(|(_, weight)| *weight).collect();
    let groups = vec![0; weights.len()];
    if columns.is_empty() {
        let count: i64 = weights.iter().sum();
        return (Arc::new(arrow::array::Int64Array::from(vec![count])), None);
    }
    let columns = arrow::compute::take_arrays(columns, &indices, None).unwrap();
    let mut accumulators = aggregates.accumulators();
    accumulators.resize(1);
    accumulators.update_call(place, &columns, &groups, &Weights::from_vec(weights)).unwrap();
    let done = accumulators.finish(0, 1).unwrap().remove(place);
    (done.values, done.faults.map(|faults| faults.reason(0).to_owned()))
}

fn arguments_rows(columns: &[ArrayRef], rows: &[(usize, i64)]) -> usize {
    columns.first().map_or(rows.len(), |column| column.len())
}

fn random_call(random: &mut Random) -> AggregateCall {
    use AggregateFunction::*;
    let functions = [
        CountStar,
        Count,
        Sum,
        Avg,
        Min,
        Max,
        BoolAnd,
        BoolOr,
        BitAnd,
        BitOr,
        BitXor,
        VarSamp,
        StddevPop,
        CovarPop,
        Corr,
        RegrSlope,
        RegrIntercept,
        RegrCount,
        FirstValue,
        LastValue,
        StringAgg,
        ArrayAgg,
        PercentileCont,
        PercentileDisc,
        Mode,
    ];
    let function = *random.pick(&functions).unwrap();
    let mut column = |of: &[usize]| Expr::Column(*random.pick(of).unwrap());
    let any = [K, G, X, Y, N, END];
    let numbers = [K, X, Y, N];
    let args = match function {
        CountStar => Vec::new(),
        Count | Min | Max | FirstValue | LastValue | ArrayAgg | Mode => vec![column(&any)],
        Sum | Avg | VarSamp | StddevPop => {
            vec![if column(&numbers) == Expr::Column(K) { ratio() } else { column(&numbers) }]
        }
        BoolAnd | BoolOr => vec![Expr::binary(BinaryOp::Less, column(&[K, X]), Expr::Literal(Literal::bigint(1)))],
        BitAnd | BitOr | BitXor => vec![column(&[K, X])],
        StringAgg => vec![column(&[G]), column(&[G])],
        PercentileCont => vec![column(&numbers), fraction(random)],
        PercentileDisc => vec![column(&any), fraction(random)],
        _ => vec![column(&numbers), column(&numbers)],
    };
    let filter = match random.below(6) {
        0 => Some(Expr::binary(BinaryOp::Less, Expr::Column(X), Expr::Literal(Literal::bigint(1)))),
        1 => Some(Expr::binary(BinaryOp::GreaterEqual, ratio(), Expr::Literal(Literal::bigint(0)))),
        _ => None,
    };
    let mut order = |expr: Expr| {
        let (descending, nulls_first) = (random.one_in(2), random.one_in(2));
        Order { expr, descending, nulls_first }
    };
    let order = match function {
        FirstValue | LastValue => vec![order(Expr::Column(Y)), order(Expr::Column(G))],
        StringAgg | ArrayAgg => vec![order(Expr::Column(X))],
        PercentileCont | PercentileDisc | Mode => vec![order(args[0].clone())],
        _ => Vec::new(),
    };
    let distinct = !matches!(function, CountStar | FirstValue | LastValue) && random.one_in(3);
    AggregateCall::new(function, args, distinct, filter, &input()).unwrap().ordered_by(order)
}

fn fraction(random: &mut Random) -> Expr {
    let value = Value::Float(FloatBits::from(*random.pick(&[0.0, 0.25, 0.5, 0.9, 1.0]).unwrap()));
    Expr::Literal(Literal { ty: SqlType::Double, value })
}

fn random_spec(random: &mut Random) -> AggregateSpec {
    let mut keys: Vec<usize> = [K, G, Y, N].into_iter().filter(|_| random.one_in(3)).collect();
    let calls = (0..random.below(4)).map(|_| random_call(random)).collect();
    let append_only = random.one_in(3);
    let mut spec = AggregateSpec { append_only, ..spec(&[], calls) };
    if random.one_in(2) {
        let place = random.below(keys.len() as u64 + 1) as usize;
        keys.insert(place, END);
        match random.below(3) {
            0 => {}
            1 => spec.free_on = Some(place),
            _ => spec.emit = Emit::WindowClose { key: place },
        }
    }
    AggregateSpec { keys, ..spec }
}

/// Per key at most one -1 and one +1, and never both of the same row.
fn speaks_once(keys: usize) -> impl Fn(&[(usize, DeltaBatch)]) {
    move |emitted| {
        let mut spoken: BTreeMap<(Vec<u8>, i64), Vec<u8>> = BTreeMap::new();
        for (_, batch) in emitted.iter().filter(|(port, _)| *port == MAIN_PORT) {
            let types = Schema::from_arrow(&batch.rows.schema()).unwrap().types();
            let columns = batch.rows.columns();
            let key_bytes = RowCodec::new(types[..keys].to_vec()).encode_rows(&columns[..keys], batch.len()).unwrap();
            let rows = RowCodec::new(types).encode_rows(columns, batch.len()).unwrap();
            for row in 0..batch.len() {
                let weight = batch.weights.get(row);
                assert!(weight == 1 || weight == -1);
                let key = key_bytes.row(row).to_vec();
                let other = spoken.get(&(key.clone(), -weight));
                assert!(other.is_none_or(|other| other != rows.row(row)), "a change that changes nothing");
                assert!(spoken.insert((key, weight), rows.row(row).to_vec()).is_none(), "a key spoke twice");
            }
        }
    }
}

#[test]
fn random_input_is_every_group_anew() {
    run_cases("aggregate::tests::random_input_is_every_group_anew", 1000, |random: &mut Random| {
        let spec = random_spec(random);
        Case {
            inputs: vec![RandomRows { schema: input(), extremes: random.one_in(2) }],
            retracts: !spec.append_only,
            window_end: spec.window().map(|_| END),
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: Some(Box::new(speaks_once(spec.keys.len()))),
            spec: OperatorSpec::Aggregate(spec),
        }
    });
}

#[test]
fn contradictions_are_refused() {
    assert!(spec(&[9], Vec::new()).build().is_err());
    assert!(AggregateSpec { free_on: Some(0), ..spec(&[G], Vec::new()) }.build().is_err());
    assert!(AggregateSpec { emit: Emit::WindowClose { key: 3 }, ..spec(&[END], Vec::new()) }.build().is_err());
}
