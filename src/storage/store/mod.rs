//! Stores: sorted maps from bytes to bytes, for state that outgrows memory.

mod failing;
mod memory;
mod rocks;

#[cfg(test)]
mod conformance;

use std::path::Path;

use crate::base::Result;

pub use failing::FailingStore;
pub use memory::MemoryStore;
pub use rocks::RocksStore;

/// Keys and values in ascending order of the keys. Ends after the first error.
pub type StoreEntries<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + 'a>;

/// A sorted map from bytes to bytes on some medium.
///
/// # Contract
/// 1. A batch is applied whole or not at all, its changes in their order; after `write` returned every reader sees it.
///    Else an operator would find half of a row's change.
/// 2. A snapshot sees exactly what was there when it was taken, for as long as it lives. Else a scan would mix epochs.
/// 3. Scans give every key of their range once, ascending as bytes. Else merges lose rows.
/// 4. `ingest` applies a run as if each of its entries had been written now: values replace, deletions delete. It is
///    durable when it returns, takes the run's file by hard link or copy, and never changes or removes it. Else a
///    checkpoint could not be restored twice.
/// 5. What `write` did may be lost in a crash, but only from its end, and never a part of one batch. (State is
///    recovered from runs and the epoch log; a sync per batch would cost a millisecond each.)
/// 6. `copy_to` leaves in a folder that did not exist what the store held, for another store of the same kind to open;
///    later changes of either do not touch the other.
/// 7. `approximate_bytes` may be wrong by what was written but not yet moved to files; it never waits for that.
/// 8. An error leaves the store as it was before the call, or (when writing) unusable with `Unavailable` for good; it
///    is never half changed.
/// 9. Callers give keys of 1 to 65,536 bytes and ranges whose end is above their start; [`MemoryStore`] answers others
///    with `Internal`, so that a test finds them.
pub trait Store: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The values of `keys`, in their order, all as of one moment.
    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Applies a batch.
    fn write(&self, batch: &StoreBatch) -> Result<()>;

    /// The store as it is now.
    fn snapshot(&self) -> Result<Box<dyn StoreSnapshot + '_>>;

    /// Applies the run at `run`.
    fn ingest(&self, run: &Path) -> Result<()>;

    /// Copies the store to the folder `dir`, by hard links where it can.
    fn copy_to(&self, dir: &Path) -> Result<()>;

    /// About how many bytes the keys from `from` up to, not including, `to` take.
    fn approximate_bytes(&self, from: &[u8], to: &[u8]) -> Result<u64>;
}

/// A store as it was at one moment.
pub trait StoreSnapshot: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The entries from `from` up to, not including, `to` (`None`: to the end).
    fn scan(&self, from: &[u8], to: Option<&[u8]>) -> Result<StoreEntries<'_>>;

    /// The entries whose keys begin with `prefix`.
    fn scan_prefix(&self, prefix: &[u8]) -> Result<StoreEntries<'_>> {
        self.scan(prefix, after_prefix(prefix).as_deref())
    }
}

/// Changes that are applied together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreBatch {
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

impl StoreBatch {
    /// No changes.
    pub fn new() -> StoreBatch {
        StoreBatch::default()
    }

    /// Gives `key` the value `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put(key.into(), value.into()));
    }

    /// Deletes `key`; one that is not there is fine.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete(key.into()));
    }

    /// Deletes the keys from `from` up to, not including, `to`.
    pub fn delete_range(&mut self, from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) {
        self.changes.push(Change::DeleteRange(from.into(), to.into()));
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// The smallest key above all that begin with `prefix`; `None` when there is no such key.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut after = prefix.get(..=last)?.to_vec();
    if let Some(byte) = after.last_mut() {
        *byte += 1;
    }
    Some(after)
}
