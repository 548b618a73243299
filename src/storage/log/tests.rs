//! The epoch log under crashes, damage and full disks.

use std::fs;
use std::sync::{Arc, mpsc};

use super::frame::{HEADER_BYTES, begin_frame, finish_frame, push_record};
use super::*;
use crate::base::ErrorKind;

type Records = Vec<(Epoch, Vec<u8>)>;

/// A disk that never fails and never waits.
fn unsynced() -> Disk {
    Disk::failing_at(u64::MAX)
}

fn settings(segment_bytes: u64) -> LogSettings {
    LogSettings { segment_bytes, allocate_bytes: 0, disk: unsynced(), ..LogSettings::default() }
}

fn record(epoch: u64) -> Vec<u8> {
    vec![epoch as u8; 1 + epoch as usize * 7 % 40]
}

/// Appends `epochs`, each acknowledged before the next.
fn fill(dir: &Path, segment_bytes: u64, epochs: std::ops::RangeInclusive<u64>) {
    let (log, _) = EpochLog::open(dir, settings(segment_bytes)).unwrap();
    for epoch in epochs {
        log.append_wait(Epoch(epoch), record(epoch)).unwrap();
    }
}

fn read_all(dir: &Path) -> Result<Records> {
    EpochLog::open(dir, settings(1 << 20))?.1.collect()
}

fn expected(epochs: impl IntoIterator<Item = u64>) -> Records {
    epochs.into_iter().map(|epoch| (Epoch(epoch), record(epoch))).collect()
}

fn only_segment(dir: &Path) -> PathBuf {
    let mut paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let path = paths.next().unwrap();
    assert!(paths.next().is_none());
    path
}

#[test]
fn appends_are_acknowledged_in_order_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, replay) = EpochLog::open(dir.path(), settings(2_000)).unwrap();
    assert_eq!(replay.count(), 0);
    let (sender, receiver) = mpsc::channel();
    for epoch in 1..=500 {
        let sender = sender.clone();
        let done = move |result: Result<()>| sender.send((epoch, result.is_ok())).unwrap();
        log.append(Epoch(epoch), record(epoch), Box::new(done)).unwrap();
    }
    drop((log, sender));
    assert_eq!(receiver.iter().collect::<Vec<_>>(), (1..=500).map(|epoch| (epoch, true)).collect::<Vec<_>>());
    assert_eq!(read_all(dir.path()).unwrap(), expected(1..=500));
    fill(dir.path(), 2_000, 501..=510);
    assert_eq!(read_all(dir.path()).unwrap(), expected(1..=510));
    let (log, replay) = EpochLog::open(dir.path(), LogSettings::default()).unwrap();
    assert_eq!(log.durable(), Epoch(510));
    assert_eq!(replay.after(Epoch(507)).unwrap().collect::<Result<Vec<_>>>().unwrap(), expected(508..=510));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    fill(&log, 1 << 20, 1..=4);
    let path = only_segment(&log);
    let whole = fs::read(&path).unwrap();
    let mut ends = vec![HEADER_BYTES];
    for epoch in 1..=4 {
        ends.push((ends[epoch - 1] + 32 + 12 + record(epoch as u64).len()).next_multiple_of(8));
    }
    assert_eq!(ends[4], whole.len());
    for length in HEADER_BYTES..=whole.len() {
        for tail in [&[][..], &[0; 64][..]] {
            fs::remove_dir_all(&log).unwrap();
            fs::create_dir(&log).unwrap();
            fs::write(&path, [&whole[..length], tail].concat()).unwrap();
            // A frame whose last bytes are zero is whole as soon as zeros follow it.
            let kept = ends.iter().filter(|&&end| end <= length || whole[length.min(end)..end].iter().all(|&b| b == 0));
            let kept =
                if tail.is_empty() { ends.iter().filter(|&&end| end <= length).count() } else { kept.count() } - 1;
            assert_eq!(read_all(&log).unwrap(), expected(1..=kept as u64), "torn at {length}");
            fill(&log, 1 << 20, kept as u64 + 1..=6);
            assert_eq!(read_all(&log).unwrap(), expected(1..=6), "torn at {length}, then appended");
        }
    }
    for length in 0..HEADER_BYTES {
        fs::remove_dir_all(&log).unwrap();
        fs::create_dir(&log).unwrap();
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(read_all(&log).unwrap_err().kind(), ErrorKind::Corrupt, "header of {length} bytes");
        // The same bytes aside are what a crash leaves.
        fs::rename(&path, path.with_extension("tmp")).unwrap();
        assert_eq!(read_all(&log).unwrap(), []);
    }
}

#[test]
fn a_changed_byte_is_corrupt_but_in_the_last_frame() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1 << 20, 1..=3);
    let path = only_segment(dir.path());
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - (32 + 12 + record(3).len()).next_multiple_of(8);
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        match read_all(dir.path()) {
            Ok(records) => {
                assert!(place >= last, "byte {place} was changed and not noticed");
                assert_eq!(records, expected(1..=2));
            }
            Err(error) => assert!(place < last && error.kind() == ErrorKind::Corrupt, "byte {place}: {error}"),
        }
    }
}

#[test]
fn segments_grow_ahead_and_are_cut_to_size() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = || LogSettings { allocate_bytes: 4_096, ..settings(5_000) };
    let (log, _) = EpochLog::open(dir.path(), ahead()).unwrap();
    for epoch in 1..=200 {
        log.append_wait(Epoch(epoch), record(epoch)).unwrap();
    }
    drop(log);
    let mut paths: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let lengths: Vec<_> = paths.iter().map(|path| path.metadata().unwrap().len()).collect();
    let (newest, closed) = lengths.split_last().unwrap();
    assert!(newest % 4_096 == 0 && closed.iter().all(|length| (5_000..5_200).contains(length)), "{lengths:?}");
    assert_eq!(read_all(dir.path()).unwrap(), expected(1..=200));
    // Torn inside the zeros: a header that arrived, a payload that did not.
    let mut bytes = fs::read(paths.last().unwrap()).unwrap();
    bytes.extend([b"MFRM".as_slice(), &[0; 60]].concat());
    fs::write(paths.last().unwrap(), bytes).unwrap();
    assert_eq!(read_all(dir.path()).unwrap(), expected(1..=200));
}

#[test]
fn damage_in_a_closed_segment_or_a_missing_one_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 100, 1..=20);
    let mut paths: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 4);
    let whole = fs::read(&paths[1]).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&paths[1], bytes).unwrap();
        assert_eq!(read_all(dir.path()).unwrap_err().kind(), ErrorKind::Corrupt, "byte {place}");
    }
    // Cut between its frames: no checksum is wrong, yet records are missing.
    fs::write(&paths[1], &whole[..HEADER_BYTES]).unwrap();
    assert!(read_all(dir.path()).is_err());
    fs::remove_file(&paths[1]).unwrap();
    assert_eq!(read_all(dir.path()).unwrap_err().message(), "a segment of the epoch log is missing");
}

#[test]
fn stored_bytes_that_look_like_a_frame_are_not_taken_for_one() {
    let dir = tempfile::tempdir().unwrap();
    // What lies in the record begins at byte 48 + 32 + 12; pad so that the forged frame is aligned.
    let mut forged = Vec::new();
    begin_frame(&mut forged);
    push_record(&mut forged, Epoch(9), b"forged");
    finish_frame(&mut forged, 77, 96, 1);
    let record = [&[0; 4][..], &forged].concat();
    let (log, _) = EpochLog::open(dir.path(), LogSettings::default()).unwrap();
    log.append_wait(Epoch(1), record).unwrap();
    drop(log);
    let path = only_segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    assert_eq!(&bytes[96..100], b"MFRM");
    bytes[HEADER_BYTES] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(read_all(dir.path()).unwrap(), []);
}

#[test]
fn trimming_drops_whole_segments_and_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = EpochLog::open(dir.path(), settings(200)).unwrap();
    for epoch in 1..=40 {
        log.append_wait(Epoch(epoch), record(epoch)).unwrap();
    }
    let before = log.bytes();
    log.trim_below(Epoch(20)).unwrap();
    assert!(log.bytes() < before);
    drop(log);
    let (log, replay) = EpochLog::open(dir.path(), settings(200)).unwrap();
    let kept: Records = replay.after(Epoch(19)).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!(kept, expected(20..=40));
    log.trim_below(Epoch(u64::MAX)).unwrap();
    log.append_wait(Epoch(41), record(41)).unwrap();
    drop(log);
    let (_, replay) = EpochLog::open(dir.path(), settings(200)).unwrap();
    let error = replay.after(Epoch(5)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_disk_that_fails_at_any_step_acknowledges_nothing_that_is_lost() {
    for step in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::failing_at(step);
        let failing =
            LogSettings { segment_bytes: 150, allocate_bytes: 64, disk: disk.clone(), ..LogSettings::default() };
        let mut acknowledged = 0;
        if let Ok((log, _)) = EpochLog::open(dir.path(), failing) {
            for epoch in 1..=10 {
                match log.append_wait(Epoch(epoch), record(epoch)) {
                    Ok(()) => {
                        assert_eq!(acknowledged, epoch - 1, "an epoch was acknowledged after one that was not");
                        acknowledged = epoch;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
                }
            }
            assert_eq!(log.durable(), Epoch(acknowledged));
        }
        let found = read_all(dir.path()).unwrap();
        assert!(found.len() as u64 >= acknowledged && found == expected(1..=found.len() as u64), "step {step}");
        fill(dir.path(), 150, found.len() as u64 + 1..=12);
        assert_eq!(read_all(dir.path()).unwrap(), expected(1..=12));
        if !disk.has_failed() {
            assert!(step > 30);
            return;
        }
    }
}

#[test]
fn recovery_that_fails_at_any_step_can_be_repeated() {
    for step in 0.. {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 100, 1..=5);
        fs::write(dir.path().join("00000000000000000006.tmp"), "x").unwrap();
        let newest = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let newest = newest.filter(|path| path.extension().unwrap() == "log").max().unwrap();
        let mut bytes = fs::read(&newest).unwrap();
        bytes.extend([7; 100]);
        fs::write(&newest, bytes).unwrap();
        let disk = Disk::failing_at(step);
        let failing = LogSettings { disk: disk.clone(), ..LogSettings::default() };
        drop(EpochLog::open(dir.path(), failing));
        assert_eq!(read_all(dir.path()).unwrap(), expected(1..=5), "step {step}");
        if !disk.has_failed() {
            return;
        }
    }
}

#[test]
fn order_and_limits_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = EpochLog::open(dir.path(), LogSettings { queue_bytes_max: 10, ..LogSettings::default() }).unwrap();
    log.append_wait(Epoch(5), vec![1; 100]).unwrap();
    assert_eq!(log.append_wait(Epoch(5), Vec::new()).unwrap_err().kind(), ErrorKind::Internal);
    // The log's thread is held in a callback while the queue fills.
    let (enter, entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hold = move |_| {
        enter.send(()).unwrap();
        released.recv().unwrap();
    };
    log.append(Epoch(6), Vec::new(), Box::new(hold)).unwrap();
    entered.recv().unwrap();
    log.append(Epoch(7), vec![0; 20], Box::new(|_| ())).unwrap();
    assert_eq!(log.append(Epoch(8), vec![0; 1], Box::new(|_| ())).unwrap_err().kind(), ErrorKind::Limit);
    release.send(()).unwrap();
    drop(log);
    assert_eq!(read_all(dir.path()).unwrap().len(), 3);
}

#[test]
fn the_last_owner_may_be_a_callback() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(EpochLog::open(dir.path(), LogSettings::default()).unwrap().0);
    let (sender, receiver) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let held = Arc::clone(&log);
    let done = move |result: Result<()>| {
        released.recv().unwrap();
        drop(held);
        sender.send(result.is_ok()).unwrap();
    };
    log.append(Epoch(1), record(1), Box::new(done)).unwrap();
    drop(log);
    release.send(()).unwrap();
    assert!(receiver.recv().unwrap());
}
