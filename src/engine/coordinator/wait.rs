//! Those who wait: reads for their epoch, FLUSH and WAIT FOR for views to get there, CREATE for its job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::base::{Error, Result, sqlstate};
use crate::dataflow::NodeKind;
use crate::serving::ReadSet;
use crate::types::{Epoch, JobId, RelationId};

/// How often WAIT FOR looks whether a source has been read to its end.
const LOOK: Duration = Duration::from_millis(5);

/// Epochs that views keep apart for a relation that lags: beyond, a read of both waits for it.
const EPOCHS_KEPT_MAX: u64 = 1000;

use super::super::job::JobState;
use super::super::request::{ReadGrant, Reply};
use super::Coordinator;

/// A read that could not be granted at once.
struct Read {
    relations: Vec<RelationId>,
    least: Epoch,
    deadline: Instant,
    reply: Reply<ReadGrant>,
}

/// A FLUSH: first for its cut, then for the jobs that run.
struct Flush {
    cut: Option<Epoch>,
    deadline: Instant,
    reply: Reply<Epoch>,
}

/// A WAIT FOR.
struct WaitFor {
    relations: Vec<RelationId>,
    /// When it began.
    asked: Instant,
    /// Sources below that have not been read to the place where they ended then.
    sources: Vec<RelationId>,
    /// The cut that holds all of it, once it was made.
    cut: Option<Epoch>,
    reply: Reply<Epoch>,
}

/// Everyone who waits.
#[derive(Default)]
pub(super) struct Waiters {
    reads: Vec<Read>,
    flushes: Vec<Flush>,
    waits: Vec<WaitFor>,
}

impl Waiters {
    /// A read is to be granted when it can be.
    pub(super) fn read(
        &mut self,
        relations: Vec<RelationId>,
        least: Epoch,
        deadline: Instant,
        reply: Reply<ReadGrant>,
    ) {
        self.reads.push(Read { relations, least, deadline, reply });
    }

    /// A FLUSH is to be answered when every running view has the next cut.
    pub(super) fn flush(&mut self, deadline: Instant, reply: Reply<Epoch>) {
        self.flushes.push(Flush { cut: None, deadline, reply });
    }

    /// When the first of them gives up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let reads = self.reads.iter().map(|read| read.deadline);
        let look = self.waits.iter().any(|wait| !wait.sources.is_empty()).then(|| Instant::now() + LOOK);
        reads.chain(self.flushes.iter().map(|flush| flush.deadline)).chain(look).min()
    }

    /// Notes that an epoch was cut: whatever was asked before is in it.
    pub(super) fn note_cut(&mut self, epoch: Epoch) {
        for flush in &mut self.flushes {
            flush.cut.get_or_insert(epoch);
        }
        for wait in self.waits.iter_mut().filter(|wait| wait.sources.is_empty()) {
            wait.cut.get_or_insert(epoch);
        }
    }
}

impl Coordinator {
    /// Begins a WAIT FOR.
    pub(super) fn wait_for(&mut self, relations: Vec<RelationId>, reply: Reply<Epoch>) {
        let sources = self.sources_below(&relations);
        self.waiters.waits.push(WaitFor { relations, asked: Instant::now(), sources, cut: None, reply });
        self.open.forced = true;
        self.want_cut(true);
    }

    /// The sources that the jobs of `relations` read, directly or through others.
    fn sources_below(&self, relations: &[RelationId]) -> Vec<RelationId> {
        let owners = relations.iter().filter_map(|relation| self.owner.get(relation));
        let jobs = owners.flat_map(|job| self.progress.ancestors(*job));
        let inputs = jobs.filter_map(|job| self.jobs.get(&job)).flat_map(|job| &job.inputs);
        let mut sources: Vec<RelationId> =
            inputs.map(|input| input.relation).filter(|id| self.sources.contains_key(id)).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Answers whoever can be answered now.
    pub(super) fn answer_waiters(&mut self) {
        self.answer_reads();
        self.answer_flushes();
        self.answer_waits();
        self.answer_installs();
    }

    fn answer_reads(&mut self) {
        let now = Instant::now();
        let mut waiting = Vec::new();
        for read in std::mem::take(&mut self.waiters.reads) {
            if read.reply.is_closed() {
                continue;
            }
            if let Some(error) = self.unreadable(&read.relations) {
                drop(read.reply.send(Err(error)));
                continue;
            }
            match self.progress.read_epoch(&read.relations, self.least_of(&read)) {
                Ok(epoch) => drop(read.reply.send(self.grant(epoch, &read.relations))),
                Err(lagging) if read.deadline <= now => drop(read.reply.send(Err(self.lags(lagging)))),
                Err(_) => waiting.push(read),
            }
        }
        self.waiters.reads = waiting;
    }

    /// A relation is shown from its job's first epoch on.
    fn least_of(&self, read: &Read) -> Epoch {
        let starts = read.relations.iter().filter_map(|relation| self.jobs.get(self.owner.get(relation)?));
        starts.map(|job| job.shown_from).fold(read.least, Epoch::max)
    }

    /// Why relations will not be readable however long one waits.
    fn unreadable(&self, relations: &[RelationId]) -> Option<Error> {
        for relation in relations {
            let Some(job) = self.owner.get(relation).and_then(|id| self.jobs.get(id)) else {
                return Some(
                    Error::conflict("a relation was dropped while it was about to be read")
                        .with_code(sqlstate::UNDEFINED_TABLE),
                );
            };
            match job.state {
                JobState::Failed | JobState::Waiting => return Some(job_failed(&job.name, job.reason.as_deref())),
                JobState::Starting | JobState::Filling | JobState::Running | JobState::Finished => {}
            }
        }
        None
    }

    fn grant(&self, epoch: Epoch, relations: &[RelationId]) -> Result<ReadGrant> {
        let (mut views, mut visible) = (Vec::new(), Vec::new());
        for relation in relations {
            let job = self.owner.get(relation).and_then(|id| self.jobs.get(id));
            let view = job.and_then(|job| job.view(*relation).map(|view| (Arc::clone(view), job.visible.subscribe())));
            let (view, seen) = view.ok_or_else(|| Error::internal(format!("relation {relation} is not published")))?;
            views.push(view);
            visible.push(seen);
        }
        let set = ReadSet::at(epoch, relations.iter().copied().zip(&views))?;
        Ok(ReadGrant { epoch, set, views, visible })
    }

    /// Tells readers and subscribers how far they may read, and views what they may fold.
    pub(super) fn tell_epochs(&mut self) {
        let oldest = self.progress.oldest_readable();
        let kept = Epoch(self.progress.durable().0.saturating_sub(EPOCHS_KEPT_MAX));
        self.shared.foldable.store(oldest.max(kept).0, Ordering::Release);
        let durable = self.progress.durable();
        for job in self.jobs.values().filter(|job| job.visible.receiver_count() > 0) {
            let readable = self.progress.closed(job.id).unwrap_or_default().min(durable);
            let shown = *job.visible.borrow();
            if readable > shown && readable >= job.shown_from.max(self.progress.recovered()) {
                job.visible.send_replace(readable);
            }
        }
    }

    fn lags(&self, relation: RelationId) -> Error {
        let job = self.owner.get(&relation).and_then(|id| self.jobs.get(id));
        let name = job.map_or("?", |job| job.name.as_str());
        let state = job.map_or_else(|| "unknown".to_string(), |job| job.state.to_string());
        let readable = self.progress.readable(relation).unwrap_or_default();
        Error::unavailable(format!("relation \"{name}\" did not catch up within read_timeout"))
            .with_code(sqlstate::QUERY_CANCELED)
            .with_detail(format!(
                "Its job is {state}; it can be read up to epoch {readable}, the newest epoch is {}.",
                self.progress.cut()
            ))
            .with_hint("Wait for it with WAIT FOR, look at ms_jobs, or raise read_timeout: SET read_timeout = '5min'.")
    }

    fn answer_flushes(&mut self) {
        let now = Instant::now();
        let mut waiting = Vec::new();
        for flush in std::mem::take(&mut self.waiters.flushes) {
            let lagging =
                flush.cut.map(|cut| self.lagging(cut, |job| job == JobState::Running || job == JobState::Finished));
            match lagging {
                Some(None) => {
                    let cut = flush.cut.unwrap_or_default();
                    if self.progress.durable() >= cut.min(self.progress.cut()) {
                        drop(flush.reply.send(Ok(cut)));
                        continue;
                    }
                    waiting.push(flush);
                }
                Some(Some(job)) if flush.deadline <= now => {
                    let relation = self.jobs.get(&job).map(|job| job.relation).unwrap_or(RelationId(0));
                    drop(flush.reply.send(Err(self.lags(relation))));
                }
                Some(Some(_)) | None => waiting.push(flush),
            }
        }
        self.waiters.flushes = waiting;
    }

    /// A job in one of `states` that has not closed `epoch`.
    fn lagging(&self, epoch: Epoch, states: impl Fn(JobState) -> bool) -> Option<JobId> {
        let asked = self.jobs.values().filter(|job| states(job.state));
        let mut lagging = asked.filter(|job| self.progress.closed(job.id).is_some_and(|closed| closed < epoch));
        lagging.next().map(|job| job.id)
    }

    fn answer_waits(&mut self) {
        let mut waits = std::mem::take(&mut self.waiters.waits);
        for wait in &mut waits {
            let before = wait.sources.len();
            let asked = wait.asked;
            let is_behind =
                |source: &RelationId| self.sources.get(source).is_some_and(|source| !source.host.has_caught_up(asked));
            wait.sources.retain(is_behind);
            if before > 0 && wait.sources.is_empty() {
                // The rest of what they had is in the open epoch.
                self.open.forced = true;
                self.want_cut(true);
            }
        }
        let mut waiting = Vec::new();
        for wait in waits {
            if wait.reply.is_closed() {
                continue;
            }
            if let Some(error) = self.unreadable(&wait.relations) {
                drop(wait.reply.send(Err(error)));
                continue;
            }
            match wait.cut.filter(|cut| self.has_all(&wait.relations, *cut)) {
                Some(cut) => drop(wait.reply.send(Ok(cut))),
                None => waiting.push(wait),
            }
        }
        self.waiters.waits = waiting;
    }

    /// Whether every one of `relations` has closed `cut`, and sinks have delivered it.
    fn has_all(&mut self, relations: &[RelationId], cut: Epoch) -> bool {
        let closed = relations.iter().all(|relation| {
            let job = self.owner.get(relation).and_then(|id| self.jobs.get(id));
            job.is_some_and(|job| cut.min(self.progress.cut()) <= self.progress.closed(job.id).unwrap_or_default())
        });
        if !closed || self.progress.durable() < cut.min(self.progress.cut()) {
            return false;
        }
        let writing = self.checkpoints.is_wanted();
        let undelivered =
            relations.iter().filter_map(|relation| self.sinks.get(relation)).filter(|sink| sink.keeps_rows());
        let behind = undelivered.filter(|sink| sink.delivered() < cut && (writing || !sink.is_empty())).count();
        if behind > 0 && !self.checkpoints.is_under_way() && self.checkpoints.newest() < cut {
            self.want_checkpoint();
        }
        behind == 0
    }

    fn answer_installs(&mut self) {
        let durable = self.progress.durable();
        let mut waiting = Vec::new();
        for (jobs, epoch, reply) in std::mem::take(&mut self.installs) {
            let starting = |id: &JobId| self.jobs.get(id).is_some_and(|job| job.state == JobState::Starting);
            let forgettable = jobs.iter().any(|id| self.is_forgettable(*id));
            if durable >= epoch && !jobs.iter().any(starting) && !forgettable {
                drop(reply.send(Ok(epoch)));
            } else {
                let filled = jobs.iter().all(|id| self.jobs.get(id).is_none_or(|job| job.state != JobState::Filling));
                if forgettable && filled && durable >= epoch && !self.checkpoints.is_under_way() {
                    self.want_checkpoint();
                }
                waiting.push((jobs, epoch, reply));
            }
        }
        self.installs = waiting;
    }

    /// A job of which no checkpoint holds anything is filled anew after a crash, as of then. A sink that leaves its first
    /// contents out would leave out what changed meanwhile, and what depends on when a row came would see it come then:
    /// their CREATE is answered when a checkpoint holds them. (Not that of what reads a source: filling may never end.)
    fn is_forgettable(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id).filter(|job| job.is_live() && job.checkpointed.is_none()) else {
            return false;
        };
        let changes_only =
            job.graph.nodes.iter().any(|node| matches!(&node.kind, NodeKind::Sink(spec) if spec.changes_only));
        let reads_source = || {
            let jobs = self.progress.ancestors(id);
            let mut inputs = jobs.iter().filter_map(|job| self.jobs.get(job)).flat_map(|job| &job.inputs);
            inputs.any(|input| self.sources.contains_key(&input.relation))
        };
        changes_only || job.graph.follows_arrival() && !reads_source()
    }
}

fn job_failed(name: &str, reason: Option<&str>) -> Error {
    Error::unavailable(format!("relation \"{name}\" cannot be read: its job has stopped"))
        .with_code(sqlstate::OBJECT_NOT_IN_STATE)
        .with_detail(reason.unwrap_or("No reason is known.").to_string())
        .with_hint("SELECT * FROM ms_jobs says more. DROP it and create it again once the cause is mended.")
}
