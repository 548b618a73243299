//! Writing a checkpoint, on a thread of its own: one run with the changes of all jobs, the outboxes, the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::VIEW_TABLE;
use super::sinks::{FixedBatch, OutboxCut};
use crate::base::Result;
use crate::base::telemetry::{Phase, phase};
use crate::catalog::Catalog;
use crate::dataflow::WorkerCut;
use crate::storage::{
    CompactionSettings, Horizons, JobManifest, Manifest, ManifestStore, RunFile, RunSection, compact_runs,
    run_key_prefix, runs_to_compact, write_run,
};
use crate::types::{Epoch, JobId, NodeId};

/// What a published checkpoint leaves behind.
#[derive(Debug)]
pub(in crate::engine) struct Written {
    pub(super) runs: Vec<RunFile>,
    pub(super) jobs: BTreeMap<JobId, JobManifest>,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) outboxes: Vec<FixedBatch>,
}

/// Everything that the writing thread needs.
pub(super) struct Writer {
    pub(super) store: Arc<Mutex<ManifestStore>>,
    pub(super) runs_dir: std::path::PathBuf,
    pub(super) outbox_dir: std::path::PathBuf,
    pub(super) outboxes: Vec<OutboxCut>,
    /// Oldest first.
    pub(super) runs: Vec<RunFile>,
    pub(super) next_run: u64,
    /// From which run on the rows of each job count.
    pub(super) horizons: Arc<Horizons>,
    pub(super) manifest: Manifest,
    pub(super) catalog: Arc<Catalog>,
    pub(super) cuts: Vec<(JobId, BTreeMap<Epoch, Vec<WorkerCut>>)>,
}

impl Writer {
    /// Writes the run and publishes the manifest.
    pub(super) fn write(mut self) -> Result<Written> {
        phase(Phase::RunWrite);
        let (mut bytes, mut rows) = (0, 0);
        let sections = sections(std::mem::take(&mut self.cuts))?;
        if let Some(run) = write_run(&self.runs_dir, &RunFile::name_of(self.next_run), sections)? {
            (bytes, rows) = (run.bytes, run.entries);
            self.runs.push(run);
        }
        if let Some(range) = runs_to_compact(&self.runs, CompactionSettings::default()) {
            let with_oldest = range.start == 0;
            let name = RunFile::name_of(self.next_run + 1);
            let part = self.runs.get(range.clone()).unwrap_or_default();
            let compacted = compact_runs(&self.runs_dir, part, &name, with_oldest, &self.horizons)?;
            self.runs.splice(range, compacted);
        }
        // What only jobs have that are gone, or were filled anew, needs nobody.
        let first = self.horizons.values().copied().min().unwrap_or(u64::MAX);
        self.runs.retain(|run| run.number() >= first);
        self.manifest.runs.clone_from(&self.runs);
        let mut fixed = Vec::new();
        for outbox in std::mem::take(&mut self.outboxes) {
            let (sink, manifest, batch) = outbox.write(&self.outbox_dir)?;
            self.manifest.outboxes.insert(sink, manifest);
            fixed.push(batch);
        }
        self.manifest.catalog = self.catalog.to_json()?;
        phase(Phase::ManifestWrite);
        let jobs = self.manifest.jobs.clone();
        let mut store = self.store.lock();
        let garbage = store.publish(self.manifest)?;
        if let Err(error) = store.collect(garbage) {
            tracing::warn!(%error, "a file that no checkpoint needs could not be removed; it is tried again at start");
        }
        Ok(Written { runs: self.runs, jobs, bytes, rows, outboxes: fixed })
    }
}

type Section = RunSection<Vec<u8>, Vec<u8>>;
/// Changed rows of one table: key and value, no value where the row is gone.
type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The changes of all jobs by node and table, later cuts behind earlier ones.
fn sections(cuts: Vec<(JobId, BTreeMap<Epoch, Vec<WorkerCut>>)>) -> Result<Vec<Section>> {
    let mut sections: BTreeMap<(JobId, NodeId, u16), Entries> = BTreeMap::new();
    for (job, epochs) in cuts {
        for cut in epochs.into_values().flatten() {
            for (node, tables) in cut.tables {
                for table in tables {
                    let entries = table.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
                    sections.entry((job, node, table.table)).or_default().extend(entries);
                }
            }
            for (node, view) in cut.views {
                let table = view.entries()?;
                let entries = table.iter().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
                sections.entry((job, node, VIEW_TABLE)).or_default().extend(entries);
            }
        }
    }
    let section = |((job, node, table), entries): ((JobId, NodeId, u16), _)| {
        let mut prefix = run_key_prefix(job, node).to_vec();
        prefix.extend_from_slice(&table.to_be_bytes());
        RunSection { prefix, entries }
    };
    Ok(sections.into_iter().map(section).collect())
}
