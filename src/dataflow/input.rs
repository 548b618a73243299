//! How rows and control enter a job: one queue per (job, input node, worker), crossing from host threads to workers.
//!
//! ```text
//!   host ── send(epoch, batch) ──▶ dealt: in turn, or by key ──▶ queue of worker 0 ─▶ input node on worker 0
//!        ── close / grant ───────▶ to every queue             ──▶ queue of worker 1 ─▶ input node on worker 1
//! ```
//!
//! Deltas are bounded in bytes over all queues of an input; control is never held up. What one thread sends arrives in
//! order on each worker. A command given to the runtime before a message was sent is executed before the worker reads
//! that message.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::base::Result;
use crate::types::{DeltaBatch, Epoch, Watermark, Weights};

use super::deal::{Deal, Dealer};

/// What an input node reads from its queue.
#[derive(Clone, Debug)]
pub enum InputMessage {
    /// Rows of an epoch that this queue has not closed yet.
    Deltas(Epoch, DeltaBatch),
    /// The epoch ends at this input; nothing of it follows.
    Close(Close),
    /// The input was silent: once it has itself closed the second epoch, it may count as closed at the first.
    Grant(Close, Epoch),
    /// No epoch below this one ends here any more: those in between had nothing for this input.
    Skip(Epoch),
}

/// The end of an epoch at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The epoch that ends, and with it every smaller one.
    pub epoch: Epoch,
    /// The input's watermark in it.
    pub watermark: Watermark,
    /// The clock reading of the epoch, in microseconds since 1970.
    pub clock_us: i64,
    /// Whether every operator cuts its state exactly after this epoch. All inputs of a job must say the same.
    pub checkpoint: bool,
}

/// What became of a batch.
#[derive(Clone, Debug)]
#[must_use]
pub enum Sent {
    /// It is queued.
    Accepted,
    /// The queue is full: the batch comes back, to be sent again later.
    Full(DeltaBatch),
    /// The job is gone or has failed: nothing will be read from here any more.
    Gone,
}

/// The host's side of one input of one job. Clones share the queues.
#[derive(Clone, Debug)]
pub struct JobInput {
    shared: Arc<Shared>,
}

/// The workers' side, handed to the runtime with the job. When it and all workers' ends are dropped, every [`Sent`]
/// is a [`Sent::Gone`].
#[derive(Debug)]
pub struct JobInputReceivers {
    ends: Arc<Ends>,
}

/// What the workers' ends share: the last one to go hangs up.
#[derive(Debug)]
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

#[derive(Debug)]
struct Shared {
    dealer: Dealer,
    queues: Vec<Mutex<Queue>>,
    limit_bytes: usize,
    queued_bytes: AtomicUsize,
    gone: AtomicBool,
    /// Set by the workers while the job gives way to its neighbours.
    gives_way: Arc<AtomicBool>,
    /// Held only to sleep and to wake sleepers.
    blocked: Mutex<()>,
    space: Condvar,
    space_async: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(InputMessage, usize)>,
    waker: Option<Waker>,
}

/// The two sides of a new input: a queue per worker, and at most `limit_bytes` of deltas in all of them together (a
/// single larger batch is let in when they are empty).
pub fn job_input(workers: usize, limit_bytes: usize, deal: Deal) -> (JobInput, JobInputReceivers) {
    let shared = Arc::new(Shared {
        dealer: Dealer::new(deal, workers.max(1)),
        queues: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
        limit_bytes,
        queued_bytes: AtomicUsize::new(0),
        gone: AtomicBool::new(false),
        gives_way: Arc::default(),
        blocked: Mutex::new(()),
        space: Condvar::new(),
        space_async: Notify::new(),
    });
    (JobInput { shared: Arc::clone(&shared) }, JobInputReceivers { ends: Arc::new(Ends(shared)) })
}

impl JobInput {
    /// Queues `batch` if there is room now. Fails when its key columns cannot be encoded.
    pub fn try_send(&self, epoch: Epoch, batch: DeltaBatch) -> Result<Sent> {
        if self.is_gone() {
            return Ok(Sent::Gone);
        }
        if batch.is_empty() {
            return Ok(Sent::Accepted);
        }
        if !self.shared.reserve(slice_bytes(&batch)) {
            return Ok(Sent::Full(batch));
        }
        self.shared.push_deltas(epoch, batch)
    }

    /// As [`JobInput::try_send`], but waits up to `timeout` for room. For threads that may block: never on a worker
    /// or an async task.
    pub fn send_blocking(&self, epoch: Epoch, mut batch: DeltaBatch, timeout: Duration) -> Result<Sent> {
        let deadline = Instant::now() + timeout;
        loop {
            batch = match self.try_send(epoch, batch)? {
                Sent::Full(batch) => batch,
                done @ (Sent::Accepted | Sent::Gone) => return Ok(done),
            };
            let mut blocked = self.shared.blocked.lock();
            if self.shared.fits(slice_bytes(&batch)) || self.is_gone() {
                continue;
            }
            if self.shared.space.wait_until(&mut blocked, deadline).timed_out() {
                drop(blocked);
                return self.try_send(epoch, batch);
            }
        }
    }

    /// As [`JobInput::try_send`], but waits for room; never gives [`Sent::Full`].
    pub async fn send(&self, epoch: Epoch, mut batch: DeltaBatch) -> Result<Sent> {
        loop {
            let space = self.shared.space_async.notified();
            tokio::pin!(space);
            space.as_mut().enable();
            batch = match self.try_send(epoch, batch)? {
                Sent::Full(batch) => batch,
                done @ (Sent::Accepted | Sent::Gone) => return Ok(done),
            };
            space.await;
        }
    }

    /// Whether the queues are below their limit.
    pub fn has_room(&self) -> bool {
        self.queued_bytes() < self.shared.limit_bytes.max(1)
    }

    /// Queues `batch` whether there is room or not: for hosts that ask [`JobInput::has_room`] first, and then hand what
    /// belongs together to several jobs. Never gives [`Sent::Full`].
    pub fn send_over(&self, epoch: Epoch, batch: DeltaBatch) -> Result<Sent> {
        if self.is_gone() {
            return Ok(Sent::Gone);
        }
        if batch.is_empty() {
            return Ok(Sent::Accepted);
        }
        self.shared.queued_bytes.fetch_add(slice_bytes(&batch), Ordering::AcqRel);
        self.shared.push_deltas(epoch, batch)
    }

    /// Ends an epoch at this input, on every worker, behind what was sent before.
    pub fn close(&self, close: Close) {
        self.shared.control(|| InputMessage::Close(close));
    }

    /// Lets the input count as closed at `close.epoch` once it has itself closed `after`.
    pub fn grant(&self, close: Close, after: Epoch) {
        self.shared.control(|| InputMessage::Grant(close, after));
    }

    /// Tells that no epoch below `epoch` ends here any more. Rows of `epoch` can be taken from then on; without it, only
    /// when its end is queued, which stands behind all of them.
    pub fn skip_to(&self, epoch: Epoch) {
        self.shared.control(|| InputMessage::Skip(epoch));
    }

    /// Bytes of deltas that wait in the queues.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Acquire)
    }

    /// Whether the job gives way to its neighbours: its rows are costly, it will be behind for long.
    pub fn gives_way(&self) -> bool {
        self.shared.gives_way.load(Ordering::Relaxed)
    }

    /// Whether the job is gone or has failed.
    pub fn is_gone(&self) -> bool {
        self.shared.gone.load(Ordering::Acquire)
    }
}

impl JobInputReceivers {
    /// How many workers it deals to.
    pub fn workers(&self) -> usize {
        self.ends.0.queues.len()
    }

    /// What [`JobInput::gives_way`] reads.
    pub(super) fn giving_way(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ends.0.gives_way)
    }

    /// The queue of `worker`, if it is below [`JobInputReceivers::workers`].
    pub(super) fn receiver(&self, worker: usize) -> Option<InputReceiver> {
        (worker < self.workers()).then(|| InputReceiver { ends: Arc::clone(&self.ends), worker })
    }
}

/// One worker's end of an input.
#[derive(Debug)]
pub(super) struct InputReceiver {
    ends: Arc<Ends>,
    worker: usize,
}

impl InputReceiver {
    /// The oldest message, or `None` after `waker` was left to be woken by the next one.
    pub(super) fn poll(&self, waker: &Waker) -> Option<InputMessage> {
        let (message, bytes) = {
            let mut queue = self.queue().lock();
            let popped = queue.messages.pop_front();
            queue.waker = popped.is_none().then(|| waker.clone());
            popped?
        };
        self.ends.0.release(bytes);
        Some(message)
    }

    /// The first end of an epoch that stands behind rows of later epochs alone, for an input that may send no rows now: a
    /// host may hand over rows of the next epoch before it has told the end of this one, and those rows can be taken
    /// only after it. If the first end of an epoch above `open` stands behind rows of that epoch, it gives a skip to it:
    /// ends ascend, so none of an epoch in between will come. `None` after `waker` was left to be woken by the next message.
    pub(super) fn poll_close(&self, open: Epoch, waker: &Waker) -> Option<InputMessage> {
        let mut queue = self.queue().lock();
        let mut least = Epoch(u64::MAX);
        for at in 0..queue.messages.len() {
            match queue.messages.get(at) {
                Some((InputMessage::Deltas(epoch, _), _)) => least = least.min(*epoch),
                Some((InputMessage::Close(close) | InputMessage::Grant(close, _), _)) if close.epoch < least => {
                    return queue.messages.remove(at).map(|(message, _)| message);
                }
                Some((InputMessage::Skip(epoch), _)) if *epoch <= least => {
                    return queue.messages.remove(at).map(|(message, _)| message);
                }
                Some((InputMessage::Close(close), _)) if close.epoch > open => {
                    return Some(InputMessage::Skip(close.epoch));
                }
                Some((InputMessage::Grant(..), _)) => {}
                Some((InputMessage::Close(_) | InputMessage::Skip(_), _)) | None => break,
            }
        }
        queue.waker = Some(waker.clone());
        None
    }

    /// Puts back a message that must not be read yet.
    pub(super) fn put_back(&self, message: InputMessage) {
        let bytes = message_bytes(&message);
        self.ends.0.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        self.queue().lock().messages.push_front((message, bytes));
    }

    /// Tells the hosts that nothing is read from this input any more, and drops what waits.
    pub(super) fn hang_up(&self) {
        self.ends.0.hang_up();
    }

    fn queue(&self) -> &Mutex<Queue> {
        &self.ends.0.queues[self.worker]
    }
}

impl Shared {
    /// Takes `bytes` of the limit; an empty input takes a batch of any size.
    fn reserve(&self, bytes: usize) -> bool {
        self.queued_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
                (queued == 0 || queued.saturating_add(bytes) <= self.limit_bytes).then_some(queued + bytes)
            })
            .is_ok()
    }

    fn fits(&self, bytes: usize) -> bool {
        let queued = self.queued_bytes.load(Ordering::Acquire);
        queued == 0 || queued.saturating_add(bytes) <= self.limit_bytes
    }

    fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.wake_senders();
        }
    }

    fn wake_senders(&self) {
        drop(self.blocked.lock());
        self.space.notify_all();
        self.space_async.notify_waiters();
    }

    fn push_deltas(&self, epoch: Epoch, batch: DeltaBatch) -> Result<Sent> {
        let reserved = slice_bytes(&batch);
        let parts = self.dealer.deal(batch).inspect_err(|_| self.release(reserved))?;
        for (worker, part) in parts {
            let bytes = slice_bytes(&part);
            self.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
            self.push(worker, InputMessage::Deltas(epoch, part), bytes);
        }
        self.release(reserved);
        Ok(if self.gone.load(Ordering::Acquire) { Sent::Gone } else { Sent::Accepted })
    }

    fn control(&self, message: impl Fn() -> InputMessage) {
        for worker in 0..self.queues.len() {
            self.push(worker, message(), 0);
        }
    }

    fn push(&self, worker: usize, message: InputMessage, bytes: usize) {
        let waker = {
            let mut queue = self.queues[worker].lock();
            if self.gone.load(Ordering::Acquire) {
                drop(queue);
                self.release(bytes);
                return;
            }
            queue.messages.push_back((message, bytes));
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn hang_up(&self) {
        self.gone.store(true, Ordering::Release);
        for queue in &self.queues {
            let dropped = std::mem::take(&mut *queue.lock());
            self.release(dropped.messages.iter().map(|(_, bytes)| bytes).sum());
        }
        self.wake_senders();
    }
}

fn message_bytes(message: &InputMessage) -> usize {
    match message {
        InputMessage::Deltas(_, batch) => slice_bytes(batch),
        InputMessage::Close(_) | InputMessage::Grant(..) | InputMessage::Skip(_) => 0,
    }
}

/// Bytes of the batch's own rows: unlike [`DeltaBatch::bytes`], a slice of a large batch counts only what it shows.
/// Exact to the validity bits; costs a look at each column's type and ends.
pub(super) fn slice_bytes(batch: &DeltaBatch) -> usize {
    let weights = match &batch.weights {
        Weights::Ones => 0,
        Weights::Each(_) => batch.len() * 8,
    };
    (batch.rows.columns().iter().map(column_bytes).sum::<usize>() + weights).max(1)
}

fn column_bytes(column: &ArrayRef) -> usize {
    let rows = column.len();
    let values = if let Some(text) = column.as_string_opt::<i32>() {
        span(text.value_offsets()) + rows * 4
    } else if let Some(bytes) = column.as_binary_opt::<i32>() {
        span(bytes.value_offsets()) + rows * 4
    } else if let Some(width) = column.data_type().primitive_width() {
        rows * width
    } else {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    values + if column.nulls().is_some() { rows.div_ceil(8) } else { 0 }
}

/// How much lies between the first and the last of ascending offsets.
fn span(offsets: &[i32]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => usize::try_from(last - first).unwrap_or(0),
        (None, _) | (_, None) => 0,
    }
}

#[cfg(test)]
mod tests;
