//! What operators and workers count, readable from any thread without asking a worker.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::NodeId;

/// A counter that one worker adds to and anyone reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: u64) {
        // One writer per counter: a load and a store are enough.
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What one subtask has done.
#[derive(Debug, Default)]
pub struct SubtaskMetrics {
    /// Rows that came in on all ports (an input node: from its queue).
    pub rows_in: Counter,
    /// Rows that left on all ports, counted once whoever reads them.
    pub rows_out: Counter,
    /// Microseconds spent in its calls.
    pub busy_us: Counter,
    /// Entries of its state tables.
    pub state_rows: Counter,
    /// Bytes of its state tables.
    pub state_bytes: Counter,
    /// The first epoch it has not ended.
    pub epoch: Counter,
}

/// What a job has done, per node and worker.
#[derive(Debug)]
pub struct JobMetrics {
    workers: usize,
    subtasks: Vec<SubtaskMetrics>,
}

impl JobMetrics {
    pub(super) fn new(nodes: usize, workers: usize) -> Self {
        JobMetrics { workers, subtasks: (0..nodes * workers).map(|_| SubtaskMetrics::default()).collect() }
    }

    /// How many nodes.
    pub fn nodes(&self) -> usize {
        self.subtasks.len() / self.workers.max(1)
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The subtask of `node` on `worker`, if there is one.
    pub fn subtask(&self, node: NodeId, worker: usize) -> Option<&SubtaskMetrics> {
        let index = (node.0 as usize).checked_mul(self.workers)?.checked_add(worker)?;
        (worker < self.workers).then(|| self.subtasks.get(index)).flatten()
    }

    /// The sum over workers of what `read` takes from the subtasks of `node`.
    pub fn sum(&self, node: NodeId, read: impl Fn(&SubtaskMetrics) -> &Counter) -> u64 {
        (0..self.workers).filter_map(|worker| self.subtask(node, worker)).map(|subtask| read(subtask).get()).sum()
    }
}

/// What one worker has done.
#[derive(Debug, Default)]
pub struct WorkerMetrics {
    /// Steps taken.
    pub steps: Counter,
    /// Microseconds spent in operators' calls.
    pub busy_us: Counter,
    /// Jobs installed now.
    pub jobs: Counter,
}
