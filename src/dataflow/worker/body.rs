//! What a subtask calls: an operator with its state, a published view's shard, or a sink's outbox.

use std::rc::Rc;

use super::local::LocalRelation;
use crate::base::{Error, Result};
use crate::dataflow::metrics::SubtaskMetrics;
use crate::dataflow::{Close, OutboxWriter, WorkerCut};
use crate::operators::{EpochEnd, Flow, Operator, Output};
use crate::state::{OperatorState, Read, ShardWriter};
use crate::types::{DeltaBatch, Epoch, NodeId, Weights};

/// As [`Operator`], with what the host does around it.
pub(super) trait Body {
    /// Rows of the open epoch.
    fn on_delta(&mut self, port: usize, batch: &DeltaBatch, out: &mut Output) -> Result<Flow>;

    /// The open epoch ends.
    fn on_epoch_end(&mut self, end: &EpochEnd, checkpoint: bool, out: &mut Output) -> Result<Flow>;

    /// Brings what a `Flow::Fetch` named into memory.
    fn admit(&mut self, reads: &[Read]) -> Result<()>;

    /// A call is done.
    fn settle(&mut self) -> Result<()>;

    /// Adds what changed since the last cut.
    fn cut(&mut self, node: NodeId, cut: &mut WorkerCut);

    /// Notes how much state there is.
    fn measure(&self, metrics: &SubtaskMetrics);
}

/// An operator and its tables.
pub(super) struct OperatorBody {
    pub(super) operator: Box<dyn Operator>,
    pub(super) state: OperatorState,
}

impl Body for OperatorBody {
    fn on_delta(&mut self, port: usize, batch: &DeltaBatch, out: &mut Output) -> Result<Flow> {
        self.operator.on_delta(port, batch, &mut self.state, out)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, _checkpoint: bool, out: &mut Output) -> Result<Flow> {
        self.operator.on_epoch_end(end, &mut self.state, out)
    }

    fn admit(&mut self, reads: &[Read]) -> Result<()> {
        // The memory tier holds every entry: admitting is all there is to a read.
        self.state.admit(reads);
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.state.forget_all();
        self.state.settle()
    }

    fn cut(&mut self, node: NodeId, cut: &mut WorkerCut) {
        let tables = self.state.cut();
        if !tables.is_empty() {
            cut.tables.push((node, tables));
        }
    }

    fn measure(&self, metrics: &SubtaskMetrics) {
        metrics.state_rows.set(self.state.rows() as u64);
        metrics.state_bytes.set(self.state.bytes() as u64);
    }
}

/// A shard of a published view, and the relation inputs on this worker that follow it.
pub(super) struct PublishBody {
    pub(super) writer: ShardWriter,
    pub(super) local: Rc<LocalRelation>,
    pub(super) epoch_deltas: Vec<DeltaBatch>,
}

impl Body for PublishBody {
    fn on_delta(&mut self, _port: usize, batch: &DeltaBatch, _out: &mut Output) -> Result<Flow> {
        self.epoch_deltas.push(batch.clone());
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, checkpoint: bool, _out: &mut Output) -> Result<Flow> {
        let changes = self.writer.close(end.epoch, std::mem::take(&mut self.epoch_deltas))?;
        let watermark = end.watermark(0);
        let close = Close { epoch: end.epoch, watermark, clock_us: end.clock_us, checkpoint };
        self.local.publish(close, changes);
        Ok(Flow::Done)
    }

    fn admit(&mut self, _reads: &[Read]) -> Result<()> {
        Err(Error::internal("a publish node reads no state"))
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    fn cut(&mut self, node: NodeId, cut: &mut WorkerCut) {
        cut.views.push((node, self.writer.cut()));
    }

    fn measure(&self, metrics: &SubtaskMetrics) {
        // Rows are counted for the view as a whole; here only those of the open epoch are held.
        metrics.state_rows.set(self.epoch_deltas.iter().map(DeltaBatch::len).sum::<usize>() as u64);
    }
}

/// A sink's outbox on this worker.
pub(super) struct SinkBody {
    pub(super) writer: Box<dyn OutboxWriter>,
    pub(super) epoch_deltas: Vec<DeltaBatch>,
    /// The epoch up to which nothing is sent: that of the contents a sink of changes only begins with.
    pub(super) unsent: Option<Epoch>,
}

impl Body for SinkBody {
    fn on_delta(&mut self, _port: usize, batch: &DeltaBatch, _out: &mut Output) -> Result<Flow> {
        self.epoch_deltas.push(batch.clone());
        Ok(Flow::Done)
    }

    fn on_epoch_end(&mut self, end: &EpochEnd, checkpoint: bool, _out: &mut Output) -> Result<Flow> {
        let deltas = std::mem::take(&mut self.epoch_deltas);
        if self.unsent.is_some_and(|unsent| end.epoch <= unsent) {
            return self.writer.close(end.epoch, checkpoint).map(|()| Flow::Done);
        }
        if deltas.iter().all(|batch| batch.weights == Weights::Ones) {
            // Nothing can cancel: no row need be looked at.
            deltas.into_iter().try_for_each(|batch| self.writer.push(end.epoch, batch))?;
        } else if let Some(first) = deltas.first() {
            let changes = DeltaBatch::concat(&first.rows.schema(), &deltas)?.consolidate()?;
            if !changes.is_empty() {
                self.writer.push(end.epoch, changes)?;
            }
        }
        self.writer.close(end.epoch, checkpoint)?;
        Ok(Flow::Done)
    }

    fn admit(&mut self, _reads: &[Read]) -> Result<()> {
        Err(Error::internal("a sink node reads no state"))
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    fn cut(&mut self, _node: NodeId, _cut: &mut WorkerCut) {
        // The outbox was cut by the close.
    }

    fn measure(&self, metrics: &SubtaskMetrics) {
        metrics.state_rows.set(self.epoch_deltas.iter().map(DeltaBatch::len).sum::<usize>() as u64);
    }
}
