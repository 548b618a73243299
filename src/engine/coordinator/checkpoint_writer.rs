//! Writing a checkpoint, on a thread of its own: one run with the changes of all jobs, the outboxes, the manifest.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use parking_lot::Mutex;

use super::VIEW_TABLE;
use super::sinks::{FixedBatch, OutboxCut};
use crate::base::telemetry::{Phase, phase};
use crate::base::{Error, Result};
use crate::catalog::Catalog;
use crate::dataflow::WorkerCut;
use crate::state::{TableCut, ViewCut};
use crate::storage::{
    CompactionSettings, Horizons, JobManifest, Manifest, ManifestStore, RunFile, RunSection, compact_runs,
    run_key_prefix, runs_to_compact, write_run,
};
use crate::types::{Epoch, JobId, NodeId};

/// Fewer bytes of changes are sorted by the writing thread alone.
const SORT_ALONE: usize = 1 << 20;

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
        let cuts = sorted(std::mem::take(&mut self.cuts))?;
        if let Some(run) = write_run(&self.runs_dir, &RunFile::name_of(self.next_run), sections(&cuts))? {
            (bytes, rows) = (run.bytes, run.entries);
            self.runs.push(run);
        }
        drop(cuts);
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

/// Which table of which node of a job.
type Place = (JobId, NodeId, u16);

/// Changed rows of one table on one worker, not yet in order.
enum Changes {
    Table(TableCut),
    View(ViewCut),
}

impl Changes {
    fn sorted(self) -> Result<TableCut> {
        match self {
            Changes::Table(mut cut) => {
                cut.sort();
                Ok(cut)
            }
            Changes::View(cut) => cut.entries(),
        }
    }
}

/// Cuts in order, each with its number among all.
type Sorted = Vec<(usize, (Place, TableCut))>;

/// The changes of all jobs, each cut in order; later cuts of a place behind earlier ones. Many changes are sorted by several
/// threads.
fn sorted(cuts: Vec<(JobId, BTreeMap<Epoch, Vec<WorkerCut>>)>) -> Result<Vec<(Place, TableCut)>> {
    let mut changes = Vec::new();
    let mut bytes = 0;
    for (job, epochs) in cuts {
        for cut in epochs.into_values().flatten() {
            for (node, tables) in cut.tables {
                bytes += tables.iter().map(TableCut::bytes).sum::<usize>();
                let place = |table: &TableCut| (job, node, table.table);
                changes.extend(tables.into_iter().map(|table| (place(&table), Changes::Table(table))));
            }
            let views = cut.views.into_iter();
            changes.extend(views.map(|(node, view)| ((job, node, VIEW_TABLE), Changes::View(view))));
        }
    }
    let threads = match bytes {
        0..SORT_ALONE => 1,
        _ => std::thread::available_parallelism().map_or(1, NonZero::get).min(changes.len()),
    };
    let queue = Mutex::new(changes.into_iter().enumerate());
    let work = || -> Result<Sorted> {
        let mut done = Vec::new();
        loop {
            // The queue is free again while this one is sorted.
            let next = queue.lock().next();
            let Some((number, (place, changes))) = next else { return Ok(done) };
            done.push((number, (place, changes.sorted()?)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work()?;
        for other in others {
            done.extend(other.join().map_err(|_| Error::internal("a sorting thread of a checkpoint panicked"))??);
        }
        Ok::<_, Error>(done)
    })?;
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, sorted)| sorted).collect())
}

/// A stored key, and its value if the row did not go.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// What is written, by node and table.
fn sections(cuts: &[(Place, TableCut)]) -> Vec<RunSection<&[u8], &[u8]>> {
    let mut sections: BTreeMap<Place, Vec<Change<'_>>> = BTreeMap::new();
    for (place, cut) in cuts {
        sections.entry(*place).or_default().extend(cut.iter());
    }
    let section = |((job, node, table), entries): (Place, _)| {
        let mut prefix = run_key_prefix(job, node).to_vec();
        prefix.extend_from_slice(&table.to_be_bytes());
        RunSection { prefix, entries }
    };
    sections.into_iter().map(section).collect()
}
