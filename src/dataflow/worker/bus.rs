//! The command bus: one queue per worker, filled in one order, emptied between steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;

use parking_lot::Mutex;

use super::job::JobPlan;
use crate::types::JobId;

/// What a worker is told to do. Every worker gets the same commands in the same order, so that all build alike.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Build and run a job.
    Create(Arc<JobPlan>),
    /// Take a job down.
    Drop(JobId),
    /// Take all down and end the thread.
    Shutdown,
}

/// The queues of all workers.
#[derive(Debug)]
pub(super) struct Bus {
    lines: Vec<Line>,
    /// Held while a command is handed to all workers: one order everywhere.
    order: Mutex<()>,
}

#[derive(Debug, Default)]
struct Line {
    commands: Mutex<VecDeque<Command>>,
    /// Commands given and not yet executed.
    pending: AtomicUsize,
    thread: OnceLock<Thread>,
}

impl Bus {
    pub(super) fn new(workers: usize) -> Self {
        Bus { lines: (0..workers).map(|_| Line::default()).collect(), order: Mutex::new(()) }
    }

    /// Hands `command` to every worker and wakes them.
    pub(super) fn send(&self, command: &Command) {
        let _one_at_a_time = self.order.lock();
        for line in &self.lines {
            line.pending.fetch_add(1, Ordering::SeqCst);
            line.commands.lock().push_back(command.clone());
            if let Some(thread) = line.thread.get() {
                thread.unpark();
            }
        }
    }

    /// Says that the calling thread is `worker`: it is woken by commands from now on.
    pub(super) fn attach(&self, worker: usize) {
        if let Some(line) = self.lines.get(worker) {
            let _ = line.thread.set(std::thread::current());
        }
    }

    /// The next command for `worker`; [`Bus::executed`] must follow.
    pub(super) fn next(&self, worker: usize) -> Option<Command> {
        self.lines.get(worker)?.commands.lock().pop_front()
    }

    /// The command that [`Bus::next`] gave has been executed.
    pub(super) fn executed(&self, worker: usize) {
        if let Some(line) = self.lines.get(worker) {
            line.pending.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a command waits for `worker`. An input that has taken a message looks here before it acts on it: what
    /// was commanded before the message was sent must happen first.
    pub(super) fn is_pending(&self, worker: usize) -> bool {
        self.lines.get(worker).is_some_and(|line| line.pending.load(Ordering::SeqCst) > 0)
    }
}
