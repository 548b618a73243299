//! Manifests: the small files that name everything in a checkpoint. A checkpoint exists once its manifest is published.
//!
//! A manifest is one line of JSON, `{"format":2,"crc32":"9d5ff411","manifest":{...}}`; the checksum is that of the
//! bytes of the inner object. It is written aside, synced, renamed to `<checkpoint id, 20 digits>.json`, and the
//! folder is synced. Only then are files that the new one no longer names removed, and older manifests with them.
//! So a newest manifest that cannot be read was changed on the disk: that is `Corrupt`, and no older one is taken
//! instead, for the epoch log was trimmed on the word of the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::data_dir::DataDir;
use super::disk::{Disk, io_error};
use super::{Horizons, RunFile, SourceCut};
use crate::base::{Error, Result, ResultExt};
use crate::types::{CheckpointId, Epoch, JobId, RelationId};

const FORMAT: u32 = 2;

/// Everything in one checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its number; every later checkpoint of the directory has a larger one.
    pub checkpoint: u64,
    /// The data directory it belongs to ([`DataDir::incarnation`]); filled in when it is published.
    pub incarnation: String,
    /// All epochs up to this one are in it; the log is replayed after it.
    pub epoch: Epoch,
    /// What `now()` was in that epoch: microseconds since 1970.
    pub clock_us: i64,
    /// All runs, oldest first: a row of a later run replaces that of an earlier one.
    pub runs: Vec<RunFile>,
    /// The jobs that are in it.
    pub jobs: BTreeMap<JobId, JobManifest>,
    /// How far every source was read at `epoch`.
    pub sources: Vec<SourceCut>,
    /// The outboxes of sinks.
    pub outboxes: BTreeMap<RelationId, OutboxManifest>,
    /// The catalog at `epoch`, in its own JSON.
    pub catalog: serde_json::Value,
    /// Numbers not given out yet.
    pub next_ids: NextIds,
}

/// What a checkpoint holds of one job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobManifest {
    /// The epoch of the job's own cut; that of the manifest, unless the job was not running then.
    pub epoch: Epoch,
    /// The number of the first run that can have rows of it. What older runs have under its name is of a life before it
    /// was filled anew.
    pub first_run: u64,
    /// What the engine wants to find again.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub extra: serde_json::Value,
}

/// What a checkpoint holds of one sink's outbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutboxManifest {
    /// Names of the files in the directory's `outbox/`, in order of delivery.
    pub files: Vec<String>,
    /// What the engine wants to find again (bounds of batches, the last delivered).
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub extra: serde_json::Value,
}

/// The smallest numbers that were never given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextIds {
    /// Of relations.
    pub relation: u64,
    /// Of jobs.
    pub job: u64,
    /// Of run files.
    pub run: u64,
    /// Of outbox batches.
    pub batch: u64,
}

impl Manifest {
    /// Its number as an id.
    pub fn id(&self) -> CheckpointId {
        CheckpointId(self.checkpoint)
    }

    /// From which run on the rows of each job count.
    pub fn horizons(&self) -> Horizons {
        self.jobs.iter().map(|(id, job)| (*id, job.first_run)).collect()
    }

    /// Names of all run files it needs.
    fn run_files(&self) -> BTreeSet<&str> {
        self.runs.iter().map(|run| run.name.as_str()).collect()
    }

    /// Names of all outbox files it needs.
    fn outbox_files(&self) -> BTreeSet<&str> {
        self.outboxes.values().flat_map(|outbox| &outbox.files).map(String::as_str).collect()
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let spelled = |error| Error::internal("manifest could not be spelled as JSON").caused_by(error);
        let manifest = serde_json::value::to_raw_value(self).map_err(spelled)?;
        let crc32 = checksum(&manifest);
        serde_json::to_vec(&Envelope { format: FORMAT, crc32, manifest }).map_err(spelled)
    }

    fn decode(bytes: &[u8]) -> Result<Manifest> {
        let unreadable = |error| {
            Error::corrupt("manifest of a checkpoint is not the JSON that was written")
                .with_hint("Restore the data directory from a backup.")
                .caused_by(error)
        };
        let format: FormatOnly = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format.format != FORMAT {
            let found = format.format;
            return Err(Error::corrupt(format!("manifest has format {found}; this program reads format {FORMAT}"))
                .with_hint("Start the version of millstream that wrote this data directory."));
        }
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(unreadable)?;
        if envelope.crc32 != checksum(&envelope.manifest) {
            return Err(Error::corrupt("manifest of a checkpoint does not have its checksum")
                .with_hint("Restore the data directory from a backup."));
        }
        serde_json::from_str(envelope.manifest.get()).map_err(unreadable)
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    format: u32,
    crc32: String,
    manifest: Box<RawValue>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

fn checksum(manifest: &RawValue) -> String {
    format!("{:08x}", crc32fast::hash(manifest.get().as_bytes()))
}

/// The manifests of one data directory and the files they name.
#[derive(Debug)]
pub struct ManifestStore {
    disk: Disk,
    dir: PathBuf,
    runs: PathBuf,
    outbox: PathBuf,
    incarnation: String,
    newest: Option<Manifest>,
}

impl ManifestStore {
    /// Opens the manifests of `dir`, and removes what only a crash can have left: older manifests, and runs and outbox
    /// files that the newest one does not name. Call it before anything writes new runs.
    /// Fails with `Corrupt` when the newest manifest was changed or names a file that is gone.
    pub fn open(dir: &DataDir) -> Result<ManifestStore> {
        Self::open_on(dir, Disk::real())
    }

    /// As [`ManifestStore::open`], over the given file operations.
    pub fn open_on(dir: &DataDir, disk: Disk) -> Result<ManifestStore> {
        let incarnation = dir.incarnation().to_owned();
        let (dir, runs, outbox) = (dir.manifest(), dir.runs(), dir.outbox());
        let mut store = ManifestStore { disk, dir, runs, outbox, incarnation, newest: None };
        store.newest = store.load_newest()?;
        store.sweep()?;
        Ok(store)
    }

    /// The newest published manifest.
    pub fn newest(&self) -> Option<&Manifest> {
        self.newest.as_ref()
    }

    /// Makes `manifest` the newest one; every file it names must be durable before. On an error the old one still
    /// counts, or (when only the last sync of the folder was refused) the new one may: leave the files of both alone,
    /// trim no log, and publish a later one. Files no longer named are removed by [`ManifestStore::collect`].
    pub fn publish(&mut self, mut manifest: Manifest) -> Result<Collectable> {
        if let Some(newest) = &self.newest
            && manifest.checkpoint <= newest.checkpoint
        {
            let (old, new) = (newest.checkpoint, manifest.checkpoint);
            return Err(Error::internal(format!("checkpoint {new} was published after checkpoint {old}")));
        }
        manifest.incarnation.clone_from(&self.incarnation);
        let bytes = manifest.encode()?;
        self.check_files(&manifest)?;
        self.disk.sync_dir(&self.runs)?;
        self.disk.sync_dir(&self.outbox)?;
        self.disk.write_aside(&self.path(manifest.checkpoint), &bytes)?;
        let garbage = match &self.newest {
            Some(old) => self.superseded(old, &manifest),
            None => Vec::new(),
        };
        self.newest = Some(manifest);
        Ok(Collectable { files: garbage })
    }

    /// Removes what a published manifest made superfluous. Readers that have such a file open keep it. A file that
    /// cannot be removed now is removed at the next start.
    pub fn collect(&self, collectable: Collectable) -> Result<()> {
        collectable.files.iter().try_for_each(|path| self.disk.remove(path))
    }

    /// `old` itself, then the files that it names and `new` does not.
    fn superseded(&self, old: &Manifest, new: &Manifest) -> Vec<PathBuf> {
        let runs = old.run_files().difference(&new.run_files()).map(|name| self.runs.join(name)).collect::<Vec<_>>();
        let new_files = new.outbox_files();
        let outbox = old.outbox_files().difference(&new_files).map(|name| self.outbox.join(name)).collect::<Vec<_>>();
        // The old manifest first: it must not stand while files that it names are gone.
        std::iter::once(self.path(old.checkpoint)).chain(runs).chain(outbox).collect()
    }

    fn path(&self, checkpoint: u64) -> PathBuf {
        self.dir.join(format!("{checkpoint:020}.json"))
    }

    fn load_newest(&self) -> Result<Option<Manifest>> {
        let names = names(&self.dir)?;
        let newest = names.iter().filter_map(|name| name.strip_suffix(".json")?.parse::<u64>().ok()).max();
        let Some(newest) = newest else { return Ok(None) };
        let path = self.path(newest);
        let bytes = fs::read(&path).map_err(|error| io_error("read", &path, error))?;
        let place = || format!("in \"{}\"", path.display());
        let manifest = Manifest::decode(&bytes).context(place)?;
        if manifest.checkpoint != newest || manifest.incarnation != self.incarnation {
            return Err(Error::corrupt("manifest belongs to another checkpoint or data directory").context(place()));
        }
        self.check_files(&manifest).context(place)?;
        Ok(Some(manifest))
    }

    fn check_files(&self, manifest: &Manifest) -> Result<()> {
        let runs = manifest.run_files().into_iter().map(|name| self.runs.join(name));
        let outbox = manifest.outbox_files().into_iter().map(|name| self.outbox.join(name));
        match runs.chain(outbox).find(|path| !path.is_file()) {
            None => Ok(()),
            Some(path) => Err(Error::corrupt(format!("a checkpoint names \"{}\", which is not there", path.display()))
                .with_hint("Restore the data directory from a backup.")),
        }
    }

    /// Removes everything that the newest manifest does not name.
    fn sweep(&self) -> Result<()> {
        let (runs, outbox, kept) = match &self.newest {
            Some(newest) => {
                let kept = BTreeSet::from([format!("{:020}.json", newest.checkpoint)]);
                (newest.run_files(), newest.outbox_files(), kept)
            }
            None => (BTreeSet::new(), BTreeSet::new(), BTreeSet::new()),
        };
        self.keep_only(&self.dir, |name| kept.contains(name))?;
        self.keep_only(&self.runs, |name| runs.contains(name))?;
        self.keep_only(&self.outbox, |name| outbox.contains(name))
    }

    fn keep_only(&self, dir: &Path, named: impl Fn(&str) -> bool) -> Result<()> {
        let superfluous = names(dir)?.into_iter().filter(|name| !named(name) && dir.join(name).is_file());
        superfluous.into_iter().try_for_each(|name| self.disk.remove(&dir.join(name)))
    }
}

/// Files that a published manifest made superfluous, to be removed when nobody opens them any more.
#[must_use = "files that no manifest names stay on the disk until the next start"]
#[derive(Debug)]
pub struct Collectable {
    files: Vec<PathBuf>,
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).map_err(|error| io_error("read", dir, error))?;
    entries
        .map(|entry| match entry {
            Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
            Err(error) => Err(io_error("read", dir, error)),
        })
        .collect()
}

#[cfg(test)]
mod tests;
