//! Scripts of `top`, and random ones against sorting every partition anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::*;
use crate::base::random::Random;
use crate::operators::workbench::{
    Bench, Case, Moment, RandomRows, ZSet, batch_of_text, run_cases, run_scripts, schema,
};
use crate::operators::{OperatorSpec, OrderKey};
use crate::state::Tier;
use crate::types::{Epoch, RowCodec, Watermark};

fn input() -> Schema {
    schema("k bigint, g varchar, x bigint, y double, window_end timestamp")
}

const G: usize = 1;
const X: usize = 2;
const END: usize = 4;

fn key(column: usize) -> OrderKey {
    OrderKey { column, descending: false, nulls_first: false }
}

fn spec(partition: &[usize], order: Vec<OrderKey>, rank: Rank, skip: u64, upto: u64) -> TopSpec {
    let order = RowOrder { partition: partition.to_vec(), order, tie: (0..5).collect() };
    TopSpec { input: input(), order, rank, skip, upto, shows_rank: false, append_only: false, free_on: None }
}

#[test]
fn scripts() {
    run_scripts("top", &|name| {
        let spec = match name {
            "two per group" => TopSpec { shows_rank: true, ..spec(&[G], vec![key(X)], Rank::RowNumber, 0, 2) },
            "limit and offset" => {
                spec(&[], vec![OrderKey { descending: true, nulls_first: true, ..key(X) }], Rank::RowNumber, 1, 3)
            }
            "with ties" => TopSpec { shows_rank: true, ..spec(&[], vec![key(X)], Rank::Rank, 0, 2) },
            "two values" => TopSpec { shows_rank: true, ..spec(&[], vec![key(X)], Rank::DenseRank, 0, 2) },
            "append-only" => TopSpec { append_only: true, ..spec(&[G], vec![key(X)], Rank::RowNumber, 0, 2) },
            "windows" => TopSpec {
                free_on: Some(FreeOn { place: 0, shift_us: 0 }),
                ..spec(&[END], vec![key(X)], Rank::RowNumber, 0, 1)
            },
            _ => return None,
        };
        Some((OperatorSpec::Top(spec), vec![input()]))
    });
}

/// Canonical bytes of one column, one per row.
fn bytes(batch: &RecordBatch, column: usize) -> Vec<Vec<u8>> {
    let codec = RowCodec::new(vec![input().columns[column].ty.clone()]);
    codec.encode(&[Arc::clone(batch.column(column))]).unwrap().iter().map(<[u8]>::to_vec).collect()
}

/// Every partition sorted anew, its rows counted one by one.
fn answer(spec: &TopSpec, moment: &Moment<'_>) -> Vec<ZSet> {
    const NULL: u8 = 2;
    let mut found = ZSet::new(spec.output());
    let batch = moment.inputs[0].batch();
    let columns: Vec<Vec<Vec<u8>>> = (0..input().columns.len()).map(|i| bytes(&batch.rows, i)).collect();
    let columns = &columns;
    let mut partitions: BTreeMap<Vec<Vec<u8>>, Vec<usize>> = BTreeMap::new();
    let places: Vec<usize> = (0..batch.len()).collect();
    for row in places {
        let key: Vec<_> = spec.order.partition.iter().map(|&column| columns[column][row].clone()).collect();
        (0..batch.weights.get(row)).for_each(|_| partitions.entry(key.clone()).or_default().push(row));
    }
    let peers = |a: usize, b: usize| {
        spec.order.order.iter().fold(std::cmp::Ordering::Equal, |order, key| {
            let (a, b) = (&columns[key.column][a], &columns[key.column][b]);
            order.then_with(|| match (a[0] == NULL, b[0] == NULL) {
                (false, false) if key.descending => b.cmp(a),
                (false, false) => a.cmp(b),
                (a, b) if key.nulls_first => b.cmp(&a),
                (a, b) => a.cmp(&b),
            })
        })
    };
    for rows in partitions.values_mut() {
        rows.sort_by(|&a, &b| {
            let whole = |row: usize| spec.order.tie.iter().map(move |&i| &columns[i][row]).collect::<Vec<_>>();
            peers(a, b).then_with(|| whole(a).cmp(&whole(b)))
        });
        let (mut rank, mut dense) = (0, 0);
        for (place, &row) in rows.iter().enumerate() {
            if place == 0 || peers(rows[place - 1], row).is_ne() {
                (rank, dense) = (place as u64 + 1, dense + 1);
            }
            let number = match spec.rank {
                Rank::RowNumber => place as u64 + 1,
                Rank::Rank => rank,
                Rank::DenseRank => dense,
            };
            if number <= spec.skip || number > spec.upto {
                continue;
            }
            let mut shown = batch.rows.slice(row, 1).columns().to_vec();
            if spec.shows_rank {
                shown.push(Arc::new(arrow::array::Int64Array::from(vec![number as i64])));
            }
            found.add(&DeltaBatch::inserts(RecordBatch::try_new(spec.output().arrow(), shown).unwrap()));
        }
    }
    vec![found]
}

fn random_spec(random: &mut Random) -> TopSpec {
    let mut partition: Vec<usize> = [0, G, 3].into_iter().filter(|_| random.one_in(4)).collect();
    let order = [0, G, X, 3].into_iter().filter(|_| random.one_in(3));
    let order = order.collect::<Vec<_>>().into_iter().map(|column| OrderKey {
        column,
        descending: random.one_in(2),
        nulls_first: random.one_in(2),
    });
    let order = order.collect();
    let rank = *random.pick(&[Rank::RowNumber, Rank::Rank, Rank::DenseRank]).unwrap();
    let skip = if random.one_in(3) { random.below(3) } else { 0 };
    let upto = if random.one_in(6) { u64::MAX } else { skip + 1 + random.below(4) };
    let free_on = random.one_in(3).then(|| {
        partition.insert(random.below(partition.len() as u64 + 1) as usize, END);
        let place = partition.iter().position(|&column| column == END).unwrap();
        FreeOn { place, shift_us: 0 }
    });
    let spec = spec(&partition, order, rank, skip, upto);
    TopSpec { shows_rank: random.one_in(2), append_only: random.one_in(3), free_on, ..spec }
}

/// No row leaves and comes in one epoch.
fn speaks_once(emitted: &[(usize, DeltaBatch)]) {
    let mut seen: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (_, batch) in emitted {
        let codec = RowCodec::new(Schema::from_arrow(&batch.rows.schema()).unwrap().types());
        for (row, bytes) in codec.encode_rows(batch.rows.columns(), batch.len()).unwrap().iter().enumerate() {
            assert!(seen.insert(bytes.to_vec(), batch.weights.get(row)).is_none(), "a row spoke twice");
        }
    }
}

#[test]
fn random_input_is_every_partition_sorted() {
    run_cases("top::tests::random_input_is_every_partition_sorted", 400, |random: &mut Random| {
        let spec = random_spec(random);
        Case {
            inputs: vec![RandomRows { schema: input(), extremes: random.one_in(2) }],
            retracts: !spec.append_only,
            window_end: spec.free_on.map(|_| END),
            answer: Box::new({
                let spec = spec.clone();
                move |moment| answer(&spec, moment)
            }),
            emitted: Some(Box::new(speaks_once)),
            spec: OperatorSpec::Top(spec),
        }
    });
}

/// Two rows of each of 1,000 windows: no more state than that of the windows that are open.
#[test]
fn state_goes_with_the_windows() {
    let free_on = Some(FreeOn { place: 0, shift_us: 0 });
    let spec = TopSpec { free_on, append_only: true, ..spec(&[END], vec![key(X)], Rank::RowNumber, 0, 2) };
    let mut bench = Bench::new(&OperatorSpec::Top(spec), Tier::Strict, 2);
    for window in 1..=1000 {
        let row = |end: i64, x: i64| format!("({x}, 'a', {x}, 0, '{}')", at(end));
        let rows: Vec<String> = (0..9).map(|x| row(window + x % 3, x)).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        bench.delta(0, &DeltaBatch::inserts(batch_of_text(&input(), &rows)));
        let watermarks = vec![Watermark(window * 1_000_000)];
        bench.end(&EpochEnd { epoch: Epoch(window as u64), clock_us: 0, watermarks });
        bench.emitted.clear();
        if window % 100 == 0 {
            bench.restart(1 + window as usize / 100 % 3);
        }
        let rows: usize = bench.rows().iter().map(|(_, rows)| rows).sum();
        assert!(rows <= 2 * 2 + 2, "{rows} rows of state in window {window}");
    }
}

fn at(second: i64) -> String {
    chrono::DateTime::from_timestamp(second, 0).unwrap().format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[test]
fn contradictions_are_refused() {
    assert!(spec(&[9], Vec::new(), Rank::Rank, 0, 1).build().is_err());
    let free_on = Some(FreeOn { place: 0, shift_us: 0 });
    assert!(TopSpec { free_on, ..spec(&[G], Vec::new(), Rank::Rank, 0, 1) }.build().is_err());
}
