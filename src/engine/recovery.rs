//! Recovery: the newest checkpoint, then the epochs of the log after it, told to the jobs as they were told before.
//!
//! 1. The manifest gives the catalog, the jobs' state and the positions of sources; the log gives the cuts since.
//! 2. Changes of the catalog after the checkpoint are applied; jobs that were dropped since are not started.
//! 3. Every job of the manifest is restored at its own epoch, reads its sources along the recorded cuts, and is told
//!    every epoch after its own: the same epochs with the same rows. Nothing is decided again.
//! 4. Jobs of which the manifest holds nothing are filled anew with the first epoch that is cut afterwards.
//! 5. No relation is readable before it has closed the last epoch of the log, so none goes back behind what it showed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::mpsc;

use crate::base::clock::Clock;
use crate::base::telemetry::{Phase, phase};
use crate::base::{Error, Result, ResultExt, Settings};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::dataflow::source::{RecordedCut, SplitCut as HostedSplit, SplitPoint};
use crate::dataflow::{Close, JobState as StoredState, Runtime, RuntimeSettings};
use crate::state::{MemoryBudget, Tier};
use crate::storage::{
    CutRecord, DataDir, EpochLog, JobManifest, LogSettings, Manifest, ManifestStore, SourceCut, decode_rows,
    live_entries, merge_runs, run_key,
};
use crate::types::{Epoch, JobId, NodeId, RelationId, Watermark};

use super::coordinator::{
    Announcement, Checkpoints, Coordinator, JobExtra, Past, RestoredCheckpoint, VIEW_TABLE, split_points,
};
use super::ddl::Ddl;
use super::job::Feed;
use super::progress::Progress;
use super::request::Event;
use super::shared::Shared;

/// Opens the data directory and brings everything back to the last epoch of its log.
pub(super) fn recover(settings: Settings, clock: Arc<dyn Clock>) -> Result<Coordinator> {
    phase(Phase::Recovery);
    let data_dir = DataDir::open(&settings.data_dir)?;
    let store = ManifestStore::open(&data_dir).context(|| "while the newest checkpoint was looked for".into())?;
    let manifest = store.newest().cloned();
    let (log, replay) = EpochLog::open(&data_dir.log(), LogSettings::default())?;
    let found = manifest.clone().unwrap_or_default();
    let oldest = found.jobs.values().map(|job| job.epoch).min().unwrap_or(found.epoch).min(found.epoch);
    let records = replay.after(oldest)?.map(|record| CutRecord::decode(&record?.1)).collect::<Result<Vec<_>>>()?;
    let catalog = catalog_at_end(manifest.as_ref(), &records)?;
    data_dir.secrets().sweep(&catalog.secrets().map(|(_, secret)| secret.file.as_str()).collect())?;
    let last = records.last().map_or(found.epoch, |record| record.epoch).max(found.epoch);
    let shared = shared(settings, clock, data_dir, &catalog);
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = start_runtime(&shared, sender.clone())?;
    let restored = RestoredCheckpoint { store, manifest };
    let checkpoints = Checkpoints::new(restored, shared.settings.checkpoint_interval);
    let progress = Progress::new(last);
    let coordinator = Coordinator::new(shared, runtime, Arc::new(log), progress, checkpoints, (sender, receiver));
    let mut recovery = Recovery { coordinator, catalog, manifest: found, records, last, feeds: Vec::new() };
    recovery.open_sources()?;
    recovery.start_jobs()?;
    recovery.replay()?;
    // Now that every tap is in its place, rows may come.
    for (job, pasts) in std::mem::take(&mut recovery.feeds) {
        recovery.coordinator.feed_job(job, pasts);
    }
    tracing::info!(epoch = %last, epochs_replayed = recovery.records.len(), "recovered");
    phase(Phase::Idle);
    Ok(recovery.coordinator)
}

/// The catalog after the last epoch of the log.
fn catalog_at_end(manifest: Option<&Manifest>, records: &[CutRecord]) -> Result<Catalog> {
    let mut catalog = match manifest {
        Some(manifest) => Catalog::from_json(&manifest.catalog)?,
        None => Catalog::new(),
    };
    let after = manifest.map_or(Epoch::ZERO, |manifest| manifest.epoch);
    for record in records.iter().filter(|record| record.epoch > after) {
        for change in &record.ddl {
            let applied = Ddl::decode(change)?.apply(&mut catalog);
            applied.context(|| format!("while epoch {} of the log was replayed", record.epoch))?;
        }
    }
    Ok(catalog)
}

fn shared(settings: Settings, clock: Arc<dyn Clock>, data_dir: DataDir, catalog: &Catalog) -> Arc<Shared> {
    let mut numbers = catalog.clone();
    Arc::new(Shared {
        workers: settings.worker_count(),
        budget: MemoryBudget::new(usize::try_from(settings.state_memory_bytes()).unwrap_or(usize::MAX)),
        clock,
        data_dir,
        catalog: Arc::new(parking_lot::RwLock::new(Arc::new(catalog.clone()))),
        foldable: Arc::new(AtomicU64::new(0)),
        next_relation: AtomicU64::new(numbers.allocate_relation().0),
        next_job: AtomicU64::new(numbers.allocate_job().0),
        settings,
    })
}

fn start_runtime(shared: &Shared, sender: mpsc::UnboundedSender<Event>) -> Result<Runtime> {
    let (responses, mut from_workers) = mpsc::unbounded_channel();
    let settings = RuntimeSettings {
        budget: Arc::clone(&shared.budget),
        tier: if shared.settings.strict_state { Tier::Strict } else { Tier::Resident },
        batch_rows: shared.settings.batch_rows,
        follow_bytes_max: usize::try_from(shared.settings.follow_bytes_max.0).unwrap_or(usize::MAX),
        follow_disk_bytes_max: shared.settings.follow_disk_bytes_max.0,
        scratch: shared.data_dir.scratch(),
        ..RuntimeSettings::default()
    };
    let runtime = Runtime::start(shared.workers, settings, responses)?;
    tokio::spawn(async move {
        while let Some(response) = from_workers.recv().await {
            if sender.send(Event::Worker(response)).is_err() {
                break;
            }
        }
    });
    Ok(runtime)
}

/// A recovery under way.
struct Recovery {
    coordinator: Coordinator,
    catalog: Catalog,
    manifest: Manifest,
    records: Vec<CutRecord>,
    last: Epoch,
    /// How each restored job reads its sources on.
    feeds: Vec<(JobId, HashMap<NodeId, Past>)>,
}

impl Recovery {
    /// The newest cut of a source up to `epoch`.
    fn source_cut(&self, source: RelationId, epoch: Epoch) -> Option<&SourceCut> {
        let in_log = self.records.iter().rev().filter(|record| record.epoch <= epoch);
        let mut newest = in_log.flat_map(|record| &record.sources).filter(|cut| cut.relation == source);
        newest.next().or_else(|| self.manifest.sources.iter().find(|cut| cut.relation == source))
    }

    /// Opens every source where its newest cut stands.
    fn open_sources(&mut self) -> Result<()> {
        for relation in self.catalog.of_kind(RelationKind::Source) {
            let cut = self.source_cut(relation.id, self.last).cloned();
            let splits: Vec<HostedSplit> = cut.iter().flat_map(|cut| &cut.splits).map(hosted).collect();
            let merged = cut.as_ref().map_or(Watermark::NONE, |cut| cut.watermark);
            self.coordinator.open_source(&relation, &splits, merged, &self.catalog)?;
            if let Some(source) = self.coordinator.sources.get_mut(&relation.id) {
                source.cut = cut;
            }
        }
        Ok(())
    }

    /// Restores the jobs of the manifest; the others are filled anew with the next cut.
    fn start_jobs(&mut self) -> Result<()> {
        let mut states = self.read_states()?;
        let mut refilled = Vec::new();
        let relations = self.catalog.creation_order();
        for relation in relations.into_iter().filter(|relation| relation.graph.is_some()) {
            let Some(job) = relation.job else { continue };
            let entry = self.manifest.jobs.get(&job).cloned();
            match entry.filter(|entry| entry.epoch <= self.last) {
                Some(entry) => {
                    self.restore(&relation, &entry, states.remove(&job).unwrap_or_default())
                        .context(|| format!("while {} was restored", relation.title()))?;
                }
                // What a table holds stands nowhere but in the log, from its creation on.
                None if relation.kind == RelationKind::Table => {
                    self.restore(&relation, &JobManifest::default(), Stored::default())
                        .context(|| format!("while {} was restored", relation.title()))?;
                }
                None => refilled.push(relation),
            }
        }
        self.coordinator.refill(refilled);
        Ok(())
    }

    /// The state of every job, from all runs.
    fn read_states(&self) -> Result<HashMap<JobId, Stored>> {
        let mut states: HashMap<JobId, Stored> = HashMap::new();
        let dir = self.coordinator.shared.runs_dir();
        let horizons = Arc::new(self.manifest.horizons());
        let newest_first = self.manifest.runs.iter().rev().map(|run| live_entries(&dir, run, &horizons));
        for entry in merge_runs(newest_first.collect::<Result<_>>()?).only_present() {
            let (key, value) = entry?;
            let (job, node, rest) = run_key(&key)?;
            let (table, key) =
                rest.split_first_chunk::<2>().ok_or_else(|| Error::corrupt("key of a state row is torn"))?;
            let table = u16::from_be_bytes(*table);
            let value = value.unwrap_or_default();
            let stored = states.entry(job).or_default();
            if table == VIEW_TABLE {
                stored.views.entry(node).or_default().push((key.to_vec(), value));
            } else {
                stored.state.table_mut(node, table).push(key, &value);
            }
        }
        Ok(states)
    }

    /// Restores one job at its own epoch; it will be told the epochs after it.
    fn restore(&mut self, relation: &Relation, entry: &JobManifest, stored: Stored) -> Result<()> {
        let coordinator = &mut self.coordinator;
        let start = coordinator.prepare_job(relation, entry.epoch.next())?;
        let id = start.job;
        let Some(job) = coordinator.jobs.get_mut(&id) else { return Ok(()) };
        job.checkpointed = Some(entry.epoch);
        job.first_run = entry.first_run;
        job.shown_from = entry.epoch;
        for (node, (_, view)) in &job.published {
            let entries = stored.views.get(node).map(Vec::as_slice).unwrap_or_default();
            view.load(entry.epoch, entries.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice()))))?;
        }
        let extra = JobExtra::of(entry);
        let sources: Vec<(NodeId, RelationId)> = job
            .inputs
            .iter()
            .filter(|input| matches!(input.feed, Feed::Source(_) | Feed::Faults))
            .map(|input| (input.node, input.relation))
            .collect();
        let known = sources.iter().filter_map(|&(node, source)| {
            let watermark = self.source_at(source, entry.epoch, &extra)?.watermark;
            let epoch = entry.epoch;
            Some((node, Close { epoch, watermark, clock_us: self.manifest.clock_us, checkpoint: false }))
        });
        let known = known.collect();
        let pasts = sources.into_iter().map(|(node, source)| (node, self.past(source, entry.epoch, &extra))).collect();
        self.coordinator.start_job(start, known, Some(Arc::new(stored.state)));
        self.feeds.push((id, pasts));
        Ok(())
    }

    /// Where `source` stood for a job at `epoch`.
    fn source_at<'a>(&'a self, source: RelationId, epoch: Epoch, extra: &'a JobExtra) -> Option<&'a SourceCut> {
        let own = extra.sources.iter().find(|cut| cut.relation == source);
        own.or_else(|| self.source_cut(source, epoch))
    }

    /// How a job that stands at `epoch` reads `source` from there on.
    fn past(&self, source: RelationId, epoch: Epoch, extra: &JobExtra) -> Past {
        let at = self.source_at(source, epoch, extra);
        let later = self.records.iter().filter(|record| record.epoch > epoch);
        let cuts = later.filter_map(|record| {
            let cut = record.sources.iter().find(|cut| cut.relation == source)?;
            let (epoch, clock_us) = (record.epoch, record.clock_us);
            let close = Close { epoch, watermark: cut.watermark, clock_us, checkpoint: false };
            Some(RecordedCut { epoch, splits: split_points(cut), close: Some(close) })
        });
        Past { from: at.map(split_points).unwrap_or_default(), cuts: cuts.collect() }
    }

    /// Tells the restored jobs every epoch after their own.
    fn replay(&mut self) -> Result<()> {
        let dropped = self.relations_of_log();
        for record in &self.records {
            let mut writes = BTreeMap::new();
            for write in &record.writes {
                let Some(relation) = self.catalog.by_id(write.relation) else {
                    debug_assert!(dropped.contains(&write.relation));
                    continue;
                };
                let batch = decode_rows(&write.rows, &relation.columns.arrow())?;
                writes.entry(write.relation).or_insert_with(Vec::new).push(batch);
            }
            let sources = record.sources.iter().map(|cut| (cut.relation, cut.watermark)).collect();
            let announcement = Announcement {
                epoch: record.epoch,
                clock_us: record.clock_us,
                sources,
                writes,
                also: BTreeSet::new(),
                checkpoint: false,
            };
            self.coordinator.announce(announcement, false);
        }
        self.coordinator.resume_clock(self.records.last().map_or(self.manifest.clock_us, |record| record.clock_us));
        Ok(())
    }

    /// Relations that the log writes to.
    fn relations_of_log(&self) -> HashSet<RelationId> {
        self.records.iter().flat_map(|record| &record.writes).map(|write| write.relation).collect()
    }
}

/// Key and value of every row of a stored table.
type StoredRows = Vec<(Vec<u8>, Vec<u8>)>;

/// The stored state of one job.
#[derive(Default)]
struct Stored {
    state: StoredState,
    /// Rows of published views, by node.
    views: HashMap<NodeId, StoredRows>,
}

fn hosted(split: &crate::storage::SplitCut) -> HostedSplit {
    let point = SplitPoint { split: split.split.clone(), position: split.position.clone(), watermark: split.watermark };
    HostedSplit { point, idle: split.idle, ended: split.ended }
}
