//! What sessions ask of the coordinator, and what it hears from elsewhere. One queue, so that everything has an order.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use tokio::sync::{oneshot, watch};

use crate::base::{Error, Result};
use crate::catalog::Catalog;
use crate::dataflow::Response;
use crate::dataflow::source::SourceEvent;
use crate::serving::ReadSet;
use crate::state::PublishedView;
use crate::types::{CheckpointId, DeltaBatch, Epoch, RelationId};

use super::coordinator::Written;
use super::ddl::Ddl;

/// The answer to a request.
pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// A question or wish of a session. Each is answered once, or its reply is dropped when the engine stops.
#[derive(Debug)]
pub(super) enum Request {
    /// Accept resolved deltas of tables: all take effect in the epoch that is answered. They are on disk and visible
    /// once a read at that epoch is granted.
    Write {
        /// Deltas by table.
        writes: Vec<(RelationId, DeltaBatch)>,
        /// Gives the epoch.
        reply: Reply<Epoch>,
    },
    /// Read relations together at one epoch, not below `least`.
    Read {
        /// What is read: tables and materialized views, and their late rows and faults.
        relations: Vec<RelationId>,
        /// The oldest epoch that will do.
        least: Epoch,
        /// When to give up and name the relation that lags.
        deadline: Instant,
        /// Gives the epoch and a snapshot per relation, in order.
        reply: Reply<ReadGrant>,
    },
    /// Change the catalog; answered when the change is on disk and its jobs are installed.
    Ddl {
        /// The change.
        ddl: Ddl,
        /// Gives the epoch of the change.
        reply: Reply<Epoch>,
    },
    /// Close the open epoch and wait until every running view has it.
    Flush {
        /// When to give up.
        deadline: Instant,
        /// Gives the epoch.
        reply: Reply<Epoch>,
    },
    /// Wait until relations hold everything that their inputs had at this moment; sinks: until it is delivered.
    WaitFor {
        /// Views, tables or sinks.
        relations: Vec<RelationId>,
        /// Gives the epoch at which they do.
        reply: Reply<Epoch>,
    },
    /// Cut epochs only for FLUSH and DDL from now on, or again by time.
    SetManual(bool),
    /// The present rows of a system view.
    SystemView {
        /// Its name in `ms_catalog`.
        name: String,
        /// Gives them.
        reply: Reply<RecordBatch>,
    },
    /// Stop: checkpoint, then end.
    Shutdown {
        /// Answered when all is on disk.
        reply: Reply<()>,
    },
}

/// Relations at one epoch.
#[derive(Debug)]
pub(super) struct ReadGrant {
    /// The epoch.
    pub epoch: Epoch,
    /// A snapshot per relation asked for.
    pub set: ReadSet,
    /// The published relations themselves, in order.
    pub views: Vec<Arc<PublishedView>>,
    /// The newest epoch at which each of them may be read, as it moves on, in order.
    pub visible: Vec<watch::Receiver<Epoch>>,
}

/// Everything the coordinator hears.
#[derive(Debug)]
pub(super) enum Event {
    /// From a session.
    Request(Request),
    /// From the workers.
    Worker(Response),
    /// Something has happened at a source.
    Source(RelationId, SourceEvent),
    /// The log has the record of this epoch on disk.
    Durable(Epoch),
    /// The log refuses to go on.
    LogStopped(Error),
    /// A checkpoint's files were written, or not.
    CheckpointWritten {
        /// Which.
        id: CheckpointId,
        /// Whether its manifest is published.
        result: Result<Written>,
    },
    /// A batch of a sink has arrived.
    Delivered {
        /// The sink.
        sink: RelationId,
        /// The batch.
        epoch: Epoch,
    },
}

/// The engine's present catalog, for sessions that plan: replaced as a whole, never changed in place.
pub(super) type SharedCatalog = Arc<parking_lot::RwLock<Arc<Catalog>>>;
