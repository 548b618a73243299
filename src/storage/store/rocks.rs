//! The store on disk: RocksDB.
//!
//! Values carry the tag of runs (`01`, or `00` for a deletion that was ingested), so that runs are ingested as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, DB, DBCompressionType, IngestExternalFileOptions, IteratorMode, Options, Range, ReadOptions,
    WriteBatch,
};

use super::{Change, Store, StoreBatch, StoreEntries, StoreSnapshot};
use crate::base::{Error, Result};
use crate::storage::disk::io_error;
use crate::storage::run::{tag_value, untag_value};

/// A [`Store`] in a folder of its own.
pub struct RocksStore {
    db: DB,
    dir: PathBuf,
    /// Numbers the links through which runs are ingested.
    links: AtomicU64,
}

impl RocksStore {
    /// Opens the store in the folder `dir`, or makes it.
    pub fn open(dir: &Path) -> Result<RocksStore> {
        let mut table = BlockBasedOptions::default();
        table.set_bloom_filter(10.0, false);
        table.set_block_size(16 << 10);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_keep_log_file_num(1);
        options.set_max_background_jobs(2);
        let db = DB::open(&options, dir).map_err(|error| store_error(dir, &error))?;
        Ok(RocksStore { db, dir: dir.to_path_buf(), links: AtomicU64::new(0) })
    }

    fn failed(&self, error: rocksdb::Error) -> Error {
        store_error(&self.dir, &error)
    }
}

fn store_error(dir: &Path, error: &rocksdb::Error) -> Error {
    let message = format!("store \"{}\" stopped: {error}", dir.display());
    match error.kind() {
        rocksdb::ErrorKind::Corruption => {
            Error::corrupt(message).with_hint("Remove the folder; its contents are read from the newest checkpoint.")
        }
        _ => Error::unavailable(message)
            .with_code(crate::base::sqlstate::IO_ERROR)
            .with_hint("Make room on this disk or look at its health, then start millstream again."),
    }
}

/// What a tagged value says: deletions of ingested runs are absent keys.
fn present(tagged: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match tagged {
        None => Ok(None),
        Some(tagged) => Ok(untag_value(&tagged)?.map(<[u8]>::to_vec)),
    }
}

impl Store for RocksStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        present(self.db.get(key).map_err(|error| self.failed(error))?)
    }

    fn multi_get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        // A snapshot, for RocksDB promises one moment only within a column family's memtable.
        let values = self.db.snapshot().multi_get(keys);
        values.into_iter().map(|value| present(value.map_err(|error| self.failed(error))?)).collect()
    }

    fn write(&self, batch: &StoreBatch) -> Result<()> {
        let mut writes = WriteBatch::default();
        let mut tagged = Vec::new();
        for change in &batch.changes {
            match change {
                Change::Put(key, value) => {
                    tag_value(&mut tagged, Some(value));
                    writes.put(key, &tagged);
                }
                Change::Delete(key) => writes.delete(key),
                Change::DeleteRange(from, to) => writes.delete_range(from, to),
            }
        }
        self.db.write(writes).map_err(|error| self.failed(error))
    }

    fn snapshot(&self) -> Result<Box<dyn StoreSnapshot + '_>> {
        Ok(Box::new(RocksSnapshot { snapshot: self.db.snapshot(), store: self }))
    }

    fn ingest(&self, run: &Path) -> Result<()> {
        let link = self.dir.join(format!("ingest-{}.link", self.links.fetch_add(1, Ordering::Relaxed)));
        let linked = fs::hard_link(run, &link).is_ok();
        let mut options = IngestExternalFileOptions::default();
        // RocksDB moves the link away and leaves the run alone; across file systems it copies.
        options.set_move_files(linked);
        let path = if linked { &link } else { run };
        let ingested = self.db.ingest_external_file_opts(&options, vec![path]).map_err(|error| self.failed(error));
        if linked && link.exists() {
            fs::remove_file(&link).map_err(|error| io_error("remove", &link, error))?;
        }
        ingested
    }

    fn copy_to(&self, dir: &Path) -> Result<()> {
        let checkpoint = Checkpoint::new(&self.db).map_err(|error| self.failed(error))?;
        checkpoint.create_checkpoint(dir).map_err(|error| self.failed(error))
    }

    fn approximate_bytes(&self, from: &[u8], to: &[u8]) -> Result<u64> {
        Ok(self.db.get_approximate_sizes(&[Range::new(from, to)]).into_iter().sum())
    }
}

struct RocksSnapshot<'a> {
    snapshot: rocksdb::Snapshot<'a>,
    store: &'a RocksStore,
}

impl StoreSnapshot for RocksSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        present(self.snapshot.get(key).map_err(|error| self.store.failed(error))?)
    }

    fn scan(&self, from: &[u8], to: Option<&[u8]>) -> Result<StoreEntries<'_>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let entries = self.snapshot.iterator_opt(IteratorMode::Start, options);
        Ok(Box::new(entries.filter_map(move |entry| match entry {
            Err(error) => Some(Err(self.store.failed(error))),
            Ok((key, tagged)) => match untag_value(&tagged) {
                Ok(value) => value.map(|value| Ok((key.into_vec(), value.to_vec()))),
                Err(error) => Some(Err(error)),
            },
        })))
    }
}
