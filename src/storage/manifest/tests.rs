//! Manifests under crashes at every step and at every byte.

use super::*;
use crate::base::ErrorKind;
use crate::storage::SplitCut;
use crate::types::{Position, SplitId, Watermark};

fn run(name: &str) -> RunFile {
    RunFile { name: name.into(), bytes: 3, entries: 1 }
}

/// Checkpoint `id`: one job with `runs`, one sink with `outbox`.
fn manifest(id: u64, runs: &[&str], outbox: &[&str]) -> Manifest {
    let job = JobManifest { epoch: Epoch(10 * id), first_run: 1, ..Default::default() };
    let sink = OutboxManifest { files: outbox.iter().map(|&name| name.into()).collect(), ..Default::default() };
    let split = SplitCut {
        split: SplitId("s".into()),
        position: Position("7".into()),
        watermark: Watermark(5),
        idle: false,
        ended: true,
    };
    Manifest {
        checkpoint: id,
        epoch: Epoch(10 * id),
        clock_us: 99,
        runs: runs.iter().map(|name| run(name)).collect(),
        jobs: BTreeMap::from([(JobId(1), job)]),
        sources: vec![SourceCut { relation: RelationId(1), watermark: Watermark::END, splits: vec![split] }],
        outboxes: BTreeMap::from([(RelationId(2), sink)]),
        catalog: serde_json::json!({"version": 1}),
        next_ids: NextIds { relation: 3, job: 2, run: 9, batch: 4 },
        ..Default::default()
    }
}

fn write_files(dir: &DataDir, runs: &[&str], outbox: &[&str]) {
    for name in runs {
        fs::write(dir.runs().join(name), "run").unwrap();
    }
    for name in outbox {
        fs::write(dir.outbox().join(name), "box").unwrap();
    }
}

fn present(dir: &DataDir) -> (Vec<String>, Vec<String>, Vec<String>) {
    let sorted = |folder: PathBuf| {
        let mut found = names(&folder).unwrap();
        found.sort();
        found
    };
    (sorted(dir.manifest()), sorted(dir.runs()), sorted(dir.outbox()))
}

#[test]
fn golden() {
    // This line is in data directories in use.
    let mut worked = manifest(1, &["r1"], &["b1"]);
    worked.incarnation = "ab".into();
    let golden = r#"{"format":2,"crc32":"CRC","manifest":{"checkpoint":1,"incarnation":"ab","epoch":10,"clock_us":99,"runs":[{"name":"r1","bytes":3,"entries":1}],"jobs":{"1":{"epoch":10,"first_run":1}},"sources":[{"relation":1,"watermark":9223372036854775807,"splits":[{"split":"s","position":"7","watermark":5,"idle":false,"ended":true}]}],"outboxes":{"2":{"files":["b1"]}},"catalog":{"version":1},"next_ids":{"relation":3,"job":2,"run":9,"batch":4}}}"#;
    let golden = golden.replace("CRC", "e1a468ae");
    let text = String::from_utf8(worked.encode().unwrap()).unwrap();
    assert_eq!(text, golden);
    assert_eq!(Manifest::decode(golden.as_bytes()).unwrap(), worked);
}

#[test]
fn published_found_again_and_collected() {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path()).unwrap();
    let mut store = ManifestStore::open(&dir).unwrap();
    assert!(store.newest().is_none());
    write_files(&dir, &["r1", "r2", "stray"], &["b1"]);
    store.publish(manifest(1, &["r1", "r2"], &["b1"])).and_then(|garbage| store.collect(garbage)).unwrap();
    write_files(&dir, &["r3"], &["b2"]);
    let garbage = store.publish(manifest(2, &["r2", "r3"], &["b2"])).unwrap();
    assert_eq!(present(&dir).1, ["r1", "r2", "r3", "stray"], "nothing goes before it is collected");
    store.collect(garbage).unwrap();
    assert_eq!(present(&dir).1, ["r2", "r3", "stray"]);
    assert_eq!(present(&dir).2, ["b2"]);
    assert_eq!(store.publish(manifest(2, &[], &[])).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(store.publish(manifest(3, &["absent"], &[])).unwrap_err().kind(), ErrorKind::Corrupt);
    let store = ManifestStore::open(&dir).unwrap();
    let mut expected = manifest(2, &["r2", "r3"], &["b2"]);
    expected.incarnation = dir.incarnation().into();
    assert_eq!(store.newest(), Some(&expected));
    assert_eq!(present(&dir).1, ["r2", "r3"], "the start sweeps what nobody names");
}

#[test]
fn a_crash_at_any_step_leaves_a_whole_checkpoint() {
    for step in 0.. {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let mut store = ManifestStore::open(&dir).unwrap();
        write_files(&dir, &["r1", "r2", "r3"], &["b1", "b2"]);
        let garbage = store_first(&mut store);
        store.collect(garbage).unwrap();
        let disk = Disk::failing_at(step);
        store.disk = disk.clone();
        let published = store.publish(manifest(2, &["r2", "r3"], &["b2"]));
        let durable = published.is_ok();
        let collected = published.and_then(|garbage| store.collect(garbage));
        drop(store);
        let reopened = ManifestStore::open(&dir).unwrap();
        let newest = reopened.newest().unwrap().checkpoint;
        assert!(newest == 2 || (newest == 1 && !durable), "step {step}: checkpoint {newest}");
        let (manifests, runs, outbox) = present(&dir);
        assert_eq!(manifests.len(), 1);
        assert_eq!(runs, if newest == 1 { ["r1", "r2"] } else { ["r2", "r3"] });
        assert_eq!(outbox, [if newest == 1 { "b1" } else { "b2" }]);
        if collected.is_ok() {
            assert!(step > 8 && !disk.has_failed());
            return;
        }
    }
}

#[test]
fn after_a_failed_publication_a_later_one_counts() {
    for step in 0.. {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let mut store = ManifestStore::open(&dir).unwrap();
        write_files(&dir, &["r1", "r2", "r3"], &["b1", "b2"]);
        let garbage = store_first(&mut store);
        store.collect(garbage).unwrap();
        store.disk = Disk::failing_at(step);
        if let Ok(garbage) = store.publish(manifest(2, &["r2", "r3"], &["b2"])) {
            store.collect(garbage).ok();
            return;
        }
        // Meanwhile a crash would find a whole checkpoint, whichever it is.
        assert!(store.load_newest().unwrap().is_some_and(|found| found.checkpoint <= 2));
        store.disk = Disk::real();
        let garbage = store.publish(manifest(3, &["r1", "r3"], &["b1"])).unwrap();
        store.collect(garbage).unwrap();
        assert_eq!(ManifestStore::open(&dir).unwrap().newest().unwrap().checkpoint, 3);
        assert_eq!(present(&dir).1, ["r1", "r3"]);
    }
}

fn store_first(store: &mut ManifestStore) -> Collectable {
    store.publish(manifest(1, &["r1", "r2"], &["b1"])).unwrap()
}

#[test]
fn a_start_that_fails_at_any_step_can_be_repeated() {
    for step in 0.. {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        let mut store = ManifestStore::open(&dir).unwrap();
        write_files(&dir, &["r1", "r2", "stray"], &["b1", "stray"]);
        drop(store_first(&mut store));
        fs::write(dir.manifest().join("00000000000000000002.tmp"), "{").unwrap();
        let disk = Disk::failing_at(step);
        let failed = ManifestStore::open_on(&dir, disk.clone()).is_err();
        assert_eq!(ManifestStore::open(&dir).unwrap().newest().unwrap().checkpoint, 1);
        assert_eq!(present(&dir).1, ["r1", "r2"]);
        if !failed {
            assert!(step >= 3);
            return;
        }
    }
}

#[test]
fn a_manifest_cut_or_changed_at_any_byte_is_corrupt() {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path()).unwrap();
    let mut store = ManifestStore::open(&dir).unwrap();
    write_files(&dir, &["r1", "r2"], &["b1"]);
    drop(store_first(&mut store));
    let path = store.path(1);
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        assert_eq!(Manifest::decode(&whole[..place]).unwrap_err().kind(), ErrorKind::Corrupt, "cut at {place}");
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        if let Ok(read) = Manifest::decode(&bytes) {
            panic!("byte {place} was changed and not noticed: {read:?}");
        }
    }
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let error = ManifestStore::open(&dir).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.report().contains("00000000000000000001.json"), "{}", error.report());
    fs::write(&path, &whole).unwrap();
    fs::remove_file(dir.runs().join("r2")).unwrap();
    assert_eq!(ManifestStore::open(&dir).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(dir.runs().join("r1").exists(), "nothing is swept when something is missing");
}
