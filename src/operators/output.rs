//! What an operator has emitted and its host has not yet carried away.

use std::collections::VecDeque;

use crate::types::DeltaBatch;

/// A queue of (output port, delta batch). Empty batches never enter it.
#[derive(Debug, Default)]
pub struct Output {
    queue: VecDeque<(usize, DeltaBatch)>,
    wake_us: Option<i64>,
}

impl Output {
    /// An empty queue.
    pub fn new() -> Self {
        Output::default()
    }

    /// Emits `batch` on `port`.
    pub fn emit(&mut self, port: usize, batch: DeltaBatch) {
        if !batch.is_empty() {
            self.queue.push_back((port, batch));
        }
    }

    /// Asks for an epoch once the clock has reached `clock_us`, though nothing else happens: at the end of an epoch, for the
    /// time until the end of the next.
    pub fn wake_at(&mut self, clock_us: i64) {
        self.wake_us = Some(self.wake_us.map_or(clock_us, |other| other.min(clock_us)));
    }

    /// The clock reading that was asked for since the last call.
    pub fn take_wake(&mut self) -> Option<i64> {
        self.wake_us.take()
    }

    /// Takes everything out, in the order in which it was emitted.
    pub fn drain(&mut self) -> impl Iterator<Item = (usize, DeltaBatch)> + '_ {
        self.queue.drain(..)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many rows wait.
    pub fn rows(&self) -> usize {
        self.queue.iter().map(|(_, batch)| batch.len()).sum()
    }
}
