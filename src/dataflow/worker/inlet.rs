//! The driver of an input node: host messages, or the tap of a relation, become rows and ended epochs.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::bus::Bus;
use super::job::{JobCell, guard};
use super::outlet::Outlets;
use super::subtask::Pause;
use super::tap::{Tap, Tapped};
use crate::base::{Error, Result, ResultExt};
use crate::dataflow::input::InputReceiver;
use crate::dataflow::{Close, InputMessage};
use crate::operators::{MAIN_PORT, Output};
use crate::types::{DeltaBatch, Epoch, NodeId};

/// Messages that are read before others get their turn: enough that a burst shares its scheduling.
const BURST: usize = 16;

/// A source or relation node on one worker.
pub(super) struct Inlet {
    pub(super) job: Rc<JobCell>,
    pub(super) node: NodeId,
    pub(super) receiver: Rc<InputReceiver>,
    pub(super) bus: Arc<Bus>,
    pub(super) outlets: Outlets,
    /// Of a relation input.
    pub(super) tap: Option<Tap>,
    /// The first epoch that this input has not ended.
    pub(super) open: Epoch,
    /// Grants that wait for an epoch to end.
    pub(super) grants: VecDeque<(Close, Epoch)>,
    pub(super) out: Output,
}

impl Inlet {
    /// Reads a burst.
    pub(super) fn work(&mut self) -> Pause {
        if self.job.is_failed() {
            return Pause::Idle;
        }
        let started = Instant::now();
        let result = guard(|| self.run());
        self.job.was_busy(self.node, started);
        result.context(|| format!("in input node {}", self.node)).unwrap_or_else(|error| {
            self.job.fail(error);
            Pause::Idle
        })
    }

    fn run(&mut self) -> Result<Pause> {
        for _ in 0..BURST {
            if !self.outlets.have_room() {
                return Ok(Pause::Idle);
            }
            let progress = if self.tap.is_some() {
                // Grants first: one sent before the relation's next epoch was cut must be seen before that epoch.
                while self.read_message()? {}
                self.read_tap()?
            } else {
                self.read_message()?
            };
            if !progress {
                return Ok(Pause::Idle);
            }
        }
        Ok(Pause::Slice)
    }

    fn read_message(&mut self) -> Result<bool> {
        let Some(message) = self.receiver.poll(self.outlets.waker()) else { return Ok(false) };
        if self.bus.is_pending(self.job.worker) {
            // What was commanded before this message was sent must happen first.
            self.receiver.put_back(message);
            self.outlets.waker().wake_by_ref();
            return Ok(false);
        }
        match message {
            InputMessage::Deltas(epoch, batch) if self.tap.is_none() => self.send(epoch, batch)?,
            InputMessage::Deltas(..) => return Err(Error::internal("rows were sent to an input that reads a relation")),
            InputMessage::Close(close) => self.close(close),
            InputMessage::Grant(close, after) => {
                self.grants.push_back((close, after));
                self.use_grants();
            }
        }
        Ok(true)
    }

    fn read_tap(&mut self) -> Result<bool> {
        let Some(tap) = &mut self.tap else { return Ok(false) };
        match tap.next(&self.grants)? {
            Tapped::Deltas(epoch, batches) => batches.into_iter().try_for_each(|batch| self.send(epoch, batch))?,
            Tapped::Closed(close, batches) => {
                batches.into_iter().try_for_each(|batch| self.send(close.epoch, batch))?;
                self.close(close);
            }
            Tapped::Nothing => {
                let before = self.open;
                self.use_grants();
                return Ok(self.open > before);
            }
        }
        Ok(true)
    }

    fn send(&mut self, epoch: Epoch, batch: DeltaBatch) -> Result<()> {
        if epoch < self.open {
            return Err(Error::internal(format!("rows of epoch {epoch} came after it had ended")));
        }
        if let Some(metrics) = self.job.metrics(self.node) {
            metrics.rows_in.add(batch.len() as u64);
        }
        self.out.emit(MAIN_PORT, batch);
        self.outlets.send(epoch, &mut self.out)
    }

    fn close(&mut self, close: Close) {
        self.end(close);
        self.use_grants();
    }

    fn end(&mut self, close: Close) {
        if close.epoch < self.open {
            return;
        }
        self.job.history.borrow_mut().record(self.node, close);
        self.open = close.epoch.next();
        self.outlets.advance(self.open);
        self.job.pass(self.node, self.open);
    }

    fn use_grants(&mut self) {
        if self.tap.as_ref().is_some_and(|tap| !tap.is_following()) {
            return;
        }
        while let Some(&(close, after)) = self.grants.front() {
            if close.epoch >= self.open && after >= self.open {
                return;
            }
            self.grants.pop_front();
            self.end(close);
        }
    }
}
