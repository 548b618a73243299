//! Floor 2: bytes on disk: the epoch log, runs, manifests and stores. The only room with `rocksdb`.
//!
//! ```text
//! DIR/format        which version wrote this directory, and its incarnation (JSON)
//! DIR/lock          held by the process that uses it; contains its id
//! DIR/log/          the epoch log: segments of frames of cut records              (`log`)
//! DIR/manifest/     one file per checkpoint; the newest one counts                (`manifest`)
//! DIR/runs/         immutable sorted files of state rows, named by the manifest   (`run`)
//! DIR/outbox/       batches that sinks still have to deliver, named by the manifest
//! DIR/secrets/      values of secrets, named by the catalog; mode 0700, files 0600 (`secrets`)
//! DIR/scratch/      wiped at start
//! ```
#![deny(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

mod bytes;
mod cut_record;
mod data_dir;
mod disk;
mod log;
mod manifest;
mod rows;
mod run;
mod scratch;
mod secrets;
mod store;

pub use cut_record::{CutRecord, SourceCut, SplitCut, TableWrites};
pub use data_dir::DataDir;
pub use disk::Disk;
pub use log::{Done, EpochLog, LogReplay, LogSettings};
pub use manifest::{Collectable, JobManifest, Manifest, ManifestStore, NextIds, OutboxManifest};
pub use rows::{decode_rows, encode_rows};
pub use run::{
    CompactionSettings, Horizons, MergedRuns, RunEntries, RunEntry, RunFile, RunReader, RunScan, RunSection, RunWriter,
    compact_runs, live_entries, merge_runs, run_key, run_key_prefix, runs_to_compact, write_run,
};
pub use scratch::ScratchQueue;
pub use secrets::SecretFiles;
pub use store::{FailingStore, MemoryStore, RocksStore, Store, StoreBatch, StoreEntries, StoreSnapshot};
