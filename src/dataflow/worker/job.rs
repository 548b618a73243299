//! A job on one worker: what its subtasks share.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use super::RuntimeSettings;
use super::history::History;
use super::lanes::Lanes;
use super::share::{LOOK_EVERY, Share};
use crate::base::{Error, Result};
use crate::dataflow::input::InputReceiver;
use crate::dataflow::metrics::SubtaskMetrics;
use crate::dataflow::{CreateJob, JobMetrics, JobState, Placement, Response, WorkerCut, WorkerMetrics};
use crate::types::{Epoch, JobId, NodeId};

/// A job as all workers get it: what was asked for and what follows from its graph.
#[derive(Debug)]
pub(super) struct JobPlan {
    pub(super) create: CreateJob,
    /// Per node the input nodes above it.
    pub(super) above: Vec<Vec<NodeId>>,
    /// Per node where it runs.
    pub(super) placements: Vec<Placement>,
    pub(super) lanes: Arc<Lanes>,
    pub(super) metrics: Arc<JobMetrics>,
    /// What it uses of the cores, and may use.
    pub(super) share: Arc<Share>,
    /// Rows that an operator is handed at once, at most.
    pub(super) batch_rows: usize,
    /// Whether it goes on from a checkpoint.
    pub(super) is_restored: bool,
    /// The state to begin with and how many workers have still to load it; goes with the last.
    pub(super) restore: Mutex<(Option<Arc<JobState>>, usize)>,
    /// Timely's identifier after the build on the first worker that built it, plus one; 0 = none yet.
    pub(super) identifier: AtomicUsize,
}

impl JobPlan {
    /// What follows from the graph of `create`, which must have been validated.
    pub(super) fn new(mut create: CreateJob, workers: usize, settings: &RuntimeSettings) -> Self {
        let graph = Arc::clone(&create.graph);
        let is_restored = create.restore.is_some();
        let edges = graph.nodes.iter().map(|node| node.inputs.len()).sum::<usize>();
        JobPlan {
            above: graph.inputs_above(),
            placements: graph.placements(),
            lanes: Arc::new(Lanes::new(edges * workers, settings.edge_queue_bytes)),
            metrics: Arc::new(JobMetrics::new(graph.nodes.len(), workers)),
            restore: Mutex::new((create.restore.take(), workers)),
            share: Arc::default(),
            batch_rows: settings.batch_rows.max(1),
            is_restored,
            identifier: AtomicUsize::new(0),
            create,
        }
    }

    /// One worker has loaded its part of the state.
    pub(super) fn loaded(&self) {
        let mut restore = self.restore.lock();
        restore.1 = restore.1.saturating_sub(1);
        if restore.1 == 0 {
            restore.0 = None;
        }
    }
}

/// The jobs of a worker whose state changed since it last looked.
pub(super) type Changed = Rc<RefCell<Vec<JobId>>>;

/// A job on one worker.
pub(super) struct JobCell {
    pub(super) plan: Arc<JobPlan>,
    pub(super) worker: usize,
    pub(super) history: RefCell<History>,
    /// Per node the first epoch that it has not ended here.
    open: RefCell<Vec<Epoch>>,
    /// Cuts of checkpointed epochs that some node has still to pass.
    cuts: RefCell<BTreeMap<Epoch, WorkerCut>>,
    receivers: RefCell<Vec<Rc<InputReceiver>>>,
    failed: Cell<bool>,
    failure: RefCell<Option<Error>>,
    changed: Changed,
    worker_metrics: Arc<Vec<WorkerMetrics>>,
    /// Since when it leaves this worker to others, and the time in its calls that it pays for so, in microseconds.
    away: Cell<Option<(Instant, u64)>>,
    is_listed: Cell<bool>,
    closed: Cell<Option<Epoch>>,
    /// Per node the clock reading at which it wants an epoch.
    wakes: RefCell<BTreeMap<NodeId, i64>>,
}

impl JobCell {
    pub(super) fn new(
        plan: Arc<JobPlan>,
        worker: usize,
        changed: Changed,
        worker_metrics: Arc<Vec<WorkerMetrics>>,
    ) -> Rc<Self> {
        let open = vec![plan.create.start; plan.create.graph.nodes.len()];
        let mut history = History::default();
        plan.create.known.iter().for_each(|(node, close)| history.record(*node, *close));
        Rc::new(JobCell {
            plan,
            worker,
            history: RefCell::new(history),
            open: RefCell::new(open),
            cuts: RefCell::default(),
            receivers: RefCell::default(),
            failed: Cell::new(false),
            failure: RefCell::new(None),
            changed,
            worker_metrics,
            away: Cell::new(None),
            is_listed: Cell::new(false),
            closed: Cell::new(None),
            wakes: RefCell::default(),
        })
    }

    pub(super) fn id(&self) -> JobId {
        self.plan.create.job
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.get()
    }

    /// Stops the job here: nothing of it is called any more, its inputs are hung up, and its capabilities stay where
    /// they are, so that no worker can finish the epoch.
    pub(super) fn fail(&self, error: Error) {
        if self.failed.replace(true) {
            return;
        }
        for receiver in self.receivers.borrow().iter() {
            receiver.hang_up();
        }
        *self.failure.borrow_mut() = Some(error);
        self.list();
    }

    /// An input's queue, to be hung up when the job fails.
    pub(super) fn add_receiver(&self, receiver: &Rc<InputReceiver>) {
        self.receivers.borrow_mut().push(Rc::clone(receiver));
    }

    /// `node` has ended every epoch below `epoch`.
    pub(super) fn pass(&self, node: NodeId, epoch: Epoch) {
        if let Some(open) = self.open.borrow_mut().get_mut(node.0 as usize)
            && *open < epoch
        {
            *open = epoch;
            self.list();
        }
        if let Some(metrics) = self.metrics(node) {
            metrics.epoch.set(epoch.0);
        }
    }

    /// `node` wants an epoch at this clock reading.
    pub(super) fn wake_at(&self, node: NodeId, clock_us: Option<i64>) {
        match clock_us {
            Some(clock_us) => drop(self.wakes.borrow_mut().insert(node, clock_us)),
            None => drop(self.wakes.borrow_mut().remove(&node)),
        }
    }

    /// The cut of `epoch`, to add to.
    pub(super) fn with_cut(&self, epoch: Epoch, add: impl FnOnce(&mut WorkerCut)) {
        add(self.cuts.borrow_mut().entry(epoch).or_default());
    }

    pub(super) fn metrics(&self, node: NodeId) -> Option<&SubtaskMetrics> {
        self.plan.metrics.subtask(node, self.worker)
    }

    /// Notes time spent in the calls of `node`.
    pub(super) fn was_busy(&self, node: NodeId, since: Instant) {
        let us = since.elapsed().as_micros() as u64;
        if let Some(metrics) = self.metrics(node) {
            metrics.busy_us.add(us);
        }
        if let Some(metrics) = self.worker_metrics.get(self.worker) {
            metrics.busy_us.add(us);
        }
        self.plan.share.was_busy(us);
        let (from, owed) = self.away.get().unwrap_or_else(|| (Instant::now(), 0));
        self.away.set(Some((from, owed.saturating_add(us))));
    }

    /// For how long, from `now` on, it still leaves this worker to others. Not beyond the next look at the shares: when
    /// its neighbours have stopped, it goes on at once.
    pub(super) fn stays_away(&self, now: Instant) -> Option<Duration> {
        let (from, owed) = self.away.get()?;
        let left = self.plan.share.pause_after(owed).saturating_sub(now.saturating_duration_since(from));
        if left.is_zero() {
            self.away.set(None);
            return None;
        }
        Some(left.min(LOOK_EVERY))
    }

    fn list(&self) {
        if !self.is_listed.replace(true) {
            self.changed.borrow_mut().push(self.id());
        }
    }

    /// Tells the coordinator what has happened since the last call: cuts, then the newest closed epoch, then failure.
    pub(super) fn report(&self, responses: &UnboundedSender<Response>) {
        self.is_listed.set(false);
        let (job, worker) = (self.id(), self.worker);
        if let Some(error) = self.failure.borrow_mut().take() {
            let error = error.context(format!("in job {job} on worker {worker}"));
            let _ = responses.send(Response::Failed { job, worker, error });
        }
        if self.is_failed() {
            return;
        }
        let open = self.open.borrow().iter().min().copied().unwrap_or_default();
        let mut history = self.history.borrow_mut();
        for epoch in history.checkpoints_below(open) {
            let cut = self.cuts.borrow_mut().remove(&epoch).unwrap_or_default();
            let _ = responses.send(Response::Cut { job, worker, epoch, cut });
        }
        let newest = history.newest_below(open);
        if newest > self.closed.get() {
            self.closed.set(newest);
            if let Some(epoch) = newest {
                let wake_us = self.wakes.borrow().values().min().copied();
                let _ = responses.send(Response::Closed { job, worker, epoch, wake_us });
            }
        }
        history.trim(open);
    }
}

/// Calls `work`; a panic in it becomes an `Internal` error, so that it stops one job and not the worker.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => Err(Error::internal("operator panicked")
            .with_detail(format!("{}.", panic_text(&*payload)))
            .with_hint("This is a defect of millstream: report it. DROP the view or sink; other jobs go on.")),
    }
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
