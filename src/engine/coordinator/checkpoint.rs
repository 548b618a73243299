//! Checkpoints: when, which jobs they wait for, what the manifest says, and what may be forgotten afterwards.
//!
//! A checkpoint is begun with a cut that says so to the jobs below; each cuts its state exactly after that epoch and
//! hands over what changed. When the last one has, a thread writes one run with the changes of all jobs and publishes
//! the manifest. A job that is still filling or reads on alone is not waited for: its own, older cut stays in the
//! manifest, with the positions that belong to it, or nothing of it does and it is filled again after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::base::telemetry::{Phase, phase};
use crate::base::{Error, Result};
use crate::catalog::Catalog;
use crate::dataflow::WorkerCut;
use crate::storage::{JobManifest, Manifest, ManifestStore, NextIds, OutboxManifest, RunFile, SourceCut};
use crate::types::{CheckpointId, Epoch, JobId, RelationId};

use super::super::job::{Feed, Job, JobState};
use super::super::request::Event;
use super::Coordinator;
use super::checkpoint_writer::{Writer, Written};
use super::sinks::OutboxExtra;

/// The table number under which a published view's rows lie, beside the tables of operators.
pub(in crate::engine) const VIEW_TABLE: u16 = u16::MAX;

/// What the manifest keeps of a job beside its runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::engine) struct JobExtra {
    /// The positions of its sources at its own epoch, when that is not the manifest's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceCut>,
}

impl JobExtra {
    /// That of a job in a manifest.
    pub(in crate::engine) fn of(job: &JobManifest) -> JobExtra {
        serde_json::from_value(job.extra.clone()).unwrap_or_default()
    }
}

/// What recovery found.
pub(in crate::engine) struct RestoredCheckpoint {
    /// Where manifests lie.
    pub store: ManifestStore,
    /// The newest one, if there is one.
    pub manifest: Option<Manifest>,
}

/// A checkpoint that was begun.
struct Begun {
    id: CheckpointId,
    epoch: Epoch,
    clock_us: i64,
    since: Instant,
    /// Jobs whose cuts it waits for, with how many workers are missing.
    missing: BTreeMap<JobId, usize>,
    catalog: Arc<Catalog>,
    sources: Vec<SourceCut>,
    writing: bool,
}

/// One checkpoint as `ms_checkpoints` shows it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CheckpointReport {
    /// Its number.
    pub id: CheckpointId,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it began, in microseconds since 1970.
    pub started_us: i64,
    /// How long it took.
    pub duration: Duration,
    /// Bytes of its run.
    pub bytes: u64,
    /// Rows of its run.
    pub rows: u64,
    /// `published` or `failed: why`.
    pub state: String,
}

/// Everything about checkpoints that outlives one.
pub(in crate::engine) struct Checkpoints {
    store: Arc<Mutex<ManifestStore>>,
    interval: Duration,
    next: CheckpointId,
    next_run: u64,
    runs: Vec<RunFile>,
    /// The jobs of the newest manifest.
    jobs: BTreeMap<JobId, JobManifest>,
    epoch: Epoch,
    /// The outboxes of the manifest that was found at the start.
    outboxes: BTreeMap<RelationId, OutboxManifest>,
    begun: Option<Begun>,
    wanted: bool,
    last: Instant,
    /// Positions at the checkpointed epochs that a job's own cut may still belong to.
    positions: BTreeMap<Epoch, Vec<SourceCut>>,
    /// The last ones, newest first.
    pub(in crate::engine) reports: Vec<CheckpointReport>,
}

const REPORTS_KEPT: usize = 100;

impl Checkpoints {
    /// After `restored`, with a checkpoint every `interval`.
    pub(in crate::engine) fn new(restored: RestoredCheckpoint, interval: Duration) -> Self {
        let manifest = restored.manifest.unwrap_or_default();
        Checkpoints {
            store: Arc::new(Mutex::new(restored.store)),
            interval,
            next: CheckpointId(manifest.checkpoint + 1),
            next_run: manifest.next_ids.run,
            positions: known_positions(&manifest),
            runs: manifest.runs,
            jobs: manifest.jobs,
            epoch: manifest.epoch,
            outboxes: manifest.outboxes,
            begun: None,
            wanted: false,
            last: Instant::now(),
            reports: Vec::new(),
        }
    }

    /// What the manifest that was found at the start keeps of a sink's outbox.
    pub(super) fn restored_outbox(&mut self, sink: RelationId) -> Result<OutboxExtra> {
        let Some(found) = self.outboxes.remove(&sink) else { return Ok(OutboxExtra::default()) };
        serde_json::from_value(found.extra)
            .map_err(|error| Error::corrupt("outbox of a sink in the manifest is not readable").caused_by(error))
    }

    /// The number of the first run that can have rows of a job that is made now.
    pub(super) fn next_run(&self) -> u64 {
        self.next_run
    }

    /// The epoch of the newest published checkpoint.
    pub(super) fn newest(&self) -> Epoch {
        self.epoch
    }

    /// Whether the next cut is to begin one.
    pub(super) fn begins_with_next_cut(&self) -> bool {
        self.wanted && self.begun.is_none()
    }

    /// Whether one has begun and has not been published.
    pub(super) fn is_under_way(&self) -> bool {
        self.begun.is_some()
    }

    /// Whether one was asked for and has not been published.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted || self.begun.is_some()
    }

    /// Whether the last checkpoint before the end is done.
    pub(super) fn is_idle_after_shutdown(&self) -> bool {
        !self.is_wanted()
    }

    /// There was nothing to put into a checkpoint.
    pub(super) fn nothing_to_do(&mut self) {
        if self.begins_with_next_cut() {
            self.wanted = false;
            self.last = Instant::now();
        }
    }
}

/// The positions that a manifest knows: those of its epoch, and those of jobs that were behind it. Such a job may still be
/// behind when the next checkpoint is taken.
fn known_positions(manifest: &Manifest) -> BTreeMap<Epoch, Vec<SourceCut>> {
    let mut positions = BTreeMap::from([(manifest.epoch, manifest.sources.clone())]);
    for job in manifest.jobs.values() {
        let known = positions.entry(job.epoch).or_default();
        for cut in JobExtra::of(job).sources {
            if known.iter().all(|other| other.relation != cut.relation) {
                known.push(cut);
            }
        }
    }
    positions
}

impl Coordinator {
    /// Asks for a checkpoint with the next cut.
    pub(super) fn want_checkpoint(&mut self) {
        self.checkpoints.wanted = true;
        self.open.forced = true;
        self.want_cut(true);
    }

    /// When the next checkpoint is due. Manual epochs end by statements alone: there it comes with one that ends.
    pub(super) fn checkpoint_due(&self) -> Option<Instant> {
        self.checkpoint_time().filter(|_| !self.manual)
    }

    /// A checkpoint whose time has come goes with the epoch that a statement ends.
    pub(super) fn checkpoint_with_manual_epoch(&mut self) {
        if self.manual && self.checkpoint_time().is_some_and(|due| due <= Instant::now()) {
            self.checkpoints.wanted = true;
        }
    }

    /// When the next checkpoint should be taken, if there is anything to put into it.
    fn checkpoint_time(&self) -> Option<Instant> {
        let dirty = self.jobs.values().any(|job| job.dirty && job.is_live());
        let idle = !self.checkpoints.is_wanted() && self.stopped.is_none();
        (dirty && idle).then(|| self.checkpoints.last + self.checkpoints.interval)
    }

    /// Begins a checkpoint when its time has come.
    pub(super) fn checkpoint_if_due(&mut self) {
        if self.checkpoint_due().is_some_and(|due| due <= Instant::now()) {
            self.want_checkpoint();
            self.cut_if_due();
        }
    }

    /// The cut of `epoch` was announced as that of a checkpoint.
    pub(super) fn begin_checkpoint(&mut self, epoch: Epoch) {
        phase(Phase::CheckpointCut);
        let checkpoints = &mut self.checkpoints;
        let id = checkpoints.next;
        checkpoints.next = CheckpointId(id.0 + 1);
        checkpoints.wanted = false;
        checkpoints.last = Instant::now();
        let sources: Vec<SourceCut> = self.sources.values().filter_map(|source| source.cut.clone()).collect();
        checkpoints.positions.insert(epoch, sources.clone());
        let waited_for = self.jobs.values().filter(|job| job.dirty && self.is_waited_for(job));
        let missing = waited_for.map(|job| (job.id, self.shared.workers)).collect();
        self.checkpoints.begun = Some(Begun {
            id,
            epoch,
            clock_us: self.clock_us,
            since: Instant::now(),
            missing,
            catalog: Arc::clone(&self.catalog.read()),
            sources,
            writing: false,
        });
        // What it does not wait for (a job that fills) is for the next one.
        let missing = self.checkpoints.begun.iter().flat_map(|begun| begun.missing.keys());
        for id in missing {
            if let Some(job) = self.jobs.get_mut(id) {
                job.dirty = false;
            }
        }
        self.write_checkpoint_if_whole();
    }

    /// Whether a checkpoint waits for a job: not for one that fills, has stopped, or reads on alone behind the others
    /// (unless it reads other jobs too, whose past is gone when they are checkpointed).
    fn is_waited_for(&self, job: &Job) -> bool {
        match job.state {
            JobState::Waiting | JobState::Failed => return false,
            // What a table holds stands nowhere else once the log is trimmed; it is filled at once.
            JobState::Starting | JobState::Filling if job.checkpointed.is_none() => {
                return job.inputs.iter().any(|input| input.feed == Feed::Writes);
            }
            // A restored one has only the rest of the log before it.
            JobState::Starting | JobState::Filling | JobState::Running | JobState::Finished => {}
        }
        let taps = job.inputs.iter().any(|input| input.feed == Feed::Tap);
        let tapped = self.jobs.values().any(|other| {
            let outputs = job.outputs();
            other.inputs.iter().any(|input| input.feed == Feed::Tap && outputs.contains(&input.relation))
        });
        taps || tapped || !job.inputs.iter().any(|input| self.is_alone(input.relation, input.subscriber))
    }

    fn is_alone(&self, source: RelationId, subscriber: Option<crate::dataflow::source::SubscriberId>) -> bool {
        let source = self.sources.get(&source);
        source.zip(subscriber).is_some_and(|(source, subscriber)| source.host.is_alone(subscriber).is_some())
    }

    /// A worker hands over the state of a job after a checkpointed epoch.
    pub(super) fn note_state_cut(&mut self, id: JobId, epoch: Epoch, cut: WorkerCut) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.cuts.entry(epoch).or_default().push(cut);
        if let Some(begun) = self.checkpoints.begun.as_mut().filter(|begun| begun.epoch == epoch)
            && let Some(missing) = begun.missing.get_mut(&id)
        {
            *missing = missing.saturating_sub(1);
            if *missing == 0 {
                begun.missing.remove(&id);
            }
        }
        self.write_checkpoint_if_whole();
    }

    /// Stopped jobs are not waited for.
    pub(super) fn forget_stopped_in_checkpoint(&mut self) {
        if let Some(begun) = &mut self.checkpoints.begun {
            begun.missing.retain(|id, _| self.jobs.get(id).is_some_and(Job::is_live));
        }
        self.write_checkpoint_if_whole();
    }

    /// Hands a checkpoint to its writer once every job it waits for has cut its state and its epoch is durable.
    pub(super) fn write_checkpoint_if_whole(&mut self) {
        let durable = self.progress.durable();
        let whole = |begun: &&mut Begun| begun.missing.is_empty() && !begun.writing && durable >= begun.epoch;
        let Some(begun) = self.checkpoints.begun.as_mut().filter(whole) else { return };
        begun.writing = true;
        let (id, epoch) = (begun.id, begun.epoch);
        let mut manifest = Manifest {
            checkpoint: id.0,
            incarnation: String::new(),
            epoch,
            clock_us: begun.clock_us,
            runs: Vec::new(),
            jobs: BTreeMap::new(),
            sources: begun.sources.clone(),
            outboxes: BTreeMap::new(),
            catalog: serde_json::Value::Null,
            next_ids: NextIds::default(),
        };
        let catalog = Arc::clone(&begun.catalog);
        let jobs = self.job_manifests(epoch);
        let mut cuts = Vec::new();
        for (job, entry) in jobs {
            if let Some(live) = self.jobs.get_mut(&job) {
                let later = live.cuts.split_off(&entry.epoch.next());
                cuts.push((job, std::mem::replace(&mut live.cuts, later)));
            }
            let given = cuts.last().map_or(0, |(_, cuts)| cuts.len());
            tracing::debug!(checkpoint = %id, %epoch, %job, own = %entry.epoch, cuts = given, "job is in a checkpoint");
            manifest.jobs.insert(job, entry);
        }
        let entries = manifest.jobs.iter().map(|(job, entry)| (*job, entry.epoch)).collect();
        let outboxes = self.cut_outboxes(&entries);
        manifest.next_ids.run = self.checkpoints.next_run + 2;
        let writer = Writer {
            store: Arc::clone(&self.checkpoints.store),
            runs_dir: self.shared.runs_dir(),
            outbox_dir: self.shared.data_dir.outbox(),
            outboxes,
            runs: self.checkpoints.runs.clone(),
            next_run: self.checkpoints.next_run,
            horizons: Arc::new(self.jobs.values().map(|job| (job.id, job.first_run)).collect()),
            manifest,
            catalog,
            cuts,
        };
        self.checkpoints.next_run += 2;
        let sender = self.sender.clone();
        let spawned = std::thread::Builder::new().name("checkpoint".into()).spawn(move || {
            let result = writer.write();
            drop(sender.send(Event::CheckpointWritten { id, result }));
        });
        if let Err(error) = spawned {
            let error = Error::unavailable("no thread could be started for a checkpoint").caused_by(error);
            self.checkpoint_written(id, Err(error));
        }
    }

    /// What the manifest of `epoch` says of each job: its newest whole cut up to it. A job without one is left out, and
    /// so is one whose cut is older when it reads other jobs, or one that reads such a job.
    fn job_manifests(&self, epoch: Epoch) -> Vec<(JobId, JobManifest)> {
        let mut entries: BTreeMap<JobId, JobManifest> = BTreeMap::new();
        for job in self.jobs.values().filter(|job| job.is_live()) {
            let taps: BTreeSet<JobId> = job
                .inputs
                .iter()
                .filter(|input| input.feed == Feed::Tap)
                .filter_map(|input| self.owner.get(&input.relation).copied())
                .collect();
            let current = self.progress.closed(job.id).is_some_and(|closed| closed >= epoch);
            let whole = job.cuts.range(..=epoch).rev().find(|(_, cuts)| cuts.len() == self.shared.workers);
            let own = match (whole, job.checkpointed) {
                (Some((at, _)), _) => *at,
                (None, Some(at)) => at,
                (None, None) => continue,
            };
            // A job that has closed everything announced to it is as it was at its own cut.
            let unchanged = current && self.is_unchanged_since(job, own, epoch);
            let own = if unchanged { epoch } else { own };
            let whole_taps = taps.iter().all(|above| entries.get(above).is_some_and(|entry| entry.epoch == own));
            if own < epoch && !taps.is_empty() || !whole_taps {
                continue;
            }
            let sources = if own < epoch { self.positions_of(job, own) } else { Vec::new() };
            let extra = serde_json::to_value(JobExtra { sources }).unwrap_or_default();
            entries.insert(job.id, JobManifest { epoch: own, first_run: job.first_run, extra });
        }
        entries.into_iter().collect()
    }

    /// Whether nothing was announced to `job` between its own cut and the checkpoint's epoch.
    fn is_unchanged_since(&self, job: &Job, own: Epoch, epoch: Epoch) -> bool {
        !self.progress.was_announced_between(job.id, own, epoch)
    }

    fn positions_of(&self, job: &Job, at: Epoch) -> Vec<SourceCut> {
        let cuts = self.checkpoints.positions.get(&at).into_iter().flatten();
        let read: BTreeSet<RelationId> = job.inputs.iter().map(|input| input.relation).collect();
        cuts.filter(|cut| read.contains(&cut.relation)).cloned().collect()
    }

    /// A checkpoint was published, or could not be written: then its cuts go into the next one.
    pub(super) fn checkpoint_written(&mut self, id: CheckpointId, result: Result<Written>) {
        let Some(begun) = self.checkpoints.begun.take_if(|begun| begun.id == id) else { return };
        phase(Phase::Idle);
        let mut report = CheckpointReport {
            id,
            epoch: begun.epoch,
            started_us: begun.clock_us,
            duration: begun.since.elapsed(),
            bytes: 0,
            rows: 0,
            state: "published".into(),
        };
        match result {
            Ok(written) => {
                (report.bytes, report.rows) = (written.bytes, written.rows);
                self.checkpoint_published(begun.epoch, written);
            }
            Err(error) => {
                tracing::error!(checkpoint = %id, error = %error.report(), "checkpoint failed; it is tried again");
                report.state = format!("failed: {}", error.message());
                self.stop_accepting(&format!("a checkpoint could not be written: {}", error.message()));
            }
        }
        self.checkpoints.reports.insert(0, report);
        self.checkpoints.reports.truncate(REPORTS_KEPT);
    }

    fn checkpoint_published(&mut self, epoch: Epoch, written: Written) {
        let checkpoints = &mut self.checkpoints;
        checkpoints.runs = written.runs;
        checkpoints.epoch = epoch;
        checkpoints.jobs = written.jobs;
        for (id, entry) in &checkpoints.jobs {
            if let Some(job) = self.jobs.get_mut(id) {
                job.checkpointed = Some(entry.epoch);
            }
        }
        let oldest = checkpoints.jobs.values().map(|job| job.epoch).min().unwrap_or(epoch).min(epoch);
        let needed = self.jobs.values().flat_map(|job| job.cuts.keys().copied()).min().unwrap_or(oldest).min(oldest);
        checkpoints.positions = checkpoints.positions.split_off(&needed);
        self.progress.forget_announced(oldest);
        let log = Arc::clone(&self.log);
        if let Err(error) = log.trim_below(oldest.next()) {
            tracing::warn!(%error, "epoch log could not be trimmed; it is tried again after the next checkpoint");
        }
        self.deliver_outboxes(written.outboxes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Watermark;

    #[test]
    fn positions_of_a_job_that_was_behind_outlive_a_restart() {
        let at = |relation, watermark| SourceCut {
            relation: RelationId(relation),
            watermark: Watermark(watermark),
            splits: Vec::new(),
        };
        let behind = |sources| JobManifest {
            epoch: Epoch(3),
            extra: serde_json::to_value(JobExtra { sources }).unwrap(),
            ..JobManifest::default()
        };
        let jobs = [(JobId(1), behind(vec![at(7, 30)])), (JobId(2), behind(vec![at(7, 30), at(8, 31)]))];
        let level = (JobId(3), JobManifest { epoch: Epoch(5), ..JobManifest::default() });
        let jobs = jobs.into_iter().chain([level]).collect();
        let manifest = Manifest { epoch: Epoch(5), sources: vec![at(7, 50), at(8, 51)], jobs, ..Manifest::default() };
        let expected = [(Epoch(3), vec![at(7, 30), at(8, 31)]), (Epoch(5), vec![at(7, 50), at(8, 51)])];
        assert_eq!(known_positions(&manifest), BTreeMap::from(expected));
    }
}
