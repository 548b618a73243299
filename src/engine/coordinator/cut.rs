//! Cutting epochs: when, what goes into the record, and who is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::base::telemetry::{Phase, phase};
use crate::base::{Error, Result};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::dataflow::Close;
use crate::dataflow::source::SourceEvent;
use crate::plan::unit_row;
use crate::storage::{CutRecord, SourceCut, SplitCut, TableWrites, encode_rows};
use crate::types::{DeltaBatch, Epoch, JobId, RelationId, Watermark};

use super::super::ddl::Ddl;
use super::super::job::Feed;
use super::super::request::{Event, Reply};
use super::super::secrets::check_altered;
use super::Coordinator;

/// Clock readings that are kept to tell how long ago an epoch was cut.
const CLOCKS_KEPT: usize = 1024;

/// An epoch as it is told to the jobs: live, or from the log at recovery.
pub(in crate::engine) struct Announcement {
    /// The epoch.
    pub epoch: Epoch,
    /// Its clock.
    pub clock_us: i64,
    /// Sources with new contents in it. Their hosts tell the jobs that they feed.
    pub sources: BTreeMap<RelationId, Watermark>,
    /// Deltas of tables.
    pub writes: BTreeMap<RelationId, Vec<DeltaBatch>>,
    /// Jobs that see it in any case.
    pub also: BTreeSet<JobId>,
    /// Whether the jobs cut their state after it.
    pub checkpoint: bool,
}

/// What the statements of an epoch do to the catalog.
#[derive(Default)]
struct Changes {
    ddl: Vec<Ddl>,
    replies: Vec<Reply<Epoch>>,
    created: Vec<Arc<Relation>>,
    dropped: Vec<RelationId>,
}

impl Coordinator {
    /// Accepts resolved deltas into the open epoch.
    pub(super) fn accept_writes(&mut self, writes: Vec<(RelationId, DeltaBatch)>, reply: Reply<Epoch>) {
        let accepted = self.accepting().and_then(|()| {
            let missing = writes.iter().find(|(relation, _)| !self.owner.contains_key(relation));
            missing.map_or(Ok(()), |_| {
                Err(Error::conflict("the table was dropped meanwhile").with_hint("Send the statement again."))
            })
        });
        if let Err(error) = accepted {
            drop(reply.send(Err(error)));
            return;
        }
        self.open.writes.extend(writes);
        self.want_cut(!self.manual);
        drop(reply.send(Ok(self.progress.cut().next())));
    }

    /// Something has happened at a source.
    pub(super) fn note_source(&mut self, relation: RelationId, event: SourceEvent) {
        match event {
            SourceEvent::Input => self.want_cut(false),
            SourceEvent::Full | SourceEvent::Ended => self.want_cut(!self.manual),
            SourceEvent::State => tracing::info!(source = %relation, "source changed its state"),
        }
    }

    /// Jobs whose state no checkpoint holds are filled from the next epoch on.
    pub(in crate::engine) fn refill(&mut self, jobs: Vec<Arc<Relation>>) {
        if !jobs.is_empty() {
            self.open.refilled = jobs;
            self.open.forced = true;
            self.want_cut(true);
        }
    }

    /// Notes that something happened in the open epoch; `urgent`: a statement waits for its end.
    pub(super) fn want_cut(&mut self, urgent: bool) {
        self.open.urgent |= urgent;
        self.open.since.get_or_insert_with(Instant::now);
    }

    /// When the open epoch is to be cut, if anything asks for it.
    pub(super) fn cut_due(&self) -> Option<Instant> {
        if self.stopped.is_some() {
            return None;
        }
        let soonest = self.last_cut + self.shared.settings.epoch_min;
        if self.open.urgent || self.open.forced {
            return Some(soonest);
        }
        let since = self.open.since.filter(|_| !self.manual)?;
        Some((since + self.shared.settings.epoch_interval).max(soonest))
    }

    /// Cuts the open epoch when its time has come.
    pub(super) fn cut_if_due(&mut self) {
        if self.cut_due().is_some_and(|due| due <= Instant::now()) {
            self.cut();
        }
    }

    /// Ends the open epoch. Without anything in it (and no checkpoint wanted) no epoch is spent.
    fn cut(&mut self) {
        phase(Phase::CutLog);
        let epoch = self.progress.cut().next();
        self.last_cut = Instant::now();
        self.clock_us = self.shared.clock.now_us().max(self.clock_us + 1);
        let open = std::mem::take(&mut self.open);
        let changes = self.apply_ddl(open.ddl);
        let mut writes: BTreeMap<RelationId, Vec<DeltaBatch>> = BTreeMap::new();
        for (relation, batch) in open.writes {
            writes.entry(relation).or_default().push(batch);
        }
        // A new job is not in step with a checkpoint of the epoch in which it begins.
        self.checkpoint_with_manual_epoch();
        let begins = changes.ddl.is_empty() && open.refilled.is_empty();
        let checkpoint = begins && self.checkpoints.begins_with_next_cut();
        // Asked before the sources are cut: a cut that is not spent would leave rows labelled with the epoch after it.
        let something = !writes.is_empty()
            || !begins
            || self.sources.values().any(|source| source.host.has_input())
            || self.has_timer(self.clock_us);
        let unsaved = || self.jobs.values().any(|job| job.dirty && job.is_live());
        if !something && (!checkpoint || !unsaved()) {
            self.checkpoints.nothing_to_do();
            self.waiters.note_cut(self.progress.cut());
            self.finish_ddl(changes.replies, &[], self.progress.cut());
            phase(Phase::Idle);
            return;
        }
        let sources = self.cut_sources(epoch);
        if let Err(error) = self.append_record(epoch, &sources, &writes, &changes.ddl) {
            self.stop_accepting(&format!("an epoch could not be logged: {}", error.message()));
            return;
        }
        let mut announcement = Announcement {
            epoch,
            clock_us: self.clock_us,
            sources: sources.iter().map(|cut| (cut.relation, cut.watermark)).collect(),
            writes,
            also: BTreeSet::new(),
            checkpoint,
        };
        if checkpoint {
            let dirty = self.jobs.values().filter(|job| job.dirty && job.is_live());
            announcement.also.extend(dirty.map(|job| job.id));
        }
        changes.dropped.iter().for_each(|relation| self.forget(*relation));
        let created: Vec<Arc<Relation>> = changes.created.into_iter().chain(open.refilled).collect();
        let starts = self.prepare_jobs(&created, epoch, &mut announcement.also);
        self.send_units(&created, &mut announcement.writes);
        let new: Vec<JobId> = starts.iter().map(|start| start.job).collect();
        starts.into_iter().for_each(|start| self.start_job(start, HashMap::new(), None));
        self.announce(announcement, true);
        if checkpoint {
            self.begin_checkpoint(epoch);
        } else if self.checkpoints.begins_with_next_cut() && !self.manual {
            self.open.forced = true;
            self.want_cut(true);
        }
        self.feed_jobs(&new, epoch);
        self.finish_ddl(changes.replies, &new, epoch);
        self.waiters.note_cut(epoch);
        if !checkpoint {
            phase(Phase::Idle);
        }
    }

    /// Jobs that read themselves, but those of tables, get their one row in their first epoch. The log need not hold
    /// it: a job whose state no checkpoint holds begins anew, and gets it again.
    fn send_units(&self, created: &[Arc<Relation>], writes: &mut BTreeMap<RelationId, Vec<DeltaBatch>>) {
        for relation in created.iter().filter(|relation| relation.kind != RelationKind::Table) {
            let Some(job) = relation.job.and_then(|job| self.jobs.get(&job)) else { continue };
            if job.inputs.iter().any(|input| input.feed == Feed::Writes) {
                match unit_row() {
                    Ok(row) => writes.entry(relation.id).or_default().push(row),
                    Err(error) => tracing::error!(name = %relation.name, %error, "a constant could not be made"),
                }
            }
        }
    }

    /// Begins the jobs that are filled anew, whatever the time.
    pub(super) fn cut_refilled(&mut self) {
        if !self.open.refilled.is_empty() {
            self.cut();
        }
    }

    /// Goes on after the clock reading of the last epoch of the log.
    pub(in crate::engine) fn resume_clock(&mut self, clock_us: i64) {
        self.clock_us = clock_us;
    }

    /// About when `epoch` was cut: exact for the newest ones.
    pub(super) fn recent_clock(&self, epoch: Epoch) -> i64 {
        let at = self.clocks.partition_point(|(known, _)| *known < epoch);
        self.clocks.get(at).or(self.clocks.back()).map_or(self.clock_us, |(_, clock_us)| *clock_us)
    }

    /// Applies what was asked for to the catalog, one after another; who asked for what cannot be is told so.
    fn apply_ddl(&mut self, asked: Vec<(Ddl, Reply<Epoch>)>) -> Changes {
        let mut changes = Changes::default();
        if asked.is_empty() {
            return changes;
        }
        phase(Phase::Ddl);
        let mut catalog = Catalog::clone(&self.catalog.read());
        for (ddl, reply) in asked {
            let mut changed = catalog.clone();
            let applied = ddl.apply(&mut changed).and_then(|applied| {
                check_altered(&ddl, &changed, &self.shared)?;
                self.open_sources(&applied.created, &changed).map(|()| applied)
            });
            match applied {
                Ok(applied) => {
                    catalog = changed;
                    changes.ddl.push(ddl);
                    changes.replies.push(reply);
                    changes.created.extend(applied.created);
                    changes.dropped.extend(applied.dropped.iter().map(|relation| relation.id));
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        // What was made and dropped in one epoch was never there.
        changes.created.retain(|relation| catalog.by_id(relation.id).is_some());
        *self.catalog.write() = Arc::new(catalog);
        changes
    }

    /// The cuts of all sources that have something new in `epoch`.
    fn cut_sources(&mut self, epoch: Epoch) -> Vec<SourceCut> {
        let mut cuts = Vec::new();
        for (relation, source) in &mut self.sources {
            let taken = source.host.cut(epoch);
            source.ended = taken.watermark == Watermark::END;
            let cut = logged(*relation, &taken);
            source.cut = Some(cut.clone());
            if taken.had_input {
                cuts.push(cut);
            }
        }
        cuts
    }

    fn append_record(
        &self,
        epoch: Epoch,
        sources: &[SourceCut],
        writes: &BTreeMap<RelationId, Vec<DeltaBatch>>,
        ddl: &[Ddl],
    ) -> Result<()> {
        let writes = writes.iter().flat_map(|(relation, batches)| batches.iter().map(move |batch| (relation, batch)));
        let record = CutRecord {
            epoch,
            clock_us: self.clock_us,
            sources: sources.to_vec(),
            writes: writes
                .map(|(relation, batch)| Ok(TableWrites { relation: *relation, rows: encode_rows(batch)? }))
                .collect::<Result<_>>()?,
            ddl: ddl.iter().map(Ddl::encode).collect::<Result<_>>()?,
        };
        let sender = self.sender.clone();
        phase(Phase::LogSync);
        self.log.append(
            epoch,
            record.encode()?,
            Box::new(move |result| {
                let event = match result {
                    Ok(()) => Event::Durable(epoch),
                    Err(error) => Event::LogStopped(error),
                };
                // The coordinator may have ended: then nobody waits for this record.
                drop(sender.send(event));
            }),
        )
    }

    /// Tells the jobs of an epoch. `live`: source hosts tell the jobs that they feed; at recovery those read the cuts
    /// from the log by themselves.
    pub(in crate::engine) fn announce(&mut self, announcement: Announcement, live: bool) {
        let Announcement { epoch, clock_us, sources, mut writes, mut also, checkpoint } = announcement;
        let changed: BTreeSet<RelationId> = sources.keys().copied().collect();
        also.extend(writes.keys().filter_map(|relation| self.owner.get(relation)));
        also.extend(self.jobs.values().filter(|job| job.follows_clock && job.is_live()).map(|job| job.id));
        let affected = self.progress.affected(&changed, &also);
        let sees = |id: &JobId| self.jobs.get(id).is_some_and(|job| job.start <= epoch);
        let members: BTreeSet<JobId> = affected.into_iter().filter(sees).collect();
        let close = |watermark| Close { epoch, watermark, clock_us, checkpoint };
        for id in &members {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            job.dirty = true;
            for input in &job.inputs {
                match &input.feed {
                    Feed::Writes => {
                        for batch in writes.remove(&input.relation).unwrap_or_default() {
                            send_unbounded(&input.queue, epoch, batch);
                        }
                        input.queue.close(close(Watermark::NONE));
                    }
                    Feed::Source(_) | Feed::Faults
                        if changed.contains(&input.relation) || job.filled_with() == epoch && live => {}
                    Feed::Tap if self.owner.get(&input.relation).is_some_and(|above| members.contains(above)) => {}
                    Feed::Source(_) | Feed::Faults | Feed::Tap => {
                        let after = self.progress.last_change(input.relation).max(job.filled_with());
                        input.queue.grant(close(Watermark::NONE), after);
                    }
                }
            }
            self.progress.announce(*id, epoch);
        }
        for (relation, watermark) in sources {
            self.progress.note_changed(relation, epoch);
            if let Some(source) = self.sources.get(&relation).filter(|_| live) {
                source.host.close(close(watermark));
            }
        }
        self.progress.note_cut(epoch);
        self.clocks.push_back((epoch, clock_us));
        if self.clocks.len() > CLOCKS_KEPT {
            self.clocks.pop_front();
        }
    }

    /// Answers everyone who waits for the open epoch: it will not come.
    pub(super) fn fail_open(&mut self, why: &str) {
        for (_, reply) in std::mem::take(&mut self.open.ddl) {
            let error = Error::unavailable("the engine accepts no more changes").with_detail(format!("Reason: {why}."));
            drop(reply.send(Err(error)));
        }
    }
}

/// Queues a statement's rows whatever the queue holds: statements are limited where they are accepted.
fn send_unbounded(queue: &crate::dataflow::JobInput, epoch: Epoch, batch: DeltaBatch) {
    if let Err(error) = queue.send_over(epoch, batch) {
        tracing::error!(%error, "rows of a table could not be dealt to the workers");
    }
}

/// A source's cut as the log keeps it.
fn logged(relation: RelationId, cut: &crate::dataflow::source::SourceCut) -> SourceCut {
    let splits = cut.splits.iter().map(|split| SplitCut {
        split: split.point.split.clone(),
        position: split.point.position.clone(),
        watermark: split.point.watermark,
        idle: split.idle,
        ended: split.ended,
    });
    SourceCut { relation, watermark: cut.watermark, splits: splits.collect() }
}
