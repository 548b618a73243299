//! The one process-wide budget of bytes for state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::{Error, Result};

/// Counts the bytes of state in this process against `state_memory_limit`. Shared by all workers; owners report
/// changes in steps, never per row.
#[derive(Debug)]
pub struct MemoryBudget {
    used: AtomicUsize,
    limit: usize,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(MemoryBudget { used: AtomicUsize::new(0), limit })
    }

    /// A budget that is never passed.
    pub fn unlimited() -> Arc<Self> {
        Self::new(usize::MAX)
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Replaces the `before` bytes an owner had reported by `now`. The memory is taken already, so it is counted in
    /// any case; a `Limit` error tells the owner to stop when growing has passed the limit.
    pub fn report(&self, before: usize, now: usize) -> Result<()> {
        if now <= before {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
            return Ok(());
        }
        let grown = now - before;
        let used = self.used.fetch_add(grown, Ordering::Relaxed).saturating_add(grown);
        if used <= self.limit {
            return Ok(());
        }
        Err(Error::limit("state does not fit into memory")
            .with_detail(format!("State needs {used} bytes; state_memory_limit is {} bytes.", self.limit))
            .with_hint("Raise the setting state_memory_limit, or bound the state by a window or a smaller key."))
    }
}

/// What one owner has reported to a budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Account {
    budget: Arc<MemoryBudget>,
    reported: usize,
}

impl Account {
    pub(super) fn new(budget: Arc<MemoryBudget>) -> Self {
        Account { budget, reported: 0 }
    }

    pub(super) fn reported(&self) -> usize {
        self.reported
    }

    /// The owner holds `bytes` now.
    pub(super) fn set(&mut self, bytes: usize) -> Result<()> {
        let before = std::mem::replace(&mut self.reported, bytes);
        self.budget.report(before, bytes)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.reported, Ordering::Relaxed);
    }
}
