//! What jobs report: installed, closed, failed.

use crate::base::Error;
use crate::base::telemetry::{Phase, PhaseGuard};
use crate::types::{Epoch, JobId};

use super::super::job::JobState;
use super::Coordinator;

impl Coordinator {
    /// A worker has installed a job.
    pub(super) fn note_created(&mut self, id: JobId, worker: usize) {
        let now_us = self.shared.clock.now_us();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.installing.remove(&worker);
        if job.installing.is_empty() {
            self.holds.remove(&id);
            if job.state == JobState::Starting {
                job.enter(JobState::Filling, None, now_us);
            }
            self.note_filled(id);
        }
    }

    /// A worker has closed an epoch of a job.
    pub(super) fn note_closed(&mut self, id: JobId, worker: usize, epoch: Epoch) {
        let _marked = PhaseGuard::enter(Phase::EpochClose);
        if self.progress.note_closed(id, worker, epoch) {
            self.note_filled(id);
        }
    }

    /// Moves a job on when it shows its first epoch, or its last.
    fn note_filled(&mut self, id: JobId) {
        let closed = self.progress.closed(id).unwrap_or_default();
        let ended = self.progress.is_current(id) && self.is_ended(id);
        let now_us = self.shared.clock.now_us();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.state {
            JobState::Filling if closed >= job.shown_from => job.enter(JobState::Running, None, now_us),
            JobState::Starting | JobState::Filling | JobState::Waiting | JobState::Failed => return,
            JobState::Running | JobState::Finished => {}
        }
        let state = if ended { JobState::Finished } else { JobState::Running };
        if job.state != state {
            job.enter(state, None, now_us);
        }
    }

    /// Whether everything that a job reads has ended for ever.
    fn is_ended(&self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        !job.inputs.is_empty()
            && job.inputs.iter().all(|input| match self.sources.get(&input.relation) {
                Some(source) => source.ended,
                None => {
                    let above = self.owner.get(&input.relation).copied();
                    above.is_some_and(|above| above != id && self.is_ended(above))
                }
            })
    }

    /// A job has stopped on one worker.
    pub(super) fn note_failed(&mut self, id: JobId, worker: usize, error: &Error) {
        tracing::warn!(job = %id, worker, error = %error.report(), "job failed");
        self.fail_job(id, error);
    }

    /// Stops a job for good, and with it those below.
    pub(super) fn fail_job(&mut self, id: JobId, error: &Error) {
        let now_us = self.shared.clock.now_us();
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.state != JobState::Failed) else { return };
        let name = job.name.clone();
        job.enter(JobState::Failed, Some(error.report()), now_us);
        self.holds.remove(&id);
        self.detach(id);
        for below in self.progress.stop_job(id) {
            if let Some(job) = self.jobs.get_mut(&below).filter(|job| job.is_live()) {
                job.enter(JobState::Waiting, Some(format!("\"{name}\", which it reads, has failed")), now_us);
            }
            self.detach(below);
        }
        self.forget_stopped_in_checkpoint();
    }
}
