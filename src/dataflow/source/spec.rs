//! The words between a source's host, the coordinator and the jobs.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::connectors::Source;
use crate::dataflow::{Close, JobInput, Sent};
use crate::formats::Format;
use crate::functions::Expr;
use crate::types::{Column, DeltaBatch, Epoch, Position, RelationId, Schema, SplitId, SqlType, Watermark};

/// Where a host puts what it reads for one job.
///
/// *Contract*
/// 1. No call waits: they are made under the host's lock.
/// 2. `send` and `close` keep their order. `send` takes the batch even without room: the host looks first, and hands over
///    one batch too many rather than half of what belongs to an epoch.
pub trait Inlet: Send + Sync {
    /// Whether the job wants more now.
    fn has_room(&self) -> bool;
    /// Whether the job gives way to others: it is not worth waiting for.
    fn gives_way(&self) -> bool;
    /// Whether the job will not read any more; the host then forgets it.
    fn is_gone(&self) -> bool;
    /// Rows of `epoch`.
    fn send(&self, epoch: Epoch, batch: DeltaBatch);
    /// The end of an epoch.
    fn close(&self, close: Close);
    /// No epoch below this one ends here any more: rows of it may be taken at once.
    fn skip_to(&self, epoch: Epoch);
}

impl Inlet for JobInput {
    fn has_room(&self) -> bool {
        JobInput::has_room(self)
    }

    fn gives_way(&self) -> bool {
        JobInput::gives_way(self)
    }

    fn is_gone(&self) -> bool {
        JobInput::is_gone(self)
    }

    fn send(&self, epoch: Epoch, batch: DeltaBatch) {
        match self.send_over(epoch, batch) {
            Ok(Sent::Accepted | Sent::Full(_) | Sent::Gone) => {}
            // Only an input dealt by key can refuse rows, and those of sources are dealt in turn.
            Err(error) => tracing::error!(%error, "rows of a source could not be dealt to the workers"),
        }
    }

    fn close(&self, close: Close) {
        JobInput::close(self, close);
    }

    fn skip_to(&self, epoch: Epoch) {
        JobInput::skip_to(self, epoch);
    }
}

/// How a source's watermark follows from a row. Columns count in the source's schema.
#[derive(Clone, Debug, PartialEq)]
pub enum WatermarkRule {
    /// A timestamp column less some microseconds: what nearly every source says, without the expression engine.
    Delay {
        /// Index in the source's schema.
        column: usize,
        /// How much is taken off.
        us: i64,
    },
    /// Any expression that gives a timestamp.
    Expression(Expr),
}

/// `name AS expression` in CREATE SOURCE.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Index of the column in the source's schema.
    pub column: usize,
    /// Its value; it may name columns that are not generated themselves.
    pub expr: Expr,
}

/// A source as it is hosted.
pub struct SourceSpec {
    /// Its relation.
    pub relation: RelationId,
    /// Its name, for messages.
    pub name: String,
    /// All its columns; records carry those that are not generated.
    pub schema: Schema,
    /// Its generated columns.
    pub generated: Vec<Generated>,
    /// `WATERMARK FOR`, if declared.
    pub watermark: Option<WatermarkRule>,
    /// Where its records come from.
    pub connector: Arc<dyn Source>,
    /// How they are decoded; none when the connector gives rows.
    pub format: Option<Format>,
    /// Its sizes and times.
    pub settings: HostSettings,
}

/// Sizes and times of a host.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// The most rows of a batch, 512 to 65,536. Default 8,192.
    pub batch_rows: usize,
    /// The longest record. Default 16 MiB.
    pub record_bytes_max: usize,
    /// Bytes read ahead of delivery by one reader. Default 8 MiB.
    pub ahead_bytes: usize,
    /// How long a full job may hold the shared reader while others wait; one that gives way, a tenth of it. Default 1 s.
    pub share_patience: Duration,
    /// How long a split must have nothing before it counts as idle. Default 5 s.
    pub idle_timeout: Duration,
    /// How often a followed split is looked at. Default 50 ms.
    pub poll: Duration,
    /// Rows since the last cut at which the coordinator is told. Default 1,000,000.
    pub epoch_rows: u64,
}

impl Default for HostSettings {
    fn default() -> Self {
        HostSettings {
            batch_rows: 8192,
            record_bytes_max: 16 << 20,
            ahead_bytes: 8 << 20,
            share_patience: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(5),
            poll: Duration::from_millis(50),
            epoch_rows: 1_000_000,
        }
    }
}

/// A place in a split, and its watermark there (microseconds; `i64::MIN` before the first row).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPoint {
    /// The split.
    pub split: SplitId,
    /// How far it was read.
    pub position: Position,
    /// The largest watermark value of the records before.
    pub watermark: Watermark,
}

/// A split in a cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCut {
    /// What belongs to the epoch and those before: everything up to here.
    #[serde(flatten)]
    pub point: SplitPoint,
    /// Whether it did not hold back the merged watermark.
    pub idle: bool,
    /// Whether nothing will come.
    pub ended: bool,
}

/// What one source contributes to a cut: it goes into the epoch log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCut {
    /// The source.
    pub relation: RelationId,
    /// The epoch that it ends.
    pub epoch: Epoch,
    /// Its splits.
    pub splits: Vec<SplitCut>,
    /// The watermark merged over the splits that are not idle; `END` when all have ended.
    pub watermark: Watermark,
    /// Rows in this epoch.
    pub rows: u64,
    /// Undecodable records in this epoch.
    pub faults: u64,
    /// Whether anything moved since the last cut: rows, faults, positions or the watermark.
    pub had_input: bool,
}

/// A cut of the past, as a reader behind it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedCut {
    /// The epoch.
    pub epoch: Epoch,
    /// Up to where it goes; empty if the source had no input in it.
    pub splits: Vec<SplitPoint>,
    /// Its close, once the coordinator has given it.
    pub close: Option<Close>,
}

/// What a subscriber wants of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Columns of the source's schema, then the hidden column `__watermark` if asked for.
    Rows {
        /// Indices in the source's schema.
        columns: Vec<usize>,
        /// Whether the hidden column is wanted.
        watermark: bool,
    },
    /// The records that could not be decoded, as rows of [`source_fault_schema`].
    Faults,
}

/// A job that wants to be fed.
pub struct Attach {
    /// Where to put it.
    pub inlet: Arc<dyn Inlet>,
    /// What.
    pub wanted: Wanted,
    /// From where on; a split that is not named: from its start.
    pub from: Vec<SplitPoint>,
    /// All cuts after `from` up to the newest one, oldest first. Records up to the first one belong to it: for a new job
    /// that is the cut at which it joins, so that all the past is of that epoch.
    pub cuts: Vec<RecordedCut>,
}

/// Names a subscriber of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

/// What a host tells the coordinator; it comes from any thread and must not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// The first input since the last cut has come, or the watermark has moved by idleness: cut when it suits.
    Input,
    /// As many rows as an epoch should have: cut now.
    Full,
    /// All splits have ended: cut, there is a watermark `END` to tell.
    Ended,
    /// The state has changed.
    State,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// No job wants its rows.
    Waiting,
    /// It is being read.
    Running,
    /// It could not be read, and is tried again; with the reason.
    Retrying(String),
    /// It cannot be read any more; with the reason.
    Failed(String),
    /// It was read to its end.
    Finished,
}

/// A split as `ms_sources` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitStats {
    /// The split.
    pub split: SplitId,
    /// How far it was handed over by the shared reader.
    pub position: Position,
    /// Its watermark.
    pub watermark: Watermark,
    /// Whether it is idle.
    pub idle: bool,
    /// Records handed over (rows and faults).
    pub rows_read: u64,
    /// Rows among them.
    pub rows_decoded: u64,
    /// Faults among them.
    pub rows_faulted: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Its state.
    pub state: SourceState,
}

/// A source as `ms_sources` shows it. Counts begin with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStats {
    /// By split.
    pub splits: Vec<SplitStats>,
    /// The merged watermark.
    pub watermark: Watermark,
    /// Jobs fed by the shared reader.
    pub shared: usize,
    /// Jobs read to alone.
    pub alone: usize,
}

/// The columns in which undecodable records are kept.
pub fn source_fault_schema() -> Schema {
    let column = |name: &str, ty| Column { name: name.into(), ty, nullable: false };
    Schema::new(vec![
        column("reason", SqlType::Varchar),
        column("record", SqlType::Bytea),
        column("split", SqlType::Varchar),
        column("position", SqlType::Varchar),
    ])
}

impl SourceSpec {
    /// The columns that records carry, by their index in the schema.
    pub fn carried(&self) -> Vec<usize> {
        let is_generated = |column: &usize| self.generated.iter().any(|generated| generated.column == *column);
        (0..self.schema.columns.len()).filter(|column| !is_generated(column)).collect()
    }

    /// Every split with its start position.
    pub fn start(&self) -> Result<Vec<SplitPoint>> {
        let point = |split: SplitId| {
            let position = self.connector.start(&split)?;
            Ok(SplitPoint { split, position, watermark: Watermark::NONE })
        };
        self.connector.splits()?.into_iter().map(point).collect()
    }
}
