//! Runs: immutable sorted files of state rows, written by one worker for one checkpoint.
//!
//! A run is a RocksDB SST file (so that RocksDB can ingest it), written by RocksDB and read by [`RunReader`].
//!
//! *Keys* sort as bytes. The first 12 bytes are fixed by this room, the rest by state:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | job id, u64 big-endian |
//! | 8..12 | node id, u32 big-endian |
//! | 12.. | as state gives it: table (u16 big-endian), key group, key, row |
//!
//! *Values* begin with a tag, so that merged reads are simple: `00` alone says that the key was deleted, `01` that
//! the value follows.

mod compact;
mod merge;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::types::{JobId, NodeId};

pub use compact::{CompactionSettings, compact_runs, runs_to_compact};
pub use merge::{MergedRuns, merge_runs};
pub use reader::{RunReader, RunScan};
pub use writer::{RunSection, RunWriter, write_run};

/// A key and its value; `None` says that the key was deleted.
pub type RunEntry = (Vec<u8>, Option<Vec<u8>>);

/// Entries in ascending order of their keys, each key once. Ends after the first error.
pub type RunEntries = Box<dyn Iterator<Item = Result<RunEntry>> + Send>;

/// What a manifest says of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Its name in the directory's `runs/`.
    pub name: String,
    /// Its size on disk.
    pub bytes: u64,
    /// Its entries, deletions included.
    pub entries: u64,
}

impl RunFile {
    /// What a run of this number is called.
    pub fn name_of(number: u64) -> String {
        format!("{number:020}.sst")
    }

    /// Its number, from its name: later runs have larger ones. 0 for a name that is none of ours.
    pub fn number(&self) -> u64 {
        self.name.strip_suffix(".sst").and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

/// The number of the first run that has rows of a job; what older runs have under its name is of a life before it was
/// filled anew, and is not read. The rows of a job that is not named are not read either.
pub type Horizons = BTreeMap<JobId, u64>;

/// The entries of a run in the folder `dir` that belong to jobs as they are now.
pub fn live_entries(dir: &Path, run: &RunFile, horizons: &Arc<Horizons>) -> Result<RunEntries> {
    let (number, horizons) = (run.number(), Arc::clone(horizons));
    let entries = RunReader::open(&dir.join(&run.name))?.entries();
    Ok(Box::new(entries.filter(move |entry| match entry.as_ref().map(|(key, _)| run_key(key)) {
        Ok(Ok((job, ..))) => horizons.get(&job).is_some_and(|first| *first <= number),
        // Errors are for whoever reads.
        Ok(Err(_)) | Err(_) => true,
    })))
}

/// Bytes of [`run_key_prefix`].
const PREFIX_BYTES: usize = 12;

/// The first bytes of every key of a node's state.
pub fn run_key_prefix(job: JobId, node: NodeId) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    let (head, tail) = prefix.split_at_mut(8);
    head.copy_from_slice(&job.0.to_be_bytes());
    tail.copy_from_slice(&node.0.to_be_bytes());
    prefix
}

/// The parts of a key: job, node, and the rest as state gave it. Fails with `Corrupt` when it is too short.
pub fn run_key(key: &[u8]) -> Result<(JobId, NodeId, &[u8])> {
    let parts = key.split_first_chunk::<8>().and_then(|(job, rest)| Some((job, rest.split_first_chunk::<4>()?)));
    let Some((job, (node, rest))) = parts else {
        return Err(Error::corrupt(format!(
            "key of a state row has {} bytes, at least {PREFIX_BYTES} are needed",
            key.len()
        )));
    };
    Ok((JobId(u64::from_be_bytes(*job)), NodeId(u32::from_be_bytes(*node)), rest))
}

const DELETED: u8 = 0;
const PRESENT: u8 = 1;

/// Writes a value with its tag into `out`.
pub(super) fn tag_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.clear();
    match value {
        None => out.push(DELETED),
        Some(value) => {
            out.push(PRESENT);
            out.extend_from_slice(value);
        }
    }
}

/// The value behind a tag.
pub(super) fn untag_value(tagged: &[u8]) -> Result<Option<&[u8]>> {
    match tagged.split_first() {
        Some((&PRESENT, value)) => Ok(Some(value)),
        Some((&DELETED, [])) => Ok(None),
        Some(_) | None => Err(Error::corrupt("value of a state row does not begin with its tag")),
    }
}
