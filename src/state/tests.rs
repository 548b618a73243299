//! One conformance suite for the state tables: random calls against a plain B-tree, over both tiers, with cuts and
//! reloads in between; and the golden stored layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};

use super::*;
use crate::base::random::Random;
use crate::base::{ErrorKind, Result};
use crate::types::{EncodedRows, RowCodec, SqlType};

fn ints(values: &[i64]) -> EncodedRows {
    let column: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RowCodec::new(vec![SqlType::BigInt]).encode(&[column]).unwrap()
}

fn texts(values: &[String]) -> EncodedRows {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(values));
    RowCodec::new(vec![SqlType::Varchar]).encode(&[column]).unwrap()
}

fn text(n: u64) -> String {
    // Short, with zero bytes, and long enough to leave the packed form.
    match n % 3 {
        0 => format!("r{n}"),
        1 => format!("r\0{n}"),
        _ => format!("{n:0200}"),
    }
}

fn specs() -> Vec<TableSpec> {
    vec![
        TableSpec::map("counts", vec![SqlType::BigInt], vec![]),
        TableSpec::bag("rows", vec![SqlType::BigInt], vec![SqlType::Varchar]),
        TableSpec::ordered("windows", vec![SqlType::BigInt], vec![SqlType::Varchar], vec![]),
    ]
}

/// What a disk would hold: stored key → value, per table.
type Disk = Vec<BTreeMap<Vec<u8>, Vec<u8>>>;

fn write_cuts(disk: &mut Disk, cuts: Vec<TableCut>) {
    for mut cut in cuts {
        cut.sort();
        let table = &mut disk[usize::from(cut.table)];
        for (key, value) in cut.iter() {
            match value {
                Some(value) => table.insert(key.to_vec(), value.to_vec()),
                // A deletion is written only for what an earlier cut holds, or once too often; never for a stranger.
                None => table.remove(key),
            };
        }
    }
}

fn reload(disk: &Disk, tier: Tier) -> OperatorState {
    let mut state = OperatorState::new(specs(), tier, &MemoryBudget::unlimited());
    for (table, entries) in disk.iter().enumerate() {
        state.load(table, entries.iter().map(|(key, value)| (&key[..], Some(&value[..])))).unwrap();
    }
    assert!(state.cut().is_empty(), "what was loaded is not a change");
    state
}

#[derive(Default)]
struct Model {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    bag: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, i64>>,
    ordered: BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
}

/// Asks, admits, and asks again as an operator and its host do.
fn fetch(state: &mut OperatorState, tier: Tier, missing: impl Fn(&mut OperatorState) -> Option<Read>) {
    match (missing(state), tier) {
        (None, _) => {}
        (Some(_), Tier::Resident) => panic!("the resident tier missed"),
        (Some(read), Tier::Strict) => state.admit(&[read]),
    }
    assert_eq!(missing(state), None, "admitted and still missing");
}

fn map_step(random: &mut Random, state: &mut OperatorState, model: &mut Model, tier: Tier) -> Result<()> {
    let keys = ints(&[random.below(20) as i64]);
    let key = keys.row(0);
    let value = vec![7u8; random.below(40) as usize];
    match random.below(4) {
        0 => {
            state.map(0)?.put(key, &value)?;
            model.map.insert(key.to_vec(), value);
        }
        1 => {
            state.map(0)?.delete(key)?;
            model.map.remove(key);
        }
        2 => {
            fetch(state, tier, |state| state.map(0).unwrap().missing(&keys));
            let change = *random.pick(&[Change::Keep, Change::Put, Change::Delete]).unwrap();
            let expected = model.map.get(key).cloned();
            state.map(0)?.update(key, |old, new| {
                assert_eq!(old.map(<[u8]>::to_vec), expected);
                new.extend_from_slice(&value);
                Ok(change)
            })?;
            match change {
                Change::Keep => None,
                Change::Put => model.map.insert(key.to_vec(), value),
                Change::Delete => model.map.remove(key),
            };
        }
        _ => {
            fetch(state, tier, |state| state.map(0).unwrap().missing(&keys));
            assert_eq!(state.map(0)?.get(key)?, model.map.get(key).map(|value| &value[..]));
        }
    }
    Ok(())
}

fn bag_step(random: &mut Random, state: &mut OperatorState, model: &mut Model, tier: Tier) -> Result<()> {
    // Key 0 grows big, the others stay small.
    let key = if random.one_in(2) { 0 } else { random.below(6) as i64 };
    let keys = ints(&[key]);
    let key = keys.row(0);
    let rows = texts(&[text(random.below(30))]);
    let row = rows.row(0);
    match random.below(8) {
        0..=4 => {
            fetch(state, tier, |state| state.bag(1).unwrap().missing_rows(&keys, &rows));
            let weight = random.between(-1, 2);
            let group = model.bag.entry(key.to_vec()).or_default();
            let sum = group.get(row).copied().unwrap_or(0) + weight;
            match sum {
                0 => group.remove(row),
                _ => group.insert(row.to_vec(), sum),
            };
            assert_eq!(state.bag(1)?.add(key, row, weight)?, sum);
            model.bag.retain(|_, group| !group.is_empty());
        }
        5 if random.one_in(10) => {
            fetch(state, tier, |state| state.bag(1).unwrap().missing(&keys));
            state.bag(1)?.delete_key(key)?;
            model.bag.remove(key);
        }
        _ => {
            fetch(state, tier, |state| state.bag(1).unwrap().missing(&keys));
            let bag = state.bag(1)?;
            let none = BTreeMap::new();
            let group = model.bag.get(key).unwrap_or(&none);
            let of = |(row, weight): (&[u8], i64)| (row.to_vec(), weight);
            let all: Vec<_> = group.iter().map(|(row, weight)| (row.clone(), *weight)).collect();
            assert_eq!(bag.rows(key)?.map(of).collect::<Vec<_>>(), all);
            let from: Vec<_> = all.iter().filter(|(other, _)| &other[..] >= row).cloned().collect();
            assert_eq!(bag.rows_from(key, row)?.map(of).collect::<Vec<_>>(), from);
            let positive: Vec<_> = all.iter().filter(|(_, weight)| *weight > 0).cloned().collect();
            assert_eq!(bag.first(key)?.map(of), positive.first().cloned());
            assert_eq!(bag.last(key)?.map(of), positive.last().cloned());
            assert_eq!(bag.rows_of(key)?, all.len());
            assert_eq!(bag.weight(key, row)?, group.get(row).copied().unwrap_or(0));
        }
    }
    Ok(())
}

fn ordered_step(random: &mut Random, state: &mut OperatorState, model: &mut Model, tier: Tier) -> Result<()> {
    let orders = ints(&[random.below(10) as i64]);
    let keys = texts(&[text(random.below(12))]);
    let (order, key) = (orders.row(0), keys.row(0));
    let entry = (order.to_vec(), key.to_vec());
    let value = vec![3u8; random.below(20) as usize];
    match random.below(8) {
        0..=2 => {
            state.ordered(2)?.put(order, key, &value)?;
            model.ordered.insert(entry, value);
        }
        3 => {
            state.ordered(2)?.delete(order, key)?;
            model.ordered.remove(&entry);
        }
        4 => {
            fetch(state, tier, |state| state.ordered(2).unwrap().missing_through(order));
            let limit = random.between(1, 9) as usize;
            let mut taken = Vec::new();
            let more = state.ordered(2)?.take_through(order, limit, |order, key, value| {
                taken.push(((order.to_vec(), key.to_vec()), value.to_vec()));
                Ok(())
            })?;
            assert!(taken.is_sorted_by_key(|((order, _), _)| order.clone()));
            for (entry, value) in taken {
                assert_eq!(model.ordered.remove(&entry), Some(value));
            }
            let left = model.ordered.keys().next().is_some_and(|(first, _)| &first[..] <= order);
            assert_eq!(more, left);
        }
        5 => {
            fetch(state, tier, |state| state.ordered(2).unwrap().missing(&orders, &keys));
            let expected = model.ordered.get(&entry).cloned();
            state.ordered(2)?.update(order, key, |old, new| {
                assert_eq!(old.map(<[u8]>::to_vec), expected);
                new.extend_from_slice(&value);
                Ok(Change::Put)
            })?;
            model.ordered.insert(entry, value);
        }
        _ => {
            fetch(state, tier, |state| state.ordered(2).unwrap().missing(&orders, &keys));
            assert_eq!(state.ordered(2)?.get(order, key)?, model.ordered.get(&entry).map(|value| &value[..]));
            let first = model.ordered.keys().next().map(|(order, _)| &order[..]);
            assert_eq!(state.ordered(2)?.first_order(), first);
        }
    }
    Ok(())
}

fn check_all(state: &mut OperatorState, model: &Model) -> Result<()> {
    state.admit(&[0, 1, 2].map(|table| Read { table, wanted: vec![Wanted::All, Wanted::Through(vec![0xff].into())] }));
    let map: BTreeMap<_, _> = state.map(0)?.entries()?.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(map, model.map);
    let mut bag: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, i64>> = BTreeMap::new();
    state.bag(1)?.each(|key, row, weight| {
        bag.entry(key.to_vec()).or_default().insert(row.to_vec(), weight);
    })?;
    assert_eq!(bag, model.bag);
    let mut ordered = BTreeMap::new();
    state.ordered(2)?.each_through(&[0xff], |order, key, value| {
        ordered.insert((order.to_vec(), key.to_vec()), value.to_vec());
        Ok(())
    })?;
    assert_eq!(ordered, model.ordered);
    let rows = model.map.len() + model.bag.values().map(BTreeMap::len).sum::<usize>() + model.ordered.len();
    assert_eq!(state.rows(), rows);
    state.forget_all();
    Ok(())
}

fn conform(tier: Tier, seed: u64) {
    println!("seed {seed} tier {tier:?}");
    let mut random = Random::new(seed);
    let mut state = OperatorState::new(specs(), tier, &MemoryBudget::unlimited());
    let (mut model, mut disk, mut unpublished) = (Model::default(), vec![BTreeMap::new(); 3], Vec::new());
    for step in 0..1500 {
        match random.below(3) {
            0 => map_step(&mut random, &mut state, &mut model, tier),
            1 => bag_step(&mut random, &mut state, &mut model, tier),
            _ => ordered_step(&mut random, &mut state, &mut model, tier),
        }
        .unwrap();
        state.forget_all();
        state.settle().unwrap();
        if random.one_in(20) {
            // A checkpoint that was not published goes into the next one.
            for later in state.cut() {
                match unpublished.iter_mut().find(|cut: &&mut TableCut| cut.table == later.table) {
                    Some(cut) => cut.append(later),
                    None => unpublished.push(later),
                }
            }
            if random.one_in(2) {
                continue;
            }
            write_cuts(&mut disk, std::mem::take(&mut unpublished));
            assert!(state.cut().is_empty());
            let mut restored = reload(&disk, tier);
            check_all(&mut restored, &model).unwrap();
            if random.one_in(2) {
                state = restored;
            }
        }
        if step % 100 == 0 {
            check_all(&mut state, &model).unwrap();
        }
    }
    assert!(model.bag.len() > 2 && model.map.len() > 2, "the test must keep something");
}

#[test]
fn tables_agree_with_a_plain_tree_in_memory() {
    (0..6).for_each(|seed| conform(Tier::Resident, seed));
}

#[test]
fn tables_agree_with_a_plain_tree_when_all_misses() {
    (100..106).for_each(|seed| conform(Tier::Strict, seed));
}

#[test]
fn the_strict_tier_refuses_what_was_not_asked_for() {
    let mut state = OperatorState::new(specs(), Tier::Strict, &MemoryBudget::unlimited());
    let (keys, rows) = (ints(&[1]), texts(&["a".into()]));
    assert_eq!(state.map(0).unwrap().get(keys.row(0)).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(state.bag(1).unwrap().add(keys.row(0), rows.row(0), 1).unwrap_err().kind(), ErrorKind::Internal);
    let read = state.bag(1).unwrap().missing_rows(&keys, &rows).unwrap();
    state.admit(&[read]);
    state.bag(1).unwrap().add(keys.row(0), rows.row(0), 1).unwrap();
    assert!(state.bag(1).unwrap().rows(keys.row(0)).is_err(), "one row is not the whole key");
    let read = state.bag(1).unwrap().missing(&keys).unwrap();
    assert_eq!((read.table, read.wanted.len()), (1, 1));
    state.admit(&[read]);
    assert_eq!(state.bag(1).unwrap().rows(keys.row(0)).unwrap().count(), 1);
    assert!(state.map(0).unwrap().put(b"not a key", b"x").is_err(), "keys are of the table's types");
    assert!(state.map(1).is_err() && state.table(9).is_err());
}

#[test]
fn golden_layout() {
    let mut state = OperatorState::in_memory(specs());
    let (keys, rows) = (ints(&[7]), texts(&["a".into()]));
    state.bag(1).unwrap().add(keys.row(0), rows.row(0), 2).unwrap();
    state.ordered(2).unwrap().put(keys.row(0), rows.row(0), b"xy").unwrap();
    let cuts = state.cut();
    let entries: Vec<_> = cuts
        .iter()
        .flat_map(|cut| cut.iter().map(|(key, value)| (cut.table, key.to_vec(), value.unwrap().to_vec())))
        .collect();
    let key = [1, 0x80, 0, 0, 0, 0, 0, 0, 7];
    let row = [1, 0x61, 0, 0];
    let bag = [&[GROUP_OF_7][..], &key, &row].concat();
    let ordered = [&[GROUP_OF_A][..], &key, &row].concat();
    assert_eq!(entries[0], (1, bag, vec![1, 0, 0, 0, 0, 0, 0, 0, 2]));
    assert_eq!(entries[1], (2, ordered, vec![1, b'x', b'y']));
}

/// On disk: a change here loses state.
const GROUP_OF_7: u8 = 0x43;
const GROUP_OF_A: u8 = 0xd7;

#[test]
fn torn_bytes_are_corrupt_and_never_panic() {
    let mut random = Random::new(5);
    for _ in 0..3000 {
        let mut state = OperatorState::in_memory(specs());
        let key: Vec<u8> = (0..random.below(20)).map(|_| random.below(4) as u8).collect();
        let value: Vec<u8> = (0..random.below(12)).map(|_| random.below(3) as u8).collect();
        for table in 0..3 {
            if let Err(error) = state.load(table, [(&key[..], Some(&value[..]))]) {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
            }
        }
    }
}

#[test]
fn the_budget_names_its_setting_and_is_given_back() {
    let budget = MemoryBudget::new(200 << 10);
    let mut state = OperatorState::new(specs(), Tier::Resident, &budget);
    let mut failed = None;
    for n in 0..10_000 {
        state.map(0).unwrap().put(ints(&[n]).row(0), &[0; 64]).unwrap();
        failed = failed.or(state.settle().err());
    }
    let error = failed.unwrap();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.report().contains("state_memory_limit"));
    assert!(budget.used() > 600 << 10);
    drop(state);
    assert_eq!(budget.used(), 0);
}

#[test]
fn big_tables_find_every_key() {
    let mut state = OperatorState::in_memory(specs());
    let all = ints(&(0..40_000).collect::<Vec<_>>());
    for (n, key) in all.iter().enumerate() {
        state.map(0).unwrap().put(key, &n.to_be_bytes()[..n % 9]).unwrap();
    }
    let (order, name) = (ints(&[7; 40_000]), texts(&(0..40_000).map(text).collect::<Vec<_>>()));
    for (order, name) in order.iter().zip(name.iter()) {
        state.ordered(2).unwrap().put(order, name, b"x").unwrap();
    }
    assert_eq!(state.ordered(2).unwrap().missing(&order, &name), None);
    let mut taken = 0;
    let mut take = |_: &[u8], _: &[u8], _: &[u8]| {
        taken += 1;
        Ok(())
    };
    while state.ordered(2).unwrap().take_through(order.row(0), 1_000, &mut take).unwrap() {}
    assert_eq!((taken, state.ordered(2).unwrap().len()), (40_000, 0));
    let some = ints(&(39_000..41_000).collect::<Vec<_>>());
    assert_eq!(state.map(0).unwrap().missing(&some), None);
    for (n, key) in (39_000usize..).zip(some.iter()) {
        let expected = (n < 40_000).then(|| n.to_be_bytes()[..n % 9].to_vec());
        assert_eq!(state.map(0).unwrap().get(key).unwrap().map(<[u8]>::to_vec), expected);
    }
    let bytes = state.bytes() / 40_000;
    assert!((60..260).contains(&bytes), "{bytes} bytes a key");
}
