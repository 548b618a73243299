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
/// A batch of at least so many rows travels as it came.
const LARGE_ROWS: usize = 1024;
/// Smaller ones of an epoch that are read in one burst travel together, up to about so many rows.
const JOINED_ROWS: usize = 4096;

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
    /// Small batches read and not yet sent; sent before the burst ends.
    pub(super) small: Vec<DeltaBatch>,
    pub(super) small_epoch: Epoch,
}

impl Inlet {
    /// Reads a burst.
    pub(super) fn work(&mut self) -> Pause {
        if self.job.is_failed() {
            return Pause::Idle;
        }
        let started = Instant::now();
        let result = guard(|| {
            let pause = self.run()?;
            self.flush()?;
            Ok(pause)
        });
        self.job.was_busy(self.node, started);
        result.context(|| format!("in input node {}", self.node)).unwrap_or_else(|error| {
            self.job.fail(error);
            Pause::Idle
        })
    }

    fn run(&mut self) -> Result<Pause> {
        for _ in 0..BURST {
            if !self.outlets.have_room() {
                if self.tap.is_none() && self.read_close()? {
                    continue;
                }
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
        self.take_message(message)
    }

    /// Ends an epoch whose end stands behind rows that may not be sent now.
    fn read_close(&mut self) -> Result<bool> {
        match self.receiver.poll_close(self.open, self.outlets.waker()) {
            Some(message) => self.take_message(message),
            None => Ok(false),
        }
    }

    fn take_message(&mut self, message: InputMessage) -> Result<bool> {
        if self.bus.is_pending(self.job.worker) {
            // What was commanded before this message was sent must happen first.
            self.receiver.put_back(message);
            self.outlets.waker().wake_by_ref();
            return Ok(false);
        }
        match message {
            InputMessage::Deltas(epoch, batch) if self.tap.is_none() => self.send(epoch, batch)?,
            InputMessage::Deltas(..) => {
                return Err(Error::internal("rows were sent to an input that reads a relation"));
            }
            InputMessage::Close(close) => self.close(close)?,
            InputMessage::Skip(epoch) => self.skip_to(epoch)?,
            InputMessage::Grant(close, after) => {
                self.grants.push_back((close, after));
                self.use_grants()?;
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
                self.close(close)?;
            }
            Tapped::Nothing => {
                let before = self.open;
                self.use_grants()?;
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
        if epoch != self.small_epoch || batch.len() >= LARGE_ROWS {
            self.flush()?;
        }
        if batch.len() >= LARGE_ROWS {
            self.out.emit(MAIN_PORT, batch);
            return self.outlets.send(epoch, &mut self.out);
        }
        self.small_epoch = epoch;
        self.small.push(batch);
        match self.small.iter().map(DeltaBatch::len).sum::<usize>() {
            JOINED_ROWS.. => self.flush(),
            0..JOINED_ROWS => Ok(()),
        }
    }

    /// Sends what was kept to travel together.
    fn flush(&mut self) -> Result<()> {
        let small = std::mem::take(&mut self.small);
        let Some(first) = small.first() else { return Ok(()) };
        let joined = if small.len() == 1 { first.clone() } else { DeltaBatch::concat(&first.rows.schema(), &small)? };
        self.out.emit(MAIN_PORT, joined);
        self.outlets.send(self.small_epoch, &mut self.out)
    }

    fn close(&mut self, close: Close) -> Result<()> {
        self.end(close)?;
        self.use_grants()
    }

    fn end(&mut self, close: Close) -> Result<()> {
        if close.epoch < self.open {
            return Ok(());
        }
        self.flush()?;
        self.job.history.borrow_mut().record(self.node, close);
        self.skip_to(close.epoch.next())
    }

    /// Nothing comes any more of the epochs below `epoch`.
    fn skip_to(&mut self, epoch: Epoch) -> Result<()> {
        if epoch > self.open {
            self.flush()?;
            self.open = epoch;
            self.outlets.advance(self.open);
            self.job.pass(self.node, self.open);
        }
        Ok(())
    }

    fn use_grants(&mut self) -> Result<()> {
        if self.tap.as_ref().is_some_and(|tap| !tap.is_following()) {
            return Ok(());
        }
        while let Some(&(close, after)) = self.grants.front() {
            if close.epoch >= self.open && after >= self.open {
                return Ok(());
            }
            self.grants.pop_front();
            self.end(close)?;
        }
        Ok(())
    }
}
