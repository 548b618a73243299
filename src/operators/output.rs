//! What an operator has emitted and its host has not yet carried away.

use std::collections::VecDeque;

use crate::types::DeltaBatch;

/// A queue of (output port, delta batch). Empty batches never enter it.
#[derive(Debug, Default)]
pub struct Output {
    queue: VecDeque<(usize, DeltaBatch)>,
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
