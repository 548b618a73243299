//! Outbox and delivery: exactly once over redelivery, crashes between any two steps, and strangers' folders.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::*;
use crate::connectors::{Blackhole, FileSink, Parcel, Roll, Sink, SinkOwner};
use crate::formats::Format;
use crate::types::{Column, DeltaBatch, Epoch, Schema, SqlType};

const LONG: Duration = Duration::from_secs(30);

fn schema() -> Schema {
    Schema::new(vec![Column::new("id", SqlType::BigInt)])
}

fn batch(ids: &[i64], weights: &[i64]) -> DeltaBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    DeltaBatch::new(RecordBatch::try_new(schema().arrow(), vec![column]).unwrap(), weights.to_vec()).unwrap()
}

fn owner() -> SinkOwner {
    SinkOwner { sink: 7, name: "s".into(), incarnation: "i1".into() }
}

fn spec(changelog: bool, newest: Option<u64>) -> SinkSpec {
    let format = Some(Format::Ndjson(Default::default()));
    SinkSpec { owner: owner(), schema: schema(), format, changelog, newest: newest.map(Epoch) }
}

/// One batch of an outbox, filled in any order by two workers.
fn outbox_batch(epoch: u64, ids: &[i64]) -> OutboxBatch {
    let outbox = Outbox::new(&schema(), Keep::Rows);
    let writers = outbox.writers(2);
    let (mut first, mut second) = (writers.take(0).unwrap(), writers.take(1).unwrap());
    let (left, right) = ids.split_at(ids.len() / 2);
    second.push(Epoch(epoch), batch(right, &vec![1; right.len()])).unwrap();
    first.push(Epoch(epoch), batch(left, &vec![1; left.len()])).unwrap();
    first.push(Epoch(epoch + 1), batch(&[-1], &[1])).unwrap();
    first.close(Epoch(epoch), true).unwrap();
    let taken = outbox.take(Epoch(epoch)).unwrap().unwrap();
    assert_eq!((taken.rows, outbox.waiting().0), (ids.len() as u64, 1));
    taken
}

/// The lines of finished files, in order of their names; nothing else may be visible.
fn lines(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    names.sort();
    assert!(names.iter().all(|path| path.extension().unwrap() == "ndjson"));
    names
        .iter()
        .flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn delivered_once_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let batches: Vec<OutboxBatch> =
        (1..=4).map(|epoch| outbox_batch(epoch * 10, &[epoch as i64, 100 + epoch as i64])).collect();
    for upto in 1..=4 {
        // Every restart offers everything again, as if no delivery had been recorded.
        let sink = Box::new(FileSink::new(folder.path(), "ndjson", Roll { rows: Some(3), ..Roll::default() }));
        let newest = batches[..upto - 1].last().map(|batch| batch.epoch.0);
        let host = SinkHost::start(spec(false, newest), sink, |_| {}).unwrap();
        for batch in &batches[..upto] {
            host.offer(batch.epoch, batch.rows, batch.bytes.clone());
        }
        assert!(host.wait_delivered(LONG), "{:?}", host.stats());
        assert_eq!(host.stats().delivered, Some(Epoch(upto as u64 * 10)));
        if upto == 4 {
            host.finish();
        }
        host.stop();
        while Arc::strong_count(&host) > 1 {
            std::thread::yield_now();
        }
    }
    let mut sink = FileSink::new(folder.path(), "ndjson", Roll::default());
    assert_eq!(sink.open(&owner()).unwrap(), Some(40));
    sink.tick(0, true).unwrap();
    let expected: Vec<String> =
        (1..=4).flat_map(|e| [format!("{{\"id\":{e}}}"), format!("{{\"id\":{}}}", 100 + e)]).collect();
    assert_eq!(lines(folder.path()), expected);
}

#[test]
fn what_a_crash_left_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let parcel = |number: u64| Parcel {
        number,
        rows: 1,
        header: Default::default(),
        body: format!("{{\"id\":{number}}}\n").into(),
        whole_file: false,
    };
    let roll = Roll { rows: Some(100), ..Roll::default() };
    let mut sink = FileSink::new(folder.path(), "ndjson", roll.clone());
    sink.open(&owner()).unwrap();
    sink.deliver(&parcel(1)).unwrap();
    drop(sink);
    // Bytes behind the mark: a delivery that did not end.
    let open = folder.path().join(".part-000000000001.ndjson.open");
    let mut torn = std::fs::read(&open).unwrap();
    torn.extend_from_slice(b"{\"id\":2}\n{\"i");
    std::fs::write(&open, torn).unwrap();
    let mut sink = FileSink::new(folder.path(), "ndjson", roll);
    assert_eq!(sink.open(&owner()).unwrap(), Some(1));
    sink.deliver(&parcel(1)).unwrap();
    sink.deliver(&parcel(2)).unwrap();
    assert!(lines(folder.path()).is_empty());
    sink.tick(0, true).unwrap();
    assert_eq!(lines(folder.path()), ["{\"id\":1}", "{\"id\":2}"]);
    // A mark that says "finished" before the file was renamed.
    let done = folder.path().join("part-000000000001.ndjson");
    std::fs::rename(&done, &open).unwrap();
    let mark = std::fs::read_to_string(folder.path().join(".millstream-mark")).unwrap();
    let mark = mark
        .replace("\"file\":null", "\"file\":\"part-000000000001.ndjson\"")
        .replace("\"finished\":false", "\"finished\":true");
    std::fs::write(folder.path().join(".millstream-mark"), mark).unwrap();
    drop(sink);
    let mut sink = FileSink::new(folder.path(), "ndjson", Roll::default());
    assert_eq!(sink.open(&owner()).unwrap(), Some(2));
    assert_eq!(lines(folder.path()).len(), 2);
}

#[test]
fn strangers_and_other_histories_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = FileSink::new(folder.path(), "ndjson", Roll::default());
    sink.open(&owner()).unwrap();
    let busy = FileSink::new(folder.path(), "ndjson", Roll::default()).open(&owner()).unwrap_err();
    assert_eq!(busy.kind(), crate::base::ErrorKind::Unavailable);
    drop(sink);
    let other = SinkOwner { incarnation: "i2".into(), ..owner() };
    let error = FileSink::new(folder.path(), "ndjson", Roll::default()).open(&other).unwrap_err();
    assert!(error.message().contains("belongs to another sink") && error.hint().is_some());
    let mut sink = FileSink::new(folder.path(), "ndjson", Roll::default());
    sink.open(&owner()).unwrap();
    let parcel =
        Parcel { number: 50, rows: 0, header: Default::default(), body: Default::default(), whole_file: false };
    sink.deliver(&parcel).unwrap();
    drop(sink);
    let sink = Box::new(FileSink::new(folder.path(), "ndjson", Roll::default()));
    let host = SinkHost::start(spec(false, Some(40)), sink, |_| {}).unwrap();
    host.offer(Epoch(41), 1, outbox_batch(41, &[1]).bytes);
    assert!(!host.wait_delivered(LONG));
    let state = host.stats().state;
    assert!(matches!(&state, SinkState::Failed(reason) if reason.contains("ahead of the engine")), "{state:?}");
}

#[test]
fn weights_and_changelogs() {
    let outbox = Outbox::new(&schema(), Keep::Rows);
    let mut writer = outbox.writers(1).take(0).unwrap();
    writer.push(Epoch(3), batch(&[1, 2], &[2, 1])).unwrap();
    let plain = outbox.take(Epoch(3)).unwrap().unwrap();
    writer.push(Epoch(4), batch(&[1, 5], &[-1, 1])).unwrap();
    let updating = outbox.take(Epoch(9)).unwrap().unwrap();
    assert!(outbox.take(Epoch(10)).unwrap().is_none());
    let folder = tempfile::tempdir().unwrap();
    let rolled = || Box::new(FileSink::new(folder.path().join("a"), "ndjson", Roll::default()));
    let host = SinkHost::start(spec(false, None), rolled(), |_| {}).unwrap();
    host.offer(plain.epoch, plain.rows, plain.bytes.clone());
    assert!(host.wait_delivered(LONG));
    assert_eq!(lines(&folder.path().join("a")), ["{\"id\":1}", "{\"id\":1}", "{\"id\":2}"]);
    host.offer(updating.epoch, updating.rows, updating.bytes.clone());
    assert!(!host.wait_delivered(LONG));
    assert!(matches!(host.stats().state, SinkState::Failed(reason) if reason.contains("changelog = true")));
    let sink = Box::new(FileSink::new(folder.path().join("b"), "ndjson", Roll::default()));
    let host = SinkHost::start(spec(true, None), sink, |_| {}).unwrap();
    host.offer(updating.epoch, updating.rows, updating.bytes);
    assert!(host.wait_delivered(LONG));
    let expected = ["{\"ms_epoch\":4,\"ms_weight\":-1,\"id\":1}", "{\"ms_epoch\":4,\"ms_weight\":1,\"id\":5}"];
    assert_eq!(lines(&folder.path().join("b")), expected);
    host.stop();
    let counting = Outbox::new(&schema(), Keep::Counts);
    counting.writers(1).take(0).unwrap().push(Epoch(1), batch(&[1, 2], &[1, 1])).unwrap();
    let counted = counting.take(Epoch(1)).unwrap().unwrap();
    assert_eq!((counted.rows, counted.bytes.len()), (2, 0));
    let host = SinkHost::start(SinkSpec { format: None, ..spec(false, None) }, Box::new(Blackhole::default()), |_| {})
        .unwrap();
    host.offer(counted.epoch, counted.rows, counted.bytes);
    assert!(host.wait_delivered(LONG));
    assert_eq!(host.stats().rows_sent, 2);
    host.stop();
}
