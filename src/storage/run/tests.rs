//! Runs against a model, against RocksDB, and with changed bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::ErrorKind;
use crate::base::random::Random;
use crate::storage::{RocksStore, Store};

type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A seed to print, or the one given by `MILLSTREAM_SEED`.
fn seed() -> u64 {
    let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(crate::base::random::fresh_seed);
    eprintln!("MILLSTREAM_SEED={seed}");
    seed
}

fn random_model(random: &mut Random, entries: u64, keys: u64) -> Model {
    let mut model = Model::new();
    for _ in 0..entries {
        let key = format!("key{:05}", random.below(keys)).into_bytes();
        let value = (!random.one_in(4)).then(|| vec![random.below(256) as u8; random.below(60) as usize]);
        model.insert(key, value);
    }
    model
}

fn write(dir: &Path, name: &str, model: &Model) -> RunFile {
    let entries = model.iter().rev().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
    write_run(dir, name, vec![RunSection { prefix: Vec::new(), entries }]).unwrap().unwrap()
}

fn read(path: PathBuf) -> Result<Vec<RunEntry>> {
    RunReader::open(&path)?.entries().collect()
}

fn entries(model: &Model) -> Vec<RunEntry> {
    model.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn keys_are_drawn_as_documented() {
    let prefix = run_key_prefix(JobId(0x0102), NodeId(3));
    assert_eq!(prefix, [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3]);
    let key = [&prefix[..], b"rest"].concat();
    assert_eq!(run_key(&key).unwrap(), (JobId(0x0102), NodeId(3), &b"rest"[..]));
    assert_eq!(run_key(&prefix[..11]).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn sections_are_sorted_and_the_last_of_equal_keys_counts() {
    let dir = tempfile::tempdir().unwrap();
    let section = |prefix: &[u8], entries: &[(&'static str, Option<&'static str>)]| RunSection {
        prefix: prefix.to_vec(),
        entries: entries.to_vec(),
    };
    let sections = vec![
        section(b"2", &[("b", Some("1")), ("a", None), ("b", Some("2")), ("b", Some("3"))]),
        section(b"1", &[("z", Some(""))]),
    ];
    let run = write_run(dir.path(), "r", sections).unwrap().unwrap();
    assert_eq!((run.entries, run.bytes), (3, fs::metadata(dir.path().join("r")).unwrap().len()));
    let expected = [("1z", Some("")), ("2a", None), ("2b", Some("3"))];
    let expected = expected.map(|(key, value)| (key.into(), value.map(Into::into)));
    assert_eq!(read(dir.path().join("r")).unwrap(), expected);
    let none = write_run::<&[u8], &[u8]>(dir.path(), "empty", Vec::new()).unwrap();
    assert!(none.is_none() && !dir.path().join("empty").exists());
    let mut writer = RunWriter::create(dir.path(), "unordered").unwrap();
    writer.put(b"b", None).unwrap();
    assert_eq!(writer.put(b"b", None).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn reads_what_rocksdb_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed());
    for round in 0..4 {
        let model = random_model(&mut random, 10 * 20_u64.pow(round), 100_000);
        let name = format!("run{round}");
        write(dir.path(), &name, &model);
        let before = fs::read(dir.path().join(&name)).unwrap();
        assert_eq!(read(dir.path().join(&name)).unwrap(), entries(&model));
        let store = RocksStore::open(&dir.path().join(format!("db{round}"))).unwrap();
        store.ingest(&dir.path().join(&name)).unwrap();
        let snapshot = store.snapshot().unwrap();
        let ingested: Vec<_> = snapshot.scan(&[], None).unwrap().collect::<Result<_>>().unwrap();
        let present: Vec<_> = entries(&model).into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        assert_eq!(ingested, present);
        assert_eq!(fs::read(dir.path().join(&name)).unwrap(), before, "ingesting changed the run");
    }
}

#[test]
fn scans_are_ranges_of_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed());
    let model = random_model(&mut random, 20_000, 50_000);
    write(dir.path(), "r", &model);
    let run = RunReader::open(&dir.path().join("r")).unwrap();
    for _ in 0..100 {
        let key = |random: &mut Random| format!("key{:05}", random.below(50_001)).into_bytes();
        let (from, to) = (key(&mut random), key(&mut random));
        let found: Vec<_> = run.scan(&from, Some(&to)).collect::<Result<_>>().unwrap();
        let inside = entries(&model).into_iter().filter(|(key, _)| *key >= from && *key < to);
        assert_eq!(found, inside.collect::<Vec<_>>());
    }
    for prefix in ["", "key", "key1", "key12345", "key99999", "zebra"] {
        let found: Vec<_> = run.scan_prefix(prefix.as_bytes()).collect::<Result<_>>().unwrap();
        let inside = entries(&model).into_iter().filter(|(key, _)| key.starts_with(prefix.as_bytes()));
        assert_eq!(found, inside.collect::<Vec<_>>());
    }
}

#[test]
fn golden_file_is_still_read() {
    // A run as data directories in use hold it: millstream 0.1.0, RocksDB 11.8.1.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("golden.sst");
    fs::write(&path, include_bytes!("golden.sst")).unwrap();
    let expected: Vec<RunEntry> = (0..200_u32)
        .map(|n| (format!("key{n:05}").into_bytes(), (n % 5 != 0).then(|| n.to_string().repeat(3).into_bytes())))
        .collect();
    if std::env::var_os("MILLSTREAM_GOLDEN").is_some() {
        let section = RunSection { prefix: Vec::new(), entries: expected };
        write_run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage/run"), "golden.sst", vec![section]).unwrap();
        return;
    }
    assert_eq!(read(path).unwrap(), expected);
}

#[test]
fn changed_or_missing_bytes_are_corrupt_never_other_rows() {
    let dir = tempfile::tempdir().unwrap();
    let model: Model = (0..50).map(|n| (format!("key{n:05}").into_bytes(), Some(vec![n; 9]))).collect();
    write(dir.path(), "r", &model);
    let whole = fs::read(dir.path().join("r")).unwrap();
    let path = dir.path().join("changed");
    let check = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        match read(path.clone()) {
            // Blocks that only RocksDB reads.
            Ok(read) => assert_eq!(read, entries(&model), "{what}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}"),
        }
    };
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x41;
        check(&bytes, format!("byte {place}"));
        check(&whole[..place], format!("{place} bytes"));
    }
}

#[test]
fn merging_and_compacting_give_the_newest_of_each_key() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(seed());
    let mut model = Model::new();
    let mut runs = Vec::new();
    for n in 0..6 {
        let changes = random_model(&mut random, 300, 500);
        runs.push(write(dir.path(), &format!("r{n}"), &changes));
        model.extend(changes);
    }
    let open = |run: &RunFile| Box::new(RunReader::open(&dir.path().join(&run.name)).unwrap().entries()) as RunEntries;
    let merged: Vec<_> = merge_runs(runs.iter().rev().map(open).collect()).collect::<Result<_>>().unwrap();
    assert_eq!(merged, entries(&model));
    let none = Arc::default();
    let upper = compact_runs(dir.path(), &runs[3..], "upper", false, &none).unwrap().unwrap();
    let halves = [&runs[..3], &[upper]].concat();
    let whole = compact_runs(dir.path(), &halves, "whole", true, &none).unwrap().unwrap();
    model.retain(|_, value| value.is_some());
    assert_eq!(read(dir.path().join(&whole.name)).unwrap(), entries(&model));
    assert_eq!(whole.entries, model.len() as u64);
    let deletions = Model::from([(b"x".to_vec(), None)]);
    let gone = [write(dir.path(), "gone", &deletions)];
    assert!(compact_runs(dir.path(), &gone, "nothing", true, &none).unwrap().is_none());
}

#[test]
fn rows_of_an_earlier_life_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let key = |job, rest: &[u8]| [&run_key_prefix(JobId(job), NodeId(0))[..], rest].concat();
    let write = |number, keys: &[Vec<u8>]| {
        let model = keys.iter().map(|key| (key.clone(), Some(vec![number as u8]))).collect();
        write(dir.path(), &RunFile::name_of(number), &model)
    };
    // Job 1 was filled anew before run 4, job 2 is as old as the folder, job 3 is gone.
    let runs = [write(2, &[key(1, b"old"), key(2, b"a"), key(3, b"x")]), write(4, &[key(1, b"new"), key(2, b"b")])];
    let horizons = Arc::new(Horizons::from([(JobId(1), 4), (JobId(2), 0)]));
    let live = [(key(1, b"new"), Some(vec![4])), (key(2, b"a"), Some(vec![2])), (key(2, b"b"), Some(vec![4]))];
    let newest_first = runs.iter().rev().map(|run| live_entries(dir.path(), run, &horizons).unwrap());
    assert_eq!(merge_runs(newest_first.collect()).collect::<Result<Vec<_>>>().unwrap(), live);
    let whole = compact_runs(dir.path(), &runs, &RunFile::name_of(5), true, &horizons).unwrap().unwrap();
    assert_eq!(read(dir.path().join(&whole.name)).unwrap(), live);
    assert_eq!((whole.number(), runs[0].number()), (5, 2));
}

#[test]
fn an_error_ends_a_merge_once() {
    let good = || (0..3_u8).map(|n| Ok((vec![n], Some(vec![n]))));
    let bad = good().take(1).chain([Err(Error::corrupt("x"))]).chain(good());
    let inputs: Vec<RunEntries> = vec![Box::new(good()), Box::new(bad)];
    let results: Vec<_> = merge_runs(inputs).map(|entry| entry.is_ok()).collect();
    assert_eq!(results.iter().filter(|ok| !**ok).count(), 1);
    assert_eq!(results.last(), Some(&false));
}

#[test]
fn compaction_keeps_runs_few_and_rewriting_rare() {
    let settings = CompactionSettings::default();
    let mut runs: Vec<RunFile> = Vec::new();
    let (mut written, mut most) = (0, 0);
    for n in 0..1_000 {
        runs.push(RunFile { name: n.to_string(), bytes: 100, entries: 1 });
        if let Some(range) = runs_to_compact(&runs, settings) {
            assert!(range.len() >= 2 && range.end == runs.len());
            let bytes = runs[range.clone()].iter().map(|run| run.bytes).sum();
            written += bytes;
            runs.splice(range, [RunFile { name: "c".into(), bytes, entries: 1 }]);
        }
        most = most.max(runs.len());
    }
    assert_eq!(most, settings.runs_max);
    assert!(written < 100_000 * 12, "{written} bytes were rewritten for 100,000");
}
