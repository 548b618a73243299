//! Published views against a plain tree, at every epoch, while they fold, are cut, and are reloaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;

use super::run::{Run, merge};
use super::*;
use crate::base::ErrorKind;
use crate::base::random::Random;
use crate::state::MemoryBudget;
use crate::types::{Column, DeltaBatch, Epoch, SqlType, key_group, worker_of};

/// (k, v) → times present.
type Contents = BTreeMap<(i64, String), i64>;

fn schema() -> Schema {
    Schema::new(vec![Column::new("v", SqlType::Varchar), Column::new("k", SqlType::BigInt)])
}

fn batch(changes: &[((i64, String), i64)]) -> DeltaBatch {
    let v: ArrayRef = Arc::new(StringArray::from_iter_values(changes.iter().map(|((_, v), _)| v)));
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|((k, _), _)| *k)));
    let rows = RecordBatch::try_new(schema().arrow(), vec![v, k]).unwrap();
    DeltaBatch::new(rows, changes.iter().map(|(_, weight)| *weight).collect()).unwrap()
}

fn add(contents: &mut Contents, rows: &RecordBatch, weight: impl Fn(usize) -> i64) {
    let (v, k) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int64Type>());
    for i in 0..rows.num_rows() {
        let key = (k.value(i), v.value(i).to_owned());
        *contents.entry(key.clone()).or_default() += weight(i);
        contents.retain(|other, weight| *other != key || *weight != 0);
    }
}

fn read(snapshot: &Snapshot, batch_rows: usize) -> Contents {
    let mut contents = Contents::new();
    let mut count = 0;
    for rows in snapshot.batches(None, batch_rows) {
        let rows = rows.unwrap();
        assert!(rows.num_rows() <= batch_rows && rows.num_rows() > 0);
        count += rows.num_rows();
        add(&mut contents, &rows, |_| 1);
    }
    assert_eq!(count, snapshot.rows());
    let projected: usize = snapshot.batches(Some(&[1]), 100).map(|rows| rows.unwrap().num_rows()).sum();
    let counted: usize = snapshot.batches(Some(&[]), 100).map(|rows| rows.unwrap().num_rows()).sum();
    assert_eq!((projected, counted), (count, count));
    contents
}

/// A random change of `contents`: keyed (one row per key) or a multiset.
fn change(random: &mut Random, contents: &mut Contents, keyed: bool) -> Vec<((i64, String), i64)> {
    let mut changes = Vec::new();
    let mut touched = std::collections::BTreeSet::new();
    for _ in 0..random.below(12) {
        let k = random.below(25) as i64;
        if keyed && !touched.insert(k) {
            continue;
        }
        let present: Vec<(i64, String)> = contents.keys().filter(|key| key.0 == k).cloned().collect();
        if let Some(old) = random.pick(&present)
            && (keyed || random.one_in(2))
        {
            changes.push((old.clone(), -1));
            *contents.get_mut(old).unwrap() -= 1;
        }
        if random.one_in(3) {
            continue;
        }
        let new = (k, format!("v{}", random.below(3)));
        let times = if keyed { 1 } else { random.between(1, 3) };
        changes.push((new.clone(), times));
        *contents.entry(new).or_default() += times;
        contents.retain(|_, weight| *weight != 0);
    }
    contents.retain(|_, weight| *weight != 0);
    random.shuffle(&mut changes);
    changes
}

fn close(
    view: &PublishedView,
    writers: &mut [ShardWriter],
    epoch: Epoch,
    changes: &[((i64, String), i64)],
) -> Contents {
    let mut parts = vec![Vec::new(); writers.len()];
    for change in changes {
        let columns: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(vec![change.0.0])), Arc::new(StringArray::from(vec![change.0.1.clone()]))];
        let keyed = !view.key().is_empty();
        let key = if keyed {
            view.encode_key(&columns[..1]).unwrap()
        } else {
            view.encode_key(&[Arc::clone(&columns[1]), Arc::clone(&columns[0])]).unwrap()
        };
        parts[worker_of(key_group(key.row(0)), writers.len())].push(change.clone());
    }
    let mut told = Contents::new();
    for (writer, part) in writers.iter_mut().zip(parts) {
        let half = part.len() / 2;
        let deltas = vec![batch(&part[..half]), batch(&part[half..])];
        for deltas in writer.close(epoch, deltas).unwrap() {
            add(&mut told, &deltas.rows, |i| deltas.weights.get(i));
        }
    }
    told
}

fn check(keyed: bool, shards: usize, seed: u64) {
    println!("seed {seed} shards {shards} keyed {keyed}");
    let mut random = Random::new(seed);
    let key = if keyed { vec![1] } else { vec![] };
    let visible = Arc::new(AtomicU64::new(0));
    let budget = MemoryBudget::unlimited();
    let limits =
        ViewLimits { budget: Arc::clone(&budget), visible: Some(Arc::clone(&visible)), history_bytes: 64 << 20 };
    let mut view = PublishedView::with_limits(schema(), key.clone(), shards, limits.clone());
    let mut writers: Vec<_> = (0..shards).map(|shard| view.shard(shard).unwrap()).collect();
    let (mut contents, mut at) = (Contents::new(), BTreeMap::from([(0, Contents::new())]));
    let mut disk: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut hold = view.hold(Epoch(0)).unwrap();
    let mut start = 0;
    for epoch in (1..400).filter(|epoch| epoch % 7 != 3) {
        let changes = change(&mut random, &mut contents, keyed);
        let told = close(&view, &mut writers, Epoch(epoch), &changes);
        let mut sum = at.values().last().unwrap().clone();
        told.iter().for_each(|(row, weight)| *sum.entry(row.clone()).or_default() += weight);
        sum.retain(|_, weight| *weight != 0);
        assert_eq!(sum, contents, "what is told are the changes");
        at.insert(epoch, contents.clone());
        visible.store(epoch, Ordering::Release);
        if random.one_in(20) {
            hold = view.hold(Epoch(epoch)).unwrap();
            view.fold().unwrap();
        }
        let oldest = hold.epoch().0;
        let asked = random.between(oldest as i64, epoch as i64) as u64;
        let expected = at.range(..=asked).next_back().unwrap().1;
        let snapshot = view.snapshot(Epoch(asked)).unwrap();
        assert_eq!(&read(&snapshot, random.between(1, 50) as usize), expected, "at {asked} of {epoch}");
        check_point(&view, &snapshot, expected, keyed, random.below(25) as i64);
        check_changes(&view, &at, start, epoch, &mut random);
        if random.one_in(15) {
            for writer in &mut writers {
                let cut = writer.cut();
                for (key, value) in cut.entries().unwrap().iter() {
                    match value {
                        Some(value) => disk.insert(key.to_vec(), value.to_vec()),
                        None => disk.remove(key),
                    };
                }
            }
            let shards = random.between(1, 4) as usize;
            let restored = PublishedView::with_limits(schema(), key.clone(), shards, limits.clone());
            restored.load(Epoch(epoch), disk.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
            assert_eq!(read(&restored.snapshot(Epoch(epoch)).unwrap(), 1000), contents, "reloaded at {epoch}");
            assert_eq!(restored.rows(), view.rows());
            assert!(restored.changes(Epoch(0), Epoch(epoch)).is_err() && restored.history_start() == Epoch(epoch));
            if random.one_in(2) {
                view = restored;
                writers = (0..shards).map(|shard| view.shard(shard).unwrap()).collect();
                hold = view.hold(Epoch(epoch)).unwrap();
                start = epoch;
                assert!(writers.iter_mut().all(|writer| writer.cut().is_empty()));
            }
        }
    }
    view.fold().unwrap();
    assert!(contents.len() > 3);
    drop((hold, writers, view));
}

fn check_point(view: &PublishedView, snapshot: &Snapshot, expected: &Contents, keyed: bool, k: i64) {
    if !keyed {
        return;
    }
    let column: ArrayRef = Arc::new(Int64Array::from(vec![k]));
    let found = snapshot.get(view.encode_key(&[column]).unwrap().row(0)).unwrap();
    let mut rows = Contents::new();
    found.iter().for_each(|batch| add(&mut rows, batch, |_| 1));
    let expected: Contents = expected.iter().filter(|(row, _)| row.0 == k).map(|(row, n)| (row.clone(), *n)).collect();
    assert_eq!(rows, expected);
}

fn check_changes(view: &PublishedView, at: &BTreeMap<u64, Contents>, start: u64, upto: u64, random: &mut Random) {
    let after = random.between(start as i64, upto as i64) as u64;
    let mut contents = at.range(..=after).next_back().unwrap().1.clone();
    let mut last = Epoch(after);
    for (epoch, deltas) in view.changes(Epoch(after), Epoch(upto)).unwrap() {
        assert!(epoch >= last && epoch > Epoch(after));
        last = epoch;
        add(&mut contents, &deltas.rows, |i| deltas.weights.get(i));
    }
    assert_eq!(&contents, at.range(..=upto).next_back().unwrap().1);
}

#[test]
fn keyed_views_show_every_epoch() {
    (0..3).for_each(|seed| check(true, 1 + seed as usize, seed));
}

#[test]
fn views_without_key_show_every_epoch() {
    (10..13).for_each(|seed| check(false, seed as usize - 9, seed));
}

#[test]
fn folding_bounds_runs_and_frees_memory() {
    let visible = Arc::new(AtomicU64::new(0));
    let budget = MemoryBudget::unlimited();
    let limits =
        ViewLimits { budget: Arc::clone(&budget), visible: Some(Arc::clone(&visible)), history_bytes: 1 << 14 };
    let view = PublishedView::with_limits(schema(), vec![1], 1, limits);
    let mut writer = view.shard(0).unwrap();
    for epoch in 1..2000u64 {
        let changes = [((1, format!("v{}", epoch - 1)), -1), ((1, format!("v{epoch}")), 1)];
        let from = usize::from(epoch == 1);
        writer.close(Epoch(epoch), vec![batch(&changes[from..])]).unwrap();
        visible.store(epoch, Ordering::Release);
        view.fold().unwrap();
    }
    let list = view.shards[0].list();
    assert!(list.runs.len() < 40, "{} runs", list.runs.len());
    assert!(view.bytes() < 200 << 10, "{} bytes", view.bytes());
    assert_eq!(view.snapshot(Epoch(1999)).unwrap().rows(), 1);
    let error = view.snapshot(Epoch(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let error = view.changes(Epoch(100), Epoch(200)).unwrap_err();
    assert!(error.report().contains("view_history_bytes"));
    assert!(budget.used() > 0);
    drop((writer, list, view));
}

#[test]
fn a_fold_that_was_overtaken_by_another_changes_nothing() {
    let view = PublishedView::new(schema(), vec![1], 1);
    let mut writer = view.shard(0).unwrap();
    for epoch in 1..=4u64 {
        writer.close(Epoch(epoch), vec![batch(&[((epoch as i64, "a".into()), 1)])]).unwrap();
    }
    let cell = &view.shards[0];
    let runs = cell.list().runs.clone();
    let merged =
        |parts: &[Arc<Run>]| Run::new(parts[0].first, parts[parts.len() - 1].last, merge(&view.layout, parts).unwrap());
    cell.replace(&runs[1..3], merged(&runs[1..3]));
    cell.replace(&runs[..3], merged(&runs[..3]));
    assert_eq!(cell.list().runs.len(), 3);
    assert_eq!(view.snapshot(Epoch(4)).unwrap().rows(), 4);
}

#[test]
fn broken_guarantees_are_internal_errors() {
    let view = PublishedView::new(schema(), vec![1], 1);
    let mut writer = view.shard(0).unwrap();
    let twice = batch(&[((1, "a".into()), 1), ((1, "b".into()), 1)]);
    assert_eq!(writer.close(Epoch(1), vec![twice]).unwrap_err().kind(), ErrorKind::Internal);
    writer.close(Epoch(2), vec![batch(&[((1, "a".into()), 1), ((1, "a".into()), -1)])]).unwrap();
    assert!(writer.close(Epoch(2), vec![]).is_err(), "epochs go forward");
    writer.close(Epoch(3), vec![batch(&[((1, "a".into()), -1)])]).unwrap();
    let error = view.snapshot(Epoch(3)).unwrap().batches(None, 10).next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(view.shard(1).is_err());
    assert_eq!(view.snapshot(Epoch(2)).unwrap().batches(None, 10).count(), 0);
}
