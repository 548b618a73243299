//! A store that fails on order, to prove that its users survive it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Store, StoreBatch, StoreEntries, StoreSnapshot};
use crate::base::{Error, Result};

/// A [`Store`] around another one that answers `Unavailable` from a chosen call on, until it is told otherwise.
/// A call that fails does not reach the store inside.
pub struct FailingStore<S> {
    inner: S,
    order: Arc<Order>,
}

/// How many calls may still succeed; negative: all.
#[derive(Debug)]
struct Order(AtomicI64);

impl Order {
    fn check(&self) -> Result<()> {
        let step = |left: i64| if left > 0 { Some(left - 1) } else { None };
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step) {
            Err(0) => Err(Error::unavailable("store fails on order").with_hint("Only tests order this.")),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl<S: Store> FailingStore<S> {
    /// A store that does what `inner` does.
    pub fn new(inner: S) -> FailingStore<S> {
        FailingStore { inner, order: Arc::new(Order(AtomicI64::new(-1))) }
    }

    /// The next `calls` calls (steps of scans too) succeed, all later ones fail.
    pub fn fail_after(&self, calls: u32) {
        self.order.0.store(i64::from(calls), Ordering::SeqCst);
    }

    /// Calls succeed again.
    pub fn mend(&self) {
        self.order.0.store(-1, Ordering::SeqCst);
    }
}

impl<S: Store> Store for FailingStore<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.order.check()?;
        self.inner.get(key)
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.order.check()?;
        self.inner.multi_get(keys)
    }

    fn write(&self, batch: &StoreBatch) -> Result<()> {
        self.order.check()?;
        self.inner.write(batch)
    }

    fn snapshot(&self) -> Result<Box<dyn StoreSnapshot + '_>> {
        self.order.check()?;
        Ok(Box::new(FailingSnapshot { inner: self.inner.snapshot()?, order: Arc::clone(&self.order) }))
    }

    fn ingest(&self, run: &Path) -> Result<()> {
        self.order.check()?;
        self.inner.ingest(run)
    }

    fn copy_to(&self, dir: &Path) -> Result<()> {
        self.order.check()?;
        self.inner.copy_to(dir)
    }

    fn approximate_bytes(&self, from: &[u8], to: &[u8]) -> Result<u64> {
        self.order.check()?;
        self.inner.approximate_bytes(from, to)
    }
}

struct FailingSnapshot<'a> {
    inner: Box<dyn StoreSnapshot + 'a>,
    order: Arc<Order>,
}

impl StoreSnapshot for FailingSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.order.check()?;
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>) -> Result<StoreEntries<'_>> {
        self.order.check()?;
        let entries = self.inner.scan(from, to)?;
        let mut failed = false;
        Ok(Box::new(entries.map_while(move |entry| {
            if failed {
                return None;
            }
            let entry = self.order.check().and(entry);
            failed = entry.is_err();
            Some(entry)
        })))
    }
}
