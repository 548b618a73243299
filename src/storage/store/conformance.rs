//! One suite over all stores: each obligation of the contract, then random histories against a model.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::base::ErrorKind;
use crate::base::random::Random;
use crate::storage::run::{RunSection, write_run};

type Open = fn(&Path) -> Box<dyn Store>;
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// The kinds of stores: a new one in a folder, and one over what a copy left there.
const KINDS: [(&str, Open, Open); 3] = [
    ("memory", |_| Box::new(MemoryStore::new()), |dir| Box::new(MemoryStore::open(dir).unwrap())),
    ("rocks", |dir| Box::new(RocksStore::open(dir).unwrap()), |dir| Box::new(RocksStore::open(dir).unwrap())),
    (
        "failing",
        |_| Box::new(FailingStore::new(MemoryStore::new())),
        |dir| Box::new(FailingStore::new(MemoryStore::open(dir).unwrap())),
    ),
];

fn contents(store: &dyn Store) -> Model {
    store.snapshot().unwrap().scan(&[], None).unwrap().collect::<Result<_>>().unwrap()
}

fn batch(changes: &[(&str, Option<&str>)]) -> StoreBatch {
    let mut batch = StoreBatch::new();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

fn model(entries: &[(&str, &str)]) -> Model {
    entries.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn check(obligation: impl Fn(&dyn Store, &Path, Open)) {
    for (name, make, reopen) in KINDS {
        eprintln!("store {name}");
        let dir = tempfile::tempdir().unwrap();
        let store = make(&dir.path().join("store"));
        obligation(&*store, dir.path(), reopen);
    }
}

#[test]
fn batches_apply_in_order_and_are_seen() {
    check(|store, _, _| {
        store
            .write(&batch(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("c", Some("")), ("b", None)]))
            .unwrap();
        assert_eq!(contents(store), model(&[("a", "3"), ("c", "")]));
        assert_eq!(store.get(b"a").unwrap(), Some(b"3".to_vec()));
        assert_eq!(store.get(b"c").unwrap(), Some(Vec::new()));
        assert_eq!(store.get(b"b").unwrap(), None);
        let found = store.multi_get(&[b"c", b"x", b"a", b"a"]).unwrap();
        assert_eq!(found, [Some(Vec::new()), None, Some(b"3".to_vec()), Some(b"3".to_vec())]);
        let mut ranges = StoreBatch::new();
        ranges.put("b", "new");
        ranges.delete_range("a", "c");
        ranges.put("aa", "after");
        assert_eq!((ranges.len(), ranges.is_empty()), (3, false));
        store.write(&ranges).unwrap();
        assert_eq!(contents(store), model(&[("aa", "after"), ("c", "")]));
        store.write(&StoreBatch::new()).unwrap();
    });
}

#[test]
fn snapshots_stay_and_scans_are_ranges() {
    check(|store, _, _| {
        store.write(&batch(&[("a", Some("1")), ("ab", Some("2")), ("b", Some("3")), ("\u{ff}", Some("4"))])).unwrap();
        let snapshot = store.snapshot().unwrap();
        store.write(&batch(&[("a", Some("9")), ("ab", None), ("ac", Some("9"))])).unwrap();
        assert_eq!(snapshot.get(b"a").unwrap(), Some(b"1".to_vec()));
        let scan = |from: &[u8], to: Option<&[u8]>| -> Model {
            snapshot.scan(from, to).unwrap().collect::<Result<_>>().unwrap()
        };
        assert_eq!(scan(b"a", Some(b"b")), model(&[("a", "1"), ("ab", "2")]));
        assert_eq!(scan(b"aa", None).len(), 3);
        assert_eq!(scan(b"c", Some(b"d")).len(), 0);
        let prefixed: Model = snapshot.scan_prefix(b"a").unwrap().collect::<Result<_>>().unwrap();
        assert_eq!(prefixed, model(&[("a", "1"), ("ab", "2")]));
        let keys: Vec<_> = snapshot.scan(&[], None).unwrap().map(|entry| entry.unwrap().0).collect();
        assert!(keys.is_sorted() && keys.len() == 4);
    });
}

#[test]
fn ingested_runs_replace_and_delete_and_stay_whole() {
    check(|store, dir, _| {
        store.write(&batch(&[("a", Some("1")), ("b", Some("2")), ("d", Some("4"))])).unwrap();
        let entries = vec![("a", None), ("b", Some("new")), ("c", Some("3"))];
        write_run(dir, "run", vec![RunSection { prefix: Vec::new(), entries }]).unwrap();
        let run = dir.join("run");
        let before = std::fs::read(&run).unwrap();
        store.ingest(&run).unwrap();
        let expected = model(&[("b", "new"), ("c", "3"), ("d", "4")]);
        assert_eq!(contents(store), expected);
        assert_eq!(store.get(b"a").unwrap(), None);
        assert_eq!(store.multi_get(&[b"a", b"c"]).unwrap(), [None, Some(b"3".to_vec())]);
        store.write(&batch(&[("a", Some("again"))])).unwrap();
        store.ingest(&run).unwrap();
        assert_eq!(contents(store), expected);
        assert_eq!(std::fs::read(&run).unwrap(), before);
        assert!(store.ingest(&dir.join("absent")).is_err());
        assert_eq!(contents(store), expected);
    });
}

#[test]
fn copies_are_apart() {
    check(|store, dir, reopen| {
        store.write(&batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
        let copy = dir.join("copy");
        store.copy_to(&copy).unwrap();
        assert!(store.copy_to(&copy).is_err());
        store.write(&batch(&[("a", None)])).unwrap();
        let other = reopen(&copy);
        assert_eq!(contents(&*other), model(&[("a", "1"), ("b", "2")]));
        other.write(&batch(&[("c", Some("3"))])).unwrap();
        assert_eq!(contents(store), model(&[("b", "2")]));
        store.copy_to(&dir.join("second")).unwrap();
    });
}

#[test]
fn sizes_grow_with_contents() {
    check(|store, dir, _| {
        let entries = (0..3_000).map(|n| (format!("k{n:05}"), Some(format!("{n:0100}")))).collect();
        write_run(dir, "run", vec![RunSection { prefix: Vec::new(), entries }]).unwrap();
        assert_eq!(store.approximate_bytes(b"a", b"z").unwrap(), 0);
        store.ingest(&dir.join("run")).unwrap();
        let (all, half) =
            (store.approximate_bytes(b"a", b"z").unwrap(), store.approximate_bytes(b"a", b"k01500").unwrap());
        assert!((200_000..500_000).contains(&all) && half > all / 4 && half < all * 3 / 4, "{half} of {all}");
    });
}

#[test]
fn random_histories_agree_with_the_model() {
    let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(crate::base::random::fresh_seed);
    eprintln!("MILLSTREAM_SEED={seed}");
    check(|store, dir, _| {
        let mut random = Random::new(seed);
        let mut model = Model::new();
        let key = |random: &mut Random| format!("k{:03}", random.below(300)).into_bytes();
        for step in 0..60 {
            let mut changes = StoreBatch::new();
            for _ in 0..random.below(20) {
                let (a, b) = (key(&mut random), key(&mut random));
                match random.below(8) {
                    0 if a < b => {
                        changes.delete_range(a.clone(), b.clone());
                        model.retain(|key, _| *key < a || *key >= b);
                    }
                    1 | 2 => {
                        changes.delete(a.clone());
                        model.remove(&a);
                    }
                    _ => {
                        changes.put(a.clone(), b.clone());
                        model.insert(a, b);
                    }
                }
            }
            store.write(&changes).unwrap();
            if random.one_in(5) {
                let entries = (0..30).map(|_| (key(&mut random), (!random.one_in(3)).then(|| key(&mut random))));
                let entries: BTreeMap<_, _> = entries.collect();
                for (key, value) in entries.clone() {
                    match value {
                        Some(value) => drop(model.insert(key, value)),
                        None => drop(model.remove(&key)),
                    }
                }
                let section = RunSection { prefix: Vec::new(), entries: entries.into_iter().collect() };
                let name = format!("{step}");
                write_run(dir, &name, vec![section]).unwrap();
                store.ingest(&dir.join(name)).unwrap();
            }
            assert_eq!(contents(store), model, "step {step}");
        }
    });
}

#[test]
fn the_memory_store_is_strict() {
    let store = MemoryStore::new();
    assert_eq!(store.get(b"").unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(store.multi_get(&[&[0; 65_537]]).unwrap_err().kind(), ErrorKind::Internal);
    let mut half = batch(&[("a", Some("1"))]);
    half.delete_range("b", "b");
    assert_eq!(store.write(&half).unwrap_err().kind(), ErrorKind::Internal);
    assert!(contents(&store).is_empty());
    assert!(store.approximate_bytes(b"b", b"a").is_err());
}

#[test]
fn the_failing_store_fails_on_order_and_mends() {
    let store = FailingStore::new(MemoryStore::new());
    store.write(&batch(&[("a", Some("1")), ("b", Some("2"))])).unwrap();
    store.fail_after(3);
    let snapshot = store.snapshot().unwrap();
    let steps: Vec<_> = snapshot.scan(&[], None).unwrap().map(|entry| entry.is_ok()).collect();
    assert_eq!(steps, [true, false]);
    assert_eq!(store.write(&batch(&[("c", Some("3"))])).unwrap_err().kind(), ErrorKind::Unavailable);
    store.mend();
    assert_eq!(contents(&store), model(&[("a", "1"), ("b", "2")]));
}

#[test]
fn the_key_after_a_prefix() {
    assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(after_prefix(&[1, 255, 255]), Some(vec![2]));
    assert_eq!(after_prefix(&[255, 255]), None);
    assert_eq!(after_prefix(b""), None);
}
