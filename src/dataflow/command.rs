//! Commands (coordinator → workers) and responses (workers → coordinator): closed enums, told by who sends what when.
//!
//! | from | what | when |
//! |---|---|---|
//! | coordinator | [`CreateJob`] | a graph is to run; each worker answers `Created` |
//! | coordinator | drop | a job is to go, running or failed; each worker answers `Dropped` |
//! | worker | `Closed` | every node of the job has ended every epoch up to this one, here; later ones imply earlier ones |
//! | worker | `Cut` | as `Closed`, for an epoch flagged `checkpoint`: the state exactly after it; once per worker and epoch, before its `Closed` |
//! | worker | `Failed` | an operator gave an error or panicked: the job has stopped here, at most once per worker |
//! | worker | `WorkerDied` | the thread has ended without being told to; the runtime must be restarted |
//!
//! Commands are executed on each worker in the order in which they were given, between two steps of its dataflows, and
//! before any input message that was sent after them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Close, Graph, JobInputReceivers};
use crate::base::{Error, Result};
use crate::state::{PublishedView, TableCut, ViewCut};
use crate::types::{DeltaBatch, Epoch, JobId, NodeId};

/// Everything that workers need to run a graph.
#[derive(Debug)]
pub struct CreateJob {
    /// Names it for ever.
    pub job: JobId,
    /// What runs.
    pub graph: Arc<Graph>,
    /// The first epoch it may produce. A new job gets the snapshot of each relation input in this epoch; a restored
    /// one gets only the changes from this epoch on.
    pub start: Epoch,
    /// The queue of every input node. That of a relation input carries only grants.
    pub inputs: HashMap<NodeId, JobInputReceivers>,
    /// The published view that each relation input reads.
    pub taps: HashMap<NodeId, Arc<PublishedView>>,
    /// The view that each publish node fills; with as many shards as there are workers. Of a restored job it holds
    /// already what it held at the checkpoint.
    pub publish: HashMap<NodeId, Arc<PublishedView>>,
    /// The outbox of each sink node.
    pub sinks: HashMap<NodeId, SinkOutbox>,
    /// How far each input had come before `start`, if the job is restored: the watermark of one that says nothing more.
    pub known: HashMap<NodeId, Close>,
    /// The state to begin with, if the job is restored from a checkpoint of the epoch before `start`.
    pub restore: Option<Arc<JobState>>,
}

/// What a worker tells the coordinator.
#[derive(Debug)]
pub enum Response {
    /// The job is installed and reads its inputs.
    Created {
        /// Which job.
        job: JobId,
        /// Which worker.
        worker: usize,
    },
    /// Every node of the job has ended every epoch up to this one on this worker.
    Closed {
        /// Which job.
        job: JobId,
        /// Which worker.
        worker: usize,
        /// The newest such epoch.
        epoch: Epoch,
        /// When the job wants to see an epoch though nothing else happens: a clock reading.
        wake_us: Option<i64>,
    },
    /// The job has stopped on this worker; all its workers stop at the epoch it could not finish.
    Failed {
        /// Which job.
        job: JobId,
        /// Which worker.
        worker: usize,
        /// Why.
        error: Error,
    },
    /// The changed state of the job on this worker exactly after a checkpointed epoch.
    Cut {
        /// Which job.
        job: JobId,
        /// Which worker.
        worker: usize,
        /// The checkpointed epoch.
        epoch: Epoch,
        /// What changed since the last cut.
        cut: WorkerCut,
    },
    /// The job is gone from this worker.
    Dropped {
        /// Which job.
        job: JobId,
        /// Which worker.
        worker: usize,
    },
    /// The worker's thread has ended unasked: no job makes progress any more.
    WorkerDied {
        /// Which worker.
        worker: usize,
    },
}

/// The state of one job on one worker that changed since the last cut.
#[derive(Debug, Default)]
pub struct WorkerCut {
    /// Per stateful operator its changed tables.
    pub tables: Vec<(NodeId, Vec<TableCut>)>,
    /// Per publish node the changes of its shard.
    pub views: Vec<(NodeId, ViewCut)>,
}

/// The stored state of a job, of all its former workers together; each worker loads what it owns now.
#[derive(Clone, Debug, Default)]
pub struct JobState {
    tables: HashMap<(NodeId, u16), StoredEntries>,
}

impl JobState {
    /// No entries.
    pub fn new() -> Self {
        JobState::default()
    }

    /// The entries of table `table` of node `node`, to be filled.
    pub fn table_mut(&mut self, node: NodeId, table: u16) -> &mut StoredEntries {
        self.tables.entry((node, table)).or_default()
    }

    /// The entries of table `table` of node `node`, if there are any.
    pub fn table(&self, node: NodeId, table: u16) -> Option<&StoredEntries> {
        self.tables.get(&(node, table))
    }

    /// How many entries in all.
    pub fn entries(&self) -> usize {
        self.tables.values().map(StoredEntries::len).sum()
    }
}

/// Stored (key, value) pairs, packed. The key begins with its key group. A later entry replaces an earlier one.
#[derive(Clone, Debug, Default)]
pub struct StoredEntries {
    data: Vec<u8>,
    /// Per entry the ends of its key and of its value in `data`.
    ends: Vec<(usize, usize)>,
}

impl StoredEntries {
    /// Adds an entry.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.data.extend_from_slice(key);
        let key_end = self.data.len();
        self.data.extend_from_slice(value);
        self.ends.push((key_end, self.data.len()));
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All (key, value) in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, end)| {
            let entry = (&self.data[start..key_end], &self.data[key_end..end]);
            start = end;
            entry
        })
    }
}

/// Where a sink node on one worker puts the changes of each epoch.
///
/// # Contract
///
/// 1. Calls come from one worker thread: epochs ascending, `push` before the `close` of its epoch, no push of a closed
///    epoch. An epoch without changes may be closed without a push, or left out.
/// 2. An epoch comes in one batch or several; together they are consolidated: a row that came and went within the
///    epoch is in none.
/// 3. Neither call blocks or touches disk or network: they hand over and return, else every job of the worker waits.
/// 4. An `Err` stops the job.
pub trait OutboxWriter: Send {
    /// Changes of `epoch`.
    fn push(&mut self, epoch: Epoch, batch: DeltaBatch) -> Result<()>;

    /// Nothing of `epoch` follows; `checkpoint`: the outbox is cut here.
    fn close(&mut self, epoch: Epoch, checkpoint: bool) -> Result<()>;
}

/// The outbox of one sink node: a writer per worker.
pub struct SinkOutbox {
    writers: Mutex<Vec<Option<Box<dyn OutboxWriter>>>>,
}

impl SinkOutbox {
    /// An outbox with one writer per worker, in their order.
    pub fn new(writers: Vec<Box<dyn OutboxWriter>>) -> Self {
        SinkOutbox { writers: Mutex::new(writers.into_iter().map(Some).collect()) }
    }

    /// How many writers there were.
    pub fn workers(&self) -> usize {
        self.writers.lock().len()
    }

    /// The writer of `worker`; each can be taken once.
    pub(super) fn take(&self, worker: usize) -> Option<Box<dyn OutboxWriter>> {
        self.writers.lock().get_mut(worker).and_then(Option::take)
    }
}

impl fmt::Debug for SinkOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkOutbox").field("workers", &self.workers()).finish()
    }
}
