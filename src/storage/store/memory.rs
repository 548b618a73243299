//! A store in memory: the model of the contract, stricter than the real one.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Change, Store, StoreBatch, StoreEntries, StoreSnapshot};
use crate::base::{Error, Result};
use crate::storage::disk::io_error;
use crate::storage::run::{RunReader, RunWriter};

const KEY_BYTES_MAX: usize = 65_536;
/// The one file of a copy.
const COPY: &str = "contents.sst";

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A [`Store`] in memory; nothing of it is on disk unless it is copied.
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: RwLock<Arc<Contents>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// A store with what [`Store::copy_to`] of another one left in `dir`.
    pub fn open(dir: &Path) -> Result<MemoryStore> {
        let store = MemoryStore::new();
        let copy = dir.join(COPY);
        if copy.exists() {
            store.ingest(&copy)?;
        } else if !dir.is_dir() {
            return Err(Error::invalid(format!("\"{}\" holds no copy of a store", dir.display())));
        }
        Ok(store)
    }

    fn now(&self) -> Arc<Contents> {
        Arc::clone(&self.contents.read())
    }
}

fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::internal(format!(
            "key of {} bytes was given to a store; 1 to {KEY_BYTES_MAX} fit",
            key.len()
        )));
    }
    Ok(())
}

fn check_range(from: &[u8], to: &[u8]) -> Result<()> {
    if from >= to {
        return Err(Error::internal("range given to a store does not end above its start"));
    }
    Ok(())
}

impl Change {
    fn check(&self) -> Result<()> {
        match self {
            Change::Put(key, _) | Change::Delete(key) => check_key(key),
            Change::DeleteRange(from, to) => check_range(from, to),
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        check_key(key)?;
        Ok(self.contents.read().get(key).cloned())
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let contents = self.contents.read();
        Ok(keys.iter().map(|&key| contents.get(key).cloned()).collect())
    }

    fn write(&self, batch: &StoreBatch) -> Result<()> {
        batch.changes.iter().try_for_each(Change::check)?;
        let mut contents = self.contents.write();
        // Snapshots keep the old contents.
        let contents = Arc::make_mut(&mut contents);
        for change in &batch.changes {
            match change {
                Change::Put(key, value) => drop(contents.insert(key.clone(), value.clone())),
                Change::Delete(key) => drop(contents.remove(key)),
                Change::DeleteRange(from, to) => contents.retain(|key, _| key < from || key >= to),
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn StoreSnapshot + '_>> {
        Ok(Box::new(MemorySnapshot(self.now())))
    }

    fn ingest(&self, run: &Path) -> Result<()> {
        let entries = RunReader::open(run)?.entries().collect::<Result<Vec<_>>>()?;
        let mut contents = self.contents.write();
        let contents = Arc::make_mut(&mut contents);
        for (key, value) in entries {
            match value {
                Some(value) => drop(contents.insert(key, value)),
                None => drop(contents.remove(&key)),
            }
        }
        Ok(())
    }

    fn copy_to(&self, dir: &Path) -> Result<()> {
        fs::create_dir(dir).map_err(|error| io_error("create", dir, error))?;
        let mut writer = RunWriter::create(dir, COPY)?;
        for (key, value) in self.now().iter() {
            writer.put(key, Some(value))?;
        }
        writer.finish().map(drop)
    }

    fn approximate_bytes(&self, from: &[u8], to: &[u8]) -> Result<u64> {
        check_range(from, to)?;
        let contents = self.contents.read();
        let range = contents.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}

struct MemorySnapshot(Arc<Contents>);

impl StoreSnapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        check_key(key)?;
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>) -> Result<StoreEntries<'_>> {
        if let Some(to) = to {
            check_range(from, to)?;
        }
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.0.range::<[u8], _>((Bound::Included(from), end));
        Ok(Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone())))))
    }
}
