//! The host: labels, cuts, lone readers, handovers, against a slow fake job.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parking_lot::{Condvar, Mutex};

use super::*;
use crate::connectors::{FileSource, FileSourceOptions, Follow};
use crate::formats::{Format, NdjsonOptions};
use crate::types::{Column, DeltaBatch, Epoch, RelationId, Schema, SqlType, Watermark};

/// A job that notes what it is told, and has room for a given number of batches.
#[derive(Default)]
struct Job {
    heard: Mutex<Heard>,
    changed: Condvar,
    room: AtomicUsize,
}

#[derive(Default, Clone)]
struct Heard {
    /// (epoch, id, hidden watermark)
    rows: Vec<(u64, i64, i64)>,
    batches: usize,
    closes: Vec<Close>,
    /// What it need not wait for.
    skipped: Epoch,
}

impl Job {
    fn new(room: usize) -> Arc<Job> {
        let job = Job::default();
        job.room.store(room, Ordering::SeqCst);
        Arc::new(job)
    }

    fn until(&self, what: &str, done: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = self.heard.lock();
        while !done(&heard) {
            let late = self.changed.wait_for(&mut heard, Duration::from_secs(30)).timed_out();
            assert!(!late, "waited for {what}: {} rows, {:?}", heard.rows.len(), heard.closes);
        }
        heard.clone()
    }
}

impl Inlet for Job {
    fn has_room(&self) -> bool {
        self.heard.lock().batches < self.room.load(Ordering::SeqCst)
    }

    fn gives_way(&self) -> bool {
        false
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn send(&self, epoch: Epoch, batch: DeltaBatch) {
        let mut heard = self.heard.lock();
        let ids = batch.rows.column(0).as_primitive::<Int64Type>().clone();
        let marks = batch.rows.column(1).as_primitive::<Int64Type>().clone();
        let rows = ids.values().iter().zip(marks.values());
        heard.rows.extend(rows.map(|(&id, &mark)| (epoch.0, id, mark)));
        heard.batches += 1;
        self.changed.notify_all();
    }

    fn close(&self, close: Close) {
        self.heard.lock().closes.push(close);
        self.changed.notify_all();
    }

    fn skip_to(&self, epoch: Epoch) {
        self.heard.lock().skipped = epoch;
    }
}

const MINUTE: i64 = 60_000_000;

/// The event time of record `id`: forward with setbacks.
fn time(id: i64) -> i64 {
    (id + (id * 7919) % 13 - 6) * MINUTE
}

fn write_lines(path: &std::path::Path, ids: std::ops::Range<i64>) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    let lines: String = ids
        .map(|id| format!("{{\"id\": {id}, \"ts\": {}, \"pad\": \"{}\"}}\n", time(id), "x".repeat((id % 7) as usize)))
        .collect();
    file.write_all(lines.as_bytes()).unwrap();
}

struct Bench {
    dir: tempfile::TempDir,
    ended: Arc<AtomicBool>,
}

impl Bench {
    fn new(ids: i64) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        write_lines(&dir.path().join("a.ndjson"), 0..ids / 3);
        write_lines(&dir.path().join("b.ndjson"), ids / 3..ids);
        Bench { dir, ended: Arc::default() }
    }

    fn spec(&self, block_bytes: usize, batch_rows: usize, follow: Follow) -> Arc<SourceSpec> {
        let path = format!("{}/*.ndjson", self.dir.path().display());
        let options = FileSourceOptions { block_bytes, follow, ..FileSourceOptions::new(path) };
        let columns = vec![Column::new("id", SqlType::BigInt), Column::new("ts", SqlType::Timestamp)];
        Arc::new(SourceSpec {
            relation: RelationId(1),
            name: "s".into(),
            schema: Schema::new(columns),
            generated: Vec::new(),
            watermark: Some(WatermarkRule::Delay { column: 1, us: 2 * MINUTE }),
            connector: Arc::new(FileSource::new(options).unwrap()),
            format: Some(Format::Ndjson(NdjsonOptions::default())),
            settings: HostSettings {
                batch_rows,
                share_patience: Duration::from_millis(20),
                poll: Duration::from_millis(1),
                ahead_bytes: block_bytes * 3,
                ..HostSettings::default()
            },
        })
    }

    fn host(&self, spec: &Arc<SourceSpec>) -> Arc<SourceHost> {
        let ended = Arc::clone(&self.ended);
        let listen = move |event| {
            if event == SourceEvent::Ended {
                ended.store(true, Ordering::SeqCst);
            }
        };
        SourceHost::new(Arc::clone(spec), Vec::new(), Watermark::NONE, Epoch(1), listen).unwrap()
    }
}

fn wanted() -> Wanted {
    Wanted::Rows { columns: vec![0], watermark: true }
}

fn attach(host: &Arc<SourceHost>, job: &Arc<Job>, from: Vec<SplitPoint>, cuts: Vec<RecordedCut>) -> SubscriberId {
    let inlet = Arc::clone(job) as Arc<dyn Inlet>;
    host.attach(Attach { inlet, wanted: wanted(), from, cuts }).unwrap()
}

fn close_of(cut: &SourceCut) -> Close {
    Close { epoch: cut.epoch, watermark: cut.watermark, clock_us: 0, checkpoint: false }
}

fn recorded(cut: &SourceCut) -> RecordedCut {
    let splits = cut.splits.iter().map(|split| split.point.clone()).collect();
    RecordedCut { epoch: cut.epoch, splits, close: Some(close_of(cut)) }
}

/// What every job must have heard of ids `0..ids`, but for the epochs.
fn reference(ids: i64) -> Vec<(i64, i64)> {
    let mut largest = i64::MIN;
    let mark = |id| {
        let before = largest;
        largest = largest.max(time(id) - 2 * MINUTE);
        (id, before)
    };
    (0..ids).map(mark).collect()
}

fn check_rows(heard: &Heard, expected: &[(i64, i64)]) {
    let rows: Vec<_> = heard.rows.iter().map(|&(_, id, mark)| (id, mark)).collect();
    assert_eq!(rows.len(), expected.len());
    assert_eq!(rows, expected);
    assert!(heard.rows.is_sorted_by_key(|row| row.0));
    assert!(heard.closes.is_sorted_by(|a, b| a.epoch < b.epoch), "{:?}", heard.closes);
}

/// Cuts and closes until the source has ended; gives the cuts that had input.
fn cut_to_the_end(bench: &Bench, host: &Arc<SourceHost>, mut each: impl FnMut(usize, &SourceCut)) -> Vec<SourceCut> {
    let mut cuts = Vec::new();
    let mut epoch = Epoch(1);
    loop {
        let ended = bench.ended.load(Ordering::SeqCst);
        let cut = host.cut(epoch);
        epoch = epoch.next();
        if cut.had_input {
            host.close(close_of(&cut));
            each(cuts.len(), &cut);
            cuts.push(cut);
        }
        if ended {
            return cuts;
        }
        std::thread::yield_now();
    }
}

#[test]
fn cutting_changes_nothing() {
    let bench = Bench::new(900);
    let expected = reference(900);
    for (block_bytes, batch_rows) in [(64, 1), (100, 7), (1000, 8192), (1 << 20, 13), (1 << 20, 65536)] {
        bench.ended.store(false, Ordering::SeqCst);
        let host = bench.host(&bench.spec(block_bytes, batch_rows, Follow::No));
        let job = Job::new(usize::MAX);
        attach(&host, &job, Vec::new(), Vec::new());
        let cuts = cut_to_the_end(&bench, &host, |_, _| {});
        let last = cuts.last().unwrap();
        assert_eq!(last.watermark, Watermark::END);
        assert_eq!(cuts.iter().map(|cut| cut.rows).sum::<u64>(), 900);
        let heard = job.until("all rows", |heard| heard.closes.last().is_some_and(|c| c.watermark == Watermark::END));
        check_rows(&heard, &expected);
        let stats = host.stats();
        assert_eq!(stats.splits[0].rows_decoded, 900);
        assert_eq!(stats.splits[0].state, SourceState::Finished);
    }
}

/// The epoch of each row, by the rows counted in the cuts.
fn epochs_of(cuts: &[SourceCut]) -> Vec<u64> {
    cuts.iter().flat_map(|cut| std::iter::repeat_n(cut.epoch.0, cut.rows as usize)).collect()
}

#[test]
fn a_record_has_one_epoch_everywhere() {
    let bench = Bench::new(3000);
    let expected = reference(3000);
    let host = bench.host(&bench.spec(300, 5, Follow::No));
    // The first has room for the fourth cut only once that was made: however slow this thread is, it comes before the end.
    let (first, second) = (Job::new(20), Job::new(usize::MAX));
    attach(&host, &first, Vec::new(), Vec::new());
    let mut joined = Epoch(0);
    let cuts = cut_to_the_end(&bench, &host, |index, cut| {
        first.room.store(if index < 3 { 20 * (index + 2) } else { usize::MAX }, Ordering::SeqCst);
        if index == 3 {
            joined = cut.epoch;
            attach(&host, &second, Vec::new(), vec![recorded(cut)]);
        }
    });
    let ended = |heard: &Heard| heard.closes.last().is_some_and(|c| c.watermark == Watermark::END);
    let epochs = epochs_of(&cuts);
    let heard = first.until("the first job", ended);
    check_rows(&heard, &expected);
    assert_eq!(heard.rows.iter().map(|row| row.0).collect::<Vec<_>>(), epochs);
    let closes = heard.closes;
    let heard = second.until("the second job", ended);
    check_rows(&heard, &expected);
    let late: Vec<u64> = epochs.iter().map(|&epoch| epoch.max(joined.0)).collect();
    assert_eq!(heard.rows.iter().map(|row| row.0).collect::<Vec<_>>(), late);
    assert_eq!(heard.closes, closes.iter().copied().filter(|close| close.epoch >= joined).collect::<Vec<_>>());
    // After a crash: from any cut along the recorded ones, every row has the epoch that it had.
    for start in (0..cuts.len()).step_by(cuts.len().div_ceil(8)) {
        let at = cuts.last().unwrap();
        let listen = |_| {};
        let spec = bench.spec(1 << 20, 64, Follow::No);
        let host = SourceHost::new(spec, at.splits.clone(), at.watermark, at.epoch.next(), listen).unwrap();
        let job = Job::new(usize::MAX);
        let from = cuts[start].splits.iter().map(|split| split.point.clone()).collect();
        attach(&host, &job, from, cuts[start + 1..].iter().map(recorded).collect());
        let skip = cuts[..=start].iter().map(|cut| cut.rows as usize).sum::<usize>();
        let heard = job.until("the recovered job", |heard| start + 1 == cuts.len() || ended(heard));
        check_rows(&heard, &expected[skip..]);
        assert_eq!(heard.rows.iter().map(|row| row.0).collect::<Vec<_>>(), epochs[skip..]);
    }
}

#[test]
fn a_slow_job_reads_on_alone_and_comes_back() {
    let bench = Bench::new(2000);
    let host = bench.host(&bench.spec(200, 8192, Follow::Yes));
    let (fast, slow) = (Job::new(usize::MAX), Job::new(3));
    attach(&host, &fast, Vec::new(), Vec::new());
    let id = attach(&host, &slow, Vec::new(), Vec::new());
    fast.until("the fast job", |heard| heard.rows.len() == 2000);
    let cut = host.cut(Epoch(1));
    host.close(close_of(&cut));
    assert!(host.is_alone(id).is_some());
    assert!(slow.heard.lock().rows.len() < 2000);
    slow.room.store(usize::MAX, Ordering::SeqCst);
    slow.until("the slow job", |heard| heard.closes.len() == 1);
    while host.is_alone(id).is_some() {
        std::thread::yield_now();
    }
    write_lines(&bench.dir.path().join("b.ndjson"), 2000..2100);
    write_lines(&bench.dir.path().join("c.ndjson"), 2100..2200);
    for job in [&fast, &slow] {
        let heard = job.until("what was added", |heard| heard.rows.len() == 2200);
        check_rows(&heard, &reference(2200));
        assert!(heard.rows.iter().all(|&(epoch, id, _)| epoch == if id < 2000 { 1 } else { 2 }));
    }
    host.stop();
}

#[test]
fn a_bounded_source_is_read_whole() {
    let bench = Bench::new(100);
    let reader = BoundedReader::new(bench.spec(100, 10, Follow::No), vec![0]).unwrap();
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, 100);
    assert!(BoundedReader::new(bench.spec(100, 10, Follow::Yes), vec![0]).is_err());
}
