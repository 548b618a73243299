//! The driver of a subtask: turns timely's unordered world into the calls that an operator knows.
//!
//! ```text
//!   parcels of any epoch ─▶ waiting[epoch] ─▶ on_delta … ─▶ on_epoch_end ─▶ (cut) ─▶ next epoch
//!                              the frontier says when an epoch has ended on every worker
//! ```
//! Rows of later epochs wait. The capability stands at the open epoch, so whatever goes wrong here, nobody downstream
//! can take the epoch for finished. A subtask works for a slice of time, then lets others run.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Time;
use super::body::Body;
use super::container::Parcel;
use super::exchange::epoch_of;
use super::job::{JobCell, guard};
use super::outlet::Outlets;
use crate::base::{Result, ResultExt};
use crate::dataflow::WatermarkExpr;
use crate::operators::{EpochEnd, Flow, Output};
use crate::types::{DeltaBatch, Epoch, NodeId};

/// How long a subtask works before others get their turn.
const SLICE: Duration = Duration::from_millis(5);
/// Rows that are handed over at once while it is not known what a row costs.
const FIRST_ROWS: usize = 256;
/// However costly rows are, so many are handed over at once.
const LEAST_ROWS: usize = 16;

/// A node with inputs, on one worker.
pub(super) struct Subtask {
    pub(super) job: Rc<JobCell>,
    pub(super) node: NodeId,
    /// What is called; none where the node does not run, or could not be built.
    pub(super) body: Option<Box<dyn Body>>,
    pub(super) above: Vec<NodeId>,
    pub(super) ports: Vec<WatermarkExpr>,
    pub(super) outlets: Outlets,
    open: Epoch,
    waiting: BTreeMap<Epoch, VecDeque<(usize, Parcel)>>,
    cursor: Cursor,
    ending: Option<EpochEnd>,
    out: Output,
}

/// How far the oldest parcel has been handed over: costly rows go in pieces of about a slice of time.
#[derive(Default)]
struct Cursor {
    /// Rows of it that are done.
    done: usize,
    /// The piece that is being handed over, until the operator is done with it.
    piece: Option<DeltaBatch>,
    /// Time spent on this piece.
    spent: Duration,
    /// Seconds per row, as last measured.
    row_cost: Option<f64>,
}

impl Cursor {
    /// The piece of `batch` to hand over, of at most `batch_rows`: the same until [`Cursor::advance`].
    fn piece(&mut self, batch: &DeltaBatch, batch_rows: usize) -> &DeltaBatch {
        let (done, row_cost) = (self.done, self.row_cost);
        self.piece.get_or_insert_with(|| {
            let rest = batch.len().saturating_sub(done);
            let affordable = match row_cost {
                None => FIRST_ROWS,
                // A cast of what is too large saturates.
                Some(cost) => ((SLICE.as_secs_f64() / cost) as usize).max(LEAST_ROWS),
            };
            let rows = if rest <= affordable.saturating_add(affordable / 2) { rest } else { affordable };
            let rows = rows.min(batch_rows);
            if rows == batch.len() { batch.clone() } else { batch.slice(done, rows) }
        })
    }

    /// The operator is done with the piece; true if the batch, of `total` rows, is done with it.
    fn advance(&mut self, total: usize) -> bool {
        let rows = self.piece.take().map_or(0, |piece| piece.len());
        let spent = std::mem::take(&mut self.spent).as_secs_f64();
        if rows > 0 {
            self.row_cost = Some((spent / rows as f64).max(1e-9));
        }
        self.done += rows;
        let finished = rows == 0 || self.done >= total;
        if finished {
            self.done = 0;
        }
        finished
    }
}

/// Why a subtask stopped working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// Nothing to do until rows or a frontier come, or a lane has room.
    Idle,
    /// Its slice is over: it wants to be scheduled again.
    Slice,
    /// Its job gives way to others for so long.
    Yield(Duration),
}

impl Subtask {
    pub(super) fn new(
        job: Rc<JobCell>,
        node: NodeId,
        body: Option<Box<dyn Body>>,
        ports: Vec<WatermarkExpr>,
        outlets: Outlets,
    ) -> Self {
        let above = job.plan.above.get(node.0 as usize).cloned().unwrap_or_default();
        let open = job.plan.create.start;
        let (waiting, out) = (BTreeMap::new(), Output::new());
        let cursor = Cursor::default();
        Subtask { job, node, body, above, ports, outlets, open, waiting, cursor, ending: None, out }
    }

    /// Takes parcels that arrived at input `port`.
    pub(super) fn arrive(&mut self, port: usize, time: Time, parcels: Result<Vec<Parcel>>) {
        let parcels = match parcels {
            Ok(parcels) => parcels,
            Err(error) => return self.job.fail(error),
        };
        let waiting = self.waiting.entry(epoch_of(time)).or_default();
        waiting.extend(parcels.into_iter().map(|parcel| (port, parcel)));
    }

    /// Works for a slice of time. `frontier`: the smallest epoch that may still come at any input; none: nothing.
    pub(super) fn work(&mut self, frontier: Option<Time>) -> Pause {
        if self.job.is_failed() {
            self.discard();
            return Pause::Idle;
        }
        let started = Instant::now();
        if let Some(pause) = self.job.stays_away(started) {
            return Pause::Yield(pause);
        }
        let frontier = frontier.map_or(Epoch(u64::MAX), epoch_of);
        let result = guard(|| self.run(frontier, started + SLICE));
        let job = Rc::clone(&self.job);
        job.was_busy(self.node, started);
        if let (Some(metrics), Some(body)) = (job.metrics(self.node), &self.body) {
            body.measure(metrics);
        }
        result.context(|| self.name()).unwrap_or_else(|error| {
            job.fail(error);
            self.discard();
            Pause::Idle
        })
    }

    fn run(&mut self, frontier: Epoch, deadline: Instant) -> Result<Pause> {
        loop {
            if !self.outlets.have_room() {
                return Ok(Pause::Idle);
            }
            if self.open_row().is_some() {
                self.take_rows()?;
            } else if self.ending.is_some() {
                self.end_epoch()?;
            } else if !self.begin_end(frontier) {
                return Ok(Pause::Idle);
            }
            if Instant::now() >= deadline {
                return Ok(Pause::Slice);
            }
        }
    }

    fn open_row(&self) -> Option<&(usize, Parcel)> {
        self.waiting.get(&self.open)?.front()
    }

    /// Hands the oldest parcel of the open epoch over; it goes when the operator is done with it.
    fn take_rows(&mut self) -> Result<()> {
        let Some((port, parcel)) = self.waiting.get(&self.open).and_then(VecDeque::front) else { return Ok(()) };
        let Some(body) = &mut self.body else {
            return Err(crate::base::Error::internal(format!(
                "rows came to {}, which does not run on worker {}",
                self.node, self.job.worker
            )));
        };
        let since = Instant::now();
        let total = parcel.batch.len();
        let piece = self.cursor.piece(&parcel.batch, self.job.plan.batch_rows);
        let rows = piece.len() as u64;
        let flow = body.on_delta(*port, piece, &mut self.out)?;
        self.outlets.send(self.open, &mut self.out)?;
        self.cursor.spent += since.elapsed();
        match flow {
            Flow::More => return Ok(()),
            Flow::Fetch(reads) => return body.admit(&reads),
            Flow::Done => body.settle()?,
        }
        self.job.plan.share.took(rows);
        if !self.cursor.advance(total) {
            return Ok(());
        }
        let (_, parcel) = self.pop().ok_or_else(|| crate::base::Error::internal("parcel went while it was read"))?;
        if let Some(metrics) = self.job.metrics(self.node) {
            metrics.rows_in.add(parcel.batch.len() as u64);
        }
        self.job.plan.lanes.release(parcel.lane, parcel.charge);
        Ok(())
    }

    fn pop(&mut self) -> Option<(usize, Parcel)> {
        let queue = self.waiting.get_mut(&self.open)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&self.open);
        }
        first
    }

    /// The open epoch has no more rows here: finds the next epoch that has ended, if `frontier` has passed one.
    /// Epochs that no input above has named are skipped: a gap costs no call. False if there is nothing to do now.
    fn begin_end(&mut self, frontier: Epoch) -> bool {
        let history = self.job.history.borrow();
        let named = history.next(&self.above, self.open);
        let next = named.into_iter().chain(self.waiting.keys().next().copied()).min();
        match next.filter(|next| *next < frontier) {
            Some(next) if next > self.open => {
                drop(history);
                self.open_epoch(next);
                true
            }
            Some(next) => {
                self.ending = Some(history.end(&self.above, &self.ports, next));
                true
            }
            None => {
                drop(history);
                if frontier > self.open {
                    self.open_epoch(frontier);
                }
                // Rows of the epoch that is open now may have come before: a sender whose lane they fill waits for them.
                self.open_row().is_some()
            }
        }
    }

    fn end_epoch(&mut self) -> Result<()> {
        let Some(end) = &self.ending else { return Ok(()) };
        let epoch = end.epoch;
        let is_checkpoint = self.job.history.borrow().is_checkpoint(&self.above, epoch);
        if let Some(body) = &mut self.body {
            let flow = body.on_epoch_end(end, is_checkpoint, &mut self.out)?;
            self.outlets.send(self.open, &mut self.out)?;
            match flow {
                Flow::More => return Ok(()),
                Flow::Fetch(reads) => return body.admit(&reads),
                Flow::Done => body.settle()?,
            }
            if is_checkpoint {
                self.job.with_cut(epoch, |cut| body.cut(self.node, cut));
            }
            let wake = self.out.take_wake().filter(|_| self.follows_clock());
            let behind_us = self.ports.first().and_then(WatermarkExpr::behind_clock_us).unwrap_or(0);
            self.job.wake_at(self.node, wake.map(|at| at.saturating_add(behind_us)));
        }
        self.ending = None;
        self.open_epoch(epoch.next());
        Ok(())
    }

    fn follows_clock(&self) -> bool {
        self.job.plan.create.graph.nodes.get(self.node.0 as usize).is_some_and(|node| node.follows_clock())
    }

    fn open_epoch(&mut self, epoch: Epoch) {
        self.open = epoch;
        self.outlets.advance(epoch);
        self.job.pass(self.node, epoch);
    }

    /// Lets go of all that waits: the job has stopped.
    fn discard(&mut self) {
        for (_, parcel) in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.job.plan.lanes.release(parcel.lane, parcel.charge);
        }
        self.out.drain().for_each(drop);
        self.cursor = Cursor::default();
        self.ending = None;
        self.body = None;
    }

    fn name(&self) -> String {
        let node = self.job.plan.create.graph.nodes.get(self.node.0 as usize);
        node.map_or_else(String::new, |node| format!("in node {} \"{}\" ({})", node.id, node.name, node.kind.word()))
    }
}
