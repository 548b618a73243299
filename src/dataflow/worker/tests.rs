//! Small graphs on real worker threads: order, failure, life, taps, bounds, checkpoints.

mod aggregates;
mod harness;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::base::{Error, Result};
use crate::dataflow::*;
use crate::state::Tier;
use crate::types::*;
use harness::*;

/// Deterministic numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n) as i64
    }
}

/// A relation of two columns with random changes, and its contents after each epoch.
struct Model {
    random: Random,
    contents: BTreeMap<Row, i64>,
}

impl Model {
    fn new(seed: u64) -> Self {
        Model { random: Random(seed), contents: BTreeMap::new() }
    }

    /// The changes of one more epoch.
    fn change(&mut self, rows: usize) -> Rows {
        let mut changes = Rows::new();
        for _ in 0..rows {
            let gone = (self.random.below(3) == 0).then(|| {
                let at = self.random.below(self.contents.len().max(1) as u64) as usize;
                self.contents.keys().nth(at).cloned()
            });
            let (row, weight) = match gone.flatten() {
                Some(row) => (row, -1),
                None => (vec![self.random.below(20), self.random.below(1000)], 1),
            };
            let held = self.contents.entry(row.clone()).or_default();
            *held += weight;
            if *held == 0 {
                self.contents.remove(&row);
            }
            changes.push((row, weight));
        }
        changes
    }
}

fn joined(a: &Model, b: &Model) -> Vec<Row> {
    let mut rows = Vec::new();
    for (left, n) in &a.contents {
        for (right, m) in b.contents.iter().filter(|(right, _)| right[0] == left[0]) {
            let row = vec![left[0], left[1], right[0], right[1]];
            rows.extend(std::iter::repeat_n(row, (n * m) as usize));
        }
    }
    rows.sort();
    rows
}

#[test]
fn every_epoch_is_right_on_any_number_of_workers() {
    for (workers, tier) in [(1, Tier::Resident), (2, Tier::Strict), (4, Tier::Resident)] {
        let mut bench = Bench::with(workers, RuntimeSettings { tier, ..RuntimeSettings::default() });
        let job = bench.create(1, join_graph(1), 1, Setup::default());
        let (mut a, mut b) = (Model::new(7), Model::new(8));
        for epoch in 1..=30 {
            job.send(0, epoch, &a.change(20));
            job.send(1, epoch, &b.change(20));
            job.close(epoch, false);
            bench.closed(&job, epoch);
            assert!(job.contents(3, epoch) == joined(&a, &b), "epoch {epoch}, {workers} workers");
        }
        bench.runtime.shutdown().unwrap();
    }
}

#[test]
fn epochs_run_ahead_of_each_other() {
    // Inputs and workers are given 100 epochs at once and reach them in whatever order.
    let mut bench = Bench::new(4);
    let job = bench.create(1, join_graph(1), 1, Setup::default());
    let _hold = job.views[&NodeId(3)].hold(Epoch(0)).unwrap();
    let (mut a, mut b) = (Model::new(9), Model::new(10));
    for epoch in 1..=100 {
        job.send(0, epoch, &a.change(9));
        job.inputs[0].close(close(epoch, false));
    }
    for epoch in 1..=100 {
        job.send(1, epoch, &b.change(9));
        job.inputs[1].close(close(epoch, false));
    }
    bench.closed(&job, 100);
    assert_eq!(job.contents(3, 100), joined(&a, &b));
    let (mut a, mut b) = (Model::new(9), Model::new(10));
    for epoch in 1..=100 {
        a.change(9);
        b.change(9);
        assert!(job.contents(3, epoch) == joined(&a, &b), "epoch {epoch}");
    }
}

#[test]
fn a_silent_input_is_granted_its_epochs() {
    let mut bench = Bench::new(2);
    let job = bench.create(1, join_graph(1), 1, Setup::default());
    let (mut a, mut b) = (Model::new(3), Model::new(4));
    job.send(0, 2, &a.change(30));
    job.send(1, 2, &b.change(30));
    job.close(2, false);
    // The grant for 9 comes before the input has closed 5: it waits.
    job.inputs[1].grant(close(9, false), Epoch(5));
    job.send(0, 9, &a.change(30));
    job.inputs[0].close(close(9, false));
    bench.closed(&job, 2);
    assert!(!bench.seen.iter().any(|r| matches!(r, Response::Closed { epoch: Epoch(9), .. })));
    job.send(1, 5, &b.change(30));
    job.inputs[1].close(close(5, false));
    bench.closed(&job, 9);
    assert_eq!(job.contents(3, 9), joined(&a, &b));
}

/// A writer that counts, and fails as it is told.
struct Writer {
    fails_at: Option<(u64, bool)>,
    log: Arc<parking_lot::Mutex<Vec<(u64, usize, bool)>>>,
    rows: usize,
}

impl OutboxWriter for Writer {
    fn push(&mut self, epoch: Epoch, batch: DeltaBatch) -> Result<()> {
        match self.fails_at {
            Some((at, true)) if at == epoch.0 => panic!("writer was told to panic"),
            Some((at, false)) if at == epoch.0 => Err(Error::fault("writer was told to fail")),
            Some(_) | None => {
                self.rows += batch.len();
                Ok(())
            }
        }
    }

    fn close(&mut self, epoch: Epoch, checkpoint: bool) -> Result<()> {
        self.log.lock().push((epoch.0, std::mem::take(&mut self.rows), checkpoint));
        Ok(())
    }
}

fn sink_graph(relation: u64) -> Graph {
    let columns = schema(&["k", "v"]);
    let mut graph = pass_graph(relation, &columns);
    let kind = NodeKind::Sink(SinkSpec { relation: RelationId(relation + 1000), changes_only: false });
    graph.nodes.push(node(2, "out", kind, vec![edge(0, Exchange::Gather)], &columns));
    graph
}

/// What the writers of an outbox were told: epoch, rows, whether a checkpoint ends with it.
type OutboxLog = Arc<parking_lot::Mutex<Vec<(u64, usize, bool)>>>;

fn outbox(workers: usize, fails_at: Option<(u64, bool)>) -> (SinkOutbox, OutboxLog) {
    let log = Arc::default();
    let writer = |_| -> Box<dyn OutboxWriter> { Box::new(Writer { fails_at, log: Arc::clone(&log), rows: 0 }) };
    (SinkOutbox::new((0..workers).map(writer).collect()), log)
}

#[test]
fn a_sink_gets_consolidated_epochs() {
    let mut bench = Bench::new(2);
    let (sink, log) = outbox(2, None);
    let setup = Setup { sinks: HashMap::from([(NodeId(2), sink)]), ..Setup::default() };
    let job = bench.create(1, sink_graph(1), 1, setup);
    job.send(0, 3, &[(vec![1, 1], 1), (vec![2, 2], 1), (vec![1, 1], -1)]);
    job.close(3, true);
    bench.closed(&job, 3);
    let log = std::mem::take(&mut *log.lock());
    assert_eq!(log.iter().map(|(_, rows, _)| rows).sum::<usize>(), 1);
    assert_eq!(log.iter().filter(|(epoch, _, checkpoint)| *epoch == 3 && *checkpoint).count(), 2);
}

#[test]
fn a_failing_or_panicking_job_stops_alone() {
    for panics in [false, true] {
        let mut bench = Bench::new(2);
        let (sink, _) = outbox(2, Some((5, panics)));
        let setup = Setup { sinks: HashMap::from([(NodeId(2), sink)]), ..Setup::default() };
        let doomed = bench.create(1, sink_graph(1), 1, setup);
        let healthy = bench.create(2, pass_graph(2, &schema(&["k", "v"])), 1, Setup::default());
        let rows: Rows = (0..40).map(|i| (vec![i, i], 1)).collect();
        for epoch in 1..=20 {
            if epoch <= 5 {
                doomed.send(0, epoch, &rows);
            }
            doomed.close(epoch, false);
            healthy.send(0, epoch, &rows);
            healthy.close(epoch, false);
        }
        bench.closed(&healthy, 20);
        let failed = |r: &Response| matches!(r, Response::Failed { job: JobId(1), .. });
        bench.wait("failure", |seen| seen.iter().any(failed));
        let Some(Response::Failed { error, .. }) = bench.seen.iter().find(|r| failed(r)) else { panic!() };
        assert!(error.report().contains("was told to"), "{}", error.report());
        assert_eq!(bench.seen.iter().filter(|r| failed(r)).count(), 1);
        let closed = |r: &Response| matches!(r, Response::Closed { job: JobId(1), epoch, worker, .. } if epoch.0 >= 5 && *worker == gathered(2));
        assert!(!bench.seen.iter().any(closed));
        assert!(doomed.inputs[0].is_gone());
        bench.runtime.drop_job(JobId(1));
        bench.wait("drop", |seen| {
            seen.iter().filter(|r| matches!(r, Response::Dropped { job: JobId(1), .. })).count() == 2
        });
        healthy.send(0, 21, &rows);
        healthy.close(21, false);
        bench.closed(&healthy, 21);
        assert_eq!(healthy.contents(1, 21).len(), 21 * 40);
        bench.runtime.shutdown().unwrap();
    }
}

fn gathered(workers: usize) -> usize {
    Placement::One(None).gathered(workers)
}

#[test]
fn a_thousand_jobs_come_and_go() {
    let mut bench = Bench::new(2);
    for id in 0..1000 {
        let job = bench.create(id, pass_graph(id, &schema(&["k", "v"])), 1, Setup::default());
        job.send(0, 1, &[(vec![id as i64, 1], 1)]);
        job.close(1, false);
        if id % 10 == 0 {
            bench.closed(&job, 1);
        }
        bench.runtime.drop_job(job.id);
    }
    bench.wait("drops", |seen| seen.iter().filter(|r| matches!(r, Response::Dropped { .. })).count() == 2000);
    assert_eq!(bench.runtime.worker_metrics().iter().map(|w| w.jobs.get()).sum::<u64>(), 0);
    bench.runtime.shutdown().unwrap();
}

fn tap_graph(relation: u64, columns: &Schema) -> Graph {
    let input = NodeKind::Relation(RelationInput { relation: RelationId(relation) });
    let tap = node(0, "base", input, vec![], columns);
    Graph::new(vec![tap, publish(1, relation + 1, edge(0, Exchange::Key(vec![0, 1])), columns)])
}

#[test]
fn a_tap_joins_at_an_epoch_and_follows() {
    for workers in [1, 3] {
        let mut bench = Bench::new(workers);
        let columns = schema(&["k", "v"]);
        let base = bench.create(1, pass_graph(1, &columns), 1, Setup::default());
        let mut model = Model::new(11);
        for epoch in 1..=6 {
            base.send(0, epoch, &model.change(50));
            base.close(epoch, false);
        }
        let taps = |base: &Job| HashMap::from([(NodeId(0), Arc::clone(&base.views[&NodeId(1)]))]);
        // Commands come before the messages sent after them: no need to wait for anything.
        let tapped = bench.create(2, tap_graph(1, &columns), 7, Setup { taps: taps(&base), ..Setup::default() });
        for epoch in 7..=40 {
            base.send(0, epoch, &model.change(10));
            base.close(epoch, false);
            if epoch % 8 == 0 {
                bench.closed(&tapped, epoch);
                assert_eq!(tapped.contents(1, epoch), base.contents(1, epoch));
            }
        }
        // The base is silent at 50, when another job joins.
        let late = bench.create(3, tap_graph(1, &columns), 50, Setup { taps: taps(&base), ..Setup::default() });
        late.inputs[0].grant(close(50, false), Epoch(40));
        bench.closed(&late, 50);
        assert_eq!(late.contents(1, 50), base.contents(1, 40));
        base.send(0, 51, &model.change(10));
        base.close(51, false);
        bench.closed(&late, 51);
        bench.closed(&tapped, 51);
        assert_eq!(late.contents(1, 51), base.contents(1, 51));
        assert_eq!(tapped.contents(1, 51), base.contents(1, 51));
        bench.runtime.shutdown().unwrap();
    }
}

#[test]
fn what_is_under_way_stays_bounded() {
    let settings = RuntimeSettings { edge_queue_bytes: 20_000, ..RuntimeSettings::default() };
    let mut bench = Bench::with(2, settings);
    let job = bench.create(1, join_graph(1), 1, Setup { input_bytes: 50_000, ..Setup::default() });
    let columns = schema(&["k", "v"]);
    // 3 edges on 2 workers; a lane may be passed by what one call gives.
    let bound = 3 * 2 * (20_000 + 2 * 16_000);
    // One input has nothing to say and does not close: the other must not stand still for it.
    for i in 0..200 {
        let rows: Rows = (0..1000).map(|j| (vec![i * 1000 + j, j], 1)).collect();
        let sent = job.inputs[0].send_blocking(Epoch(1), batch(&columns, &rows), std::time::Duration::from_secs(30));
        assert!(matches!(sent.unwrap(), Sent::Accepted));
        assert!(job.inputs[0].queued_bytes() <= 50_000);
        let under_way = bench.runtime.bytes_under_way(job.id);
        assert!(under_way <= bound, "{under_way} bytes under way");
    }
    job.send(1, 1, &[(vec![5, 5], 1)]);
    job.close(1, false);
    bench.closed(&job, 1);
    assert_eq!(job.contents(3, 1), [vec![5, 5, 5, 5]]);
    assert_eq!(bench.runtime.bytes_under_way(job.id), 0);
    let metrics = bench.runtime.job_metrics(job.id).unwrap();
    assert_eq!(metrics.sum(NodeId(2), |subtask| &subtask.rows_in), 200_001);
    assert_eq!(metrics.sum(NodeId(2), |subtask| &subtask.rows_out), 1);
    assert!(metrics.sum(NodeId(2), |subtask| &subtask.state_bytes) > 0);
}

#[test]
fn a_full_lane_behind_a_gap_in_the_epochs_is_read() {
    // Nobody names epoch 1. The join fills its lane with rows of epoch 2 before the view has heard that 1 is over.
    let settings = RuntimeSettings { edge_queue_bytes: 5_000, ..RuntimeSettings::default() };
    let mut bench = Bench::with(1, settings);
    let job = bench.create(1, join_graph(1), 1, Setup::default());
    let rows: Rows = (0..60).map(|i| (vec![1, i], 1)).collect();
    job.send(0, 2, &rows);
    job.send(1, 2, &rows);
    job.close(2, false);
    bench.closed(&job, 2);
    assert_eq!(job.contents(3, 2).len(), 3600);
}

#[test]
fn an_epoch_behind_a_gap_may_be_larger_than_all_queues() {
    // Rows of epoch 9 fill the lane before the join has heard that 2 to 8 are over: the input says so when the end of 9 is
    // queued behind them, or when its host does.
    for told in [false, true] {
        let settings = RuntimeSettings { edge_queue_bytes: 5_000, ..RuntimeSettings::default() };
        let mut bench = Bench::with(2, settings);
        let input_bytes = if told { 5_000 } else { 1 << 20 };
        let job = bench.create(1, join_graph(1), 1, Setup { input_bytes, ..Setup::default() });
        job.close(1, false);
        bench.closed(&job, 1);
        if told {
            job.inputs.iter().for_each(|input| input.skip_to(Epoch(9)));
        }
        let rows: Rows = (0..3000).map(|i| (vec![i, i], 1)).collect();
        job.send(0, 9, &rows);
        job.send(1, 9, &rows);
        job.close(9, false);
        bench.closed(&job, 9);
        assert_eq!(job.contents(3, 9).len(), 3000);
    }
}

#[test]
fn shutdown_is_quick_with_rows_under_way() {
    let bench_settings = RuntimeSettings { edge_queue_bytes: 5_000, ..RuntimeSettings::default() };
    let mut bench = Bench::with(2, bench_settings);
    let job = bench.create(1, join_graph(1), 1, Setup::default());
    job.send(0, 1, &Model::new(1).change(3000));
    let started = std::time::Instant::now();
    bench.runtime.shutdown().unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
    assert!(job.inputs[0].is_gone());
}

#[test]
fn a_restored_job_goes_on_with_any_number_of_workers() {
    let (mut a, mut b) = (Model::new(21), Model::new(22));
    let mut disk = Disk::default();
    let mut bench = Bench::new(2);
    let mut job = bench.create(1, join_graph(1), 1, Setup::default());
    let mut epoch = 0;
    for workers in [3, 1, 4, 2] {
        for _ in 0..8 {
            epoch += 1;
            job.send(0, epoch, &a.change(20));
            job.send(1, epoch, &b.change(20));
            job.close(epoch, epoch % 4 == 0);
        }
        bench.store(&job, epoch, &mut disk);
        assert_eq!(job.contents(3, epoch), joined(&a, &b));
        bench.runtime.shutdown().unwrap();
        bench = Bench::new(workers);
        let graph = join_graph(1);
        let views = HashMap::from([(NodeId(3), disk.view(&graph.nodes[3].schema, epoch, workers))]);
        let setup = Setup { views, restore: Some(Arc::new(disk.state())), ..Setup::default() };
        job = bench.create(1, graph, epoch + 1, setup);
        assert!(job.contents(3, epoch) == joined(&a, &b), "contents before the first epoch on {workers} workers");
    }
}

#[test]
fn a_tap_that_comes_too_late_is_refused() {
    let mut bench = Bench::new(1);
    let columns = schema(&["k", "v"]);
    let base = bench.create(1, pass_graph(1, &columns), 1, Setup::default());
    base.send(0, 5, &[(vec![1, 1], 1)]);
    base.close(5, false);
    bench.closed(&base, 5);
    let taps = HashMap::from([(NodeId(0), Arc::clone(&base.views[&NodeId(1)]))]);
    bench.create(2, tap_graph(1, &columns), 3, Setup { taps, ..Setup::default() });
    let failed = |r: &Response| matches!(r, Response::Failed { job: JobId(2), .. });
    bench.wait("refusal", |seen| seen.iter().any(failed));
    base.send(0, 6, &[(vec![1, 1], -1)]);
    base.close(6, false);
    bench.closed(&base, 6);
    assert!(base.contents(1, 6).is_empty());
}
