//! Progress: which epochs each job has been told of, which it has closed, and at which epoch relations may be read.
//!
//! A pure state machine without threads or clocks; the coordinator drives it. Its rules, from `docs/life-of-an-epoch.md`:
//!
//! 1. A cut announces its epoch to the jobs below a relation that changed, and to no other job.
//! 2. A job is *current* once it has closed the last epoch announced to it: then its relations count as closed at every
//!    epoch cut so far. Until then they are closed up to the epoch before the oldest one still open.
//! 3. Nothing is read above the durable epoch, and no relation is ever read below an epoch at which it was shown.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::types::{Epoch, JobId, RelationId};

/// Where a job stands.
#[derive(Clone, Debug)]
struct JobProgress {
    inputs: Vec<RelationId>,
    outputs: Vec<RelationId>,
    /// Epochs announced and not yet closed by every worker, oldest first.
    open: VecDeque<Epoch>,
    /// The last epoch each worker has closed.
    closed: Vec<Epoch>,
    /// Epochs announced since the newest checkpoint.
    announced: BTreeSet<Epoch>,
    /// The newest epoch that was announced.
    newest: Epoch,
    /// Whether it stopped for good (failed): its frontier stands still.
    stopped: bool,
}

/// Progress of all jobs and relations on one timeline.
#[derive(Debug, Default)]
pub struct Progress {
    jobs: BTreeMap<JobId, JobProgress>,
    producer: HashMap<RelationId, JobId>,
    /// The newest epoch in which each relation changed, as far as announced.
    changed: HashMap<RelationId, Epoch>,
    /// The newest epoch at which each relation was shown to a reader.
    shown: HashMap<RelationId, Epoch>,
    cut: Epoch,
    durable: Epoch,
    /// The last epoch of the log at recovery: what was shown before the crash is not above it, so nothing is shown below.
    recovered: Epoch,
}

impl Progress {
    /// Progress that starts after `epoch`: everything up to it is cut and durable.
    pub fn new(epoch: Epoch) -> Self {
        Progress { cut: epoch, durable: epoch, recovered: epoch, ..Progress::default() }
    }

    /// Below this epoch nothing is shown any more.
    pub fn recovered(&self) -> Epoch {
        self.recovered
    }

    /// The newest cut epoch.
    pub fn cut(&self) -> Epoch {
        self.cut
    }

    /// The newest epoch whose log record is on disk.
    pub fn durable(&self) -> Epoch {
        self.durable
    }

    /// Notes that `epoch` was cut.
    pub fn note_cut(&mut self, epoch: Epoch) {
        self.cut = self.cut.max(epoch);
    }

    /// Notes that the record of `epoch` is on disk.
    pub fn note_durable(&mut self, epoch: Epoch) {
        self.durable = self.durable.max(epoch);
    }

    /// Adds a job that reads `inputs` and maintains `outputs` on `workers` workers. It has closed `from` and nothing since.
    pub fn add_job(
        &mut self,
        job: JobId,
        inputs: Vec<RelationId>,
        outputs: Vec<RelationId>,
        workers: usize,
        from: Epoch,
    ) {
        for &output in &outputs {
            self.producer.insert(output, job);
            self.changed.entry(output).or_insert(from);
        }
        let progress = JobProgress {
            inputs,
            outputs,
            open: VecDeque::new(),
            closed: vec![from; workers.max(1)],
            announced: BTreeSet::new(),
            newest: from,
            stopped: false,
        };
        self.jobs.insert(job, progress);
    }

    /// Forgets a dropped job and its relations.
    pub fn remove_job(&mut self, job: JobId) {
        let Some(progress) = self.jobs.remove(&job) else { return };
        for output in progress.outputs {
            self.producer.remove(&output);
            self.changed.remove(&output);
            self.shown.remove(&output);
        }
    }

    /// Marks a job as stopped for good, and with it all jobs below it, which are given.
    pub fn stop_job(&mut self, job: JobId) -> Vec<JobId> {
        let below = self.affected(&BTreeSet::new(), &BTreeSet::from([job]));
        for id in below.iter().chain([&job]) {
            if let Some(progress) = self.jobs.get_mut(id) {
                progress.stopped = true;
            }
        }
        below.into_iter().filter(|id| *id != job).collect()
    }

    /// Whether an epoch after `after` and up to `upto` was announced to `job`.
    pub fn was_announced_between(&self, job: JobId, after: Epoch, upto: Epoch) -> bool {
        let progress = self.jobs.get(&job);
        progress
            .is_some_and(|progress| progress.announced.range(after.next()..=upto.max(after.next())).any(|e| *e <= upto))
    }

    /// Forgets which epochs up to `epoch` were announced: they are in a checkpoint.
    pub fn forget_announced(&mut self, epoch: Epoch) {
        for progress in self.jobs.values_mut() {
            progress.announced = progress.announced.split_off(&epoch.next());
        }
    }

    /// The jobs that see an epoch in which `changed` relations have new contents, in an order in which every job comes
    /// after those it reads. `also` sees it in any case, with what is below.
    pub fn affected(&self, changed: &BTreeSet<RelationId>, also: &BTreeSet<JobId>) -> Vec<JobId> {
        let mut touched = changed.clone();
        let mut affected = Vec::new();
        for (&job, progress) in self.jobs.iter().filter(|(_, progress)| !progress.stopped) {
            if also.contains(&job) || progress.inputs.iter().any(|input| touched.contains(input)) {
                touched.extend(progress.outputs.iter().copied());
                affected.push(job);
            }
        }
        affected
    }

    /// The jobs above `job`, itself included: what must close an epoch for `job` to see it whole.
    pub fn ancestors(&self, job: JobId) -> BTreeSet<JobId> {
        let mut found = BTreeSet::from([job]);
        let mut next = vec![job];
        while let Some(progress) = next.pop().and_then(|job| self.jobs.get(&job)) {
            let above = progress.inputs.iter().filter_map(|input| self.producer.get(input));
            next.extend(above.filter(|&&job| found.insert(job)));
        }
        found
    }

    /// Notes that `epoch` was announced to `job`: it is not current before every worker has closed it.
    pub fn announce(&mut self, job: JobId, epoch: Epoch) {
        let Some(progress) = self.jobs.get_mut(&job) else { return };
        progress.open.push_back(epoch);
        progress.announced.insert(epoch);
        progress.newest = epoch;
        for &output in &progress.outputs {
            self.changed.insert(output, epoch);
        }
    }

    /// Notes that a source relation changed in `epoch`.
    pub fn note_changed(&mut self, relation: RelationId, epoch: Epoch) {
        self.changed.insert(relation, epoch);
    }

    /// The newest epoch in which `relation` changed, as announced: what a grant to a reader of it must come after.
    pub fn last_change(&self, relation: RelationId) -> Epoch {
        self.changed.get(&relation).copied().unwrap_or_default()
    }

    /// Notes that `worker` has closed `epoch` of `job`. Returns whether the whole job moved.
    pub fn note_closed(&mut self, job: JobId, worker: usize, epoch: Epoch) -> bool {
        let Some(progress) = self.jobs.get_mut(&job) else { return false };
        let Some(closed) = progress.closed.get_mut(worker) else { return false };
        *closed = (*closed).max(epoch);
        let all = progress.closed.iter().copied().min().unwrap_or_default();
        let before = progress.open.len();
        while progress.open.front().is_some_and(|&open| open <= all) {
            progress.open.pop_front();
        }
        progress.open.len() < before
    }

    /// The newest epoch that every worker of `job` has closed, counting gaps: the newest cut when it is current.
    pub fn closed(&self, job: JobId) -> Option<Epoch> {
        let progress = self.jobs.get(&job)?;
        if let Some(open) = progress.open.front() {
            return Some(Epoch(open.0 - 1));
        }
        Some(if progress.stopped { progress.newest } else { self.cut })
    }

    /// The oldest epoch announced to `job` that it has not closed.
    pub fn oldest_open(&self, job: JobId) -> Option<Epoch> {
        self.jobs.get(&job)?.open.front().copied()
    }

    /// Whether `job` has closed every epoch announced to it.
    pub fn is_current(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|progress| progress.open.is_empty())
    }

    /// Up to which epoch `relation` may be read now; `None` when no job maintains it.
    pub fn readable(&self, relation: RelationId) -> Option<Epoch> {
        let job = self.producer.get(&relation)?;
        self.closed(*job).map(|closed| closed.min(self.durable))
    }

    /// The newest epoch at which all `relations` can be read together and that is at least `least` and every epoch at
    /// which one of them was shown; `Err` names the relation that lags furthest behind.
    pub fn read_epoch(&mut self, relations: &[RelationId], least: Epoch) -> Result<Epoch, RelationId> {
        let mut newest = self.durable;
        let mut lagging = None;
        let mut floor = least.max(self.recovered);
        for relation in relations {
            let readable = self.readable(*relation).unwrap_or_default();
            floor = floor.max(self.shown.get(relation).copied().unwrap_or_default());
            if readable < newest {
                newest = readable;
                lagging = Some(*relation);
            }
        }
        if newest < floor {
            return Err(lagging.or(relations.first().copied()).unwrap_or(RelationId(0)));
        }
        for relation in relations {
            self.shown.insert(*relation, newest);
        }
        Ok(newest)
    }

    /// The oldest epoch at which a reader may still ask for any relation: published views may fold what is below it.
    pub fn oldest_readable(&self) -> Epoch {
        let running = self.jobs.iter().filter(|(_, progress)| !progress.stopped);
        let closed = running.filter_map(|(&job, _)| self.closed(job));
        closed.fold(self.durable, Epoch::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: RelationId = RelationId(1);
    const U: RelationId = RelationId(2);
    const V: RelationId = RelationId(3);

    /// Table jobs for T and U, and a view V over both, on two workers.
    fn three() -> Progress {
        let mut progress = Progress::new(Epoch(10));
        progress.add_job(JobId(1), vec![], vec![T], 2, Epoch(10));
        progress.add_job(JobId(2), vec![], vec![U], 2, Epoch(10));
        progress.add_job(JobId(3), vec![T, U], vec![V], 2, Epoch(10));
        progress
    }

    fn cut(progress: &mut Progress, epoch: u64, also: &[JobId]) -> Vec<JobId> {
        let affected = progress.affected(&BTreeSet::new(), &also.iter().copied().collect());
        progress.note_cut(Epoch(epoch));
        affected.iter().for_each(|&job| progress.announce(job, Epoch(epoch)));
        affected
    }

    fn close(progress: &mut Progress, job: u64, epoch: u64) {
        progress.note_closed(JobId(job), 0, Epoch(epoch));
        progress.note_closed(JobId(job), 1, Epoch(epoch));
    }

    #[test]
    fn silence_counts_as_closed() {
        let mut progress = three();
        assert_eq!(cut(&mut progress, 11, &[JobId(1)]), [JobId(1), JobId(3)]);
        progress.note_durable(Epoch(11));
        assert_eq!(progress.readable(U), Some(Epoch(11)));
        assert_eq!(progress.readable(T), Some(Epoch(10)));
        close(&mut progress, 1, 11);
        assert_eq!(progress.readable(T), Some(Epoch(11)));
        assert_eq!(progress.readable(V), Some(Epoch(10)));
        close(&mut progress, 3, 11);
        assert_eq!(progress.readable(V), Some(Epoch(11)));
    }

    #[test]
    fn nothing_is_read_before_its_record_is_durable() {
        let mut progress = three();
        cut(&mut progress, 11, &[JobId(1)]);
        close(&mut progress, 1, 11);
        assert_eq!(progress.readable(T), Some(Epoch(10)));
        assert!(progress.read_epoch(&[T], Epoch(11)).is_err());
        progress.note_durable(Epoch(11));
        assert_eq!(progress.read_epoch(&[T], Epoch(11)), Ok(Epoch(11)));
    }

    #[test]
    fn a_relation_is_never_read_behind_what_it_has_shown() {
        let mut progress = three();
        cut(&mut progress, 11, &[JobId(1)]);
        close(&mut progress, 1, 11);
        progress.note_durable(Epoch(11));
        assert_eq!(progress.read_epoch(&[T], Epoch(0)), Ok(Epoch(11)));
        // V is still at 10: the two together wait for it rather than show T at 10 again.
        assert_eq!(progress.read_epoch(&[T, V], Epoch(0)), Err(V));
        close(&mut progress, 3, 11);
        assert_eq!(progress.read_epoch(&[T, V], Epoch(0)), Ok(Epoch(11)));
    }

    #[test]
    fn nothing_is_shown_below_the_epoch_before_the_crash() {
        let mut progress = Progress::new(Epoch(12));
        progress.add_job(JobId(1), vec![], vec![T], 2, Epoch(10));
        cut(&mut progress, 12, &[JobId(1)]);
        assert_eq!(progress.read_epoch(&[T], Epoch(0)), Err(T));
        close(&mut progress, 1, 12);
        assert_eq!(progress.read_epoch(&[T], Epoch(0)), Ok(Epoch(12)));
    }

    #[test]
    fn one_slow_worker_holds_the_job() {
        let mut progress = three();
        cut(&mut progress, 11, &[JobId(1)]);
        cut(&mut progress, 12, &[JobId(1)]);
        progress.note_durable(Epoch(12));
        progress.note_closed(JobId(1), 0, Epoch(12));
        assert_eq!(progress.readable(T), Some(Epoch(10)));
        progress.note_closed(JobId(1), 1, Epoch(11));
        assert_eq!(progress.readable(T), Some(Epoch(11)));
        assert_eq!(progress.oldest_readable(), Epoch(10));
    }

    #[test]
    fn ancestors_are_found_through_views() {
        let mut progress = three();
        progress.add_job(JobId(4), vec![V], vec![RelationId(4)], 2, Epoch(10));
        assert_eq!(progress.ancestors(JobId(4)).len(), 4);
    }

    #[test]
    fn a_stopped_job_stands_still() {
        let mut progress = three();
        progress.stop_job(JobId(3));
        assert_eq!(cut(&mut progress, 11, &[JobId(1)]), [JobId(1)]);
        progress.note_durable(Epoch(11));
        close(&mut progress, 1, 11);
        assert_eq!(progress.readable(V), Some(Epoch(10)));
        assert_eq!(progress.readable(T), Some(Epoch(11)));
    }
}
