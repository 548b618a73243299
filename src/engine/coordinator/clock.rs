//! Jobs that follow the clock: they see every epoch, and one is cut when a timer of theirs is due.

use std::time::{Duration, Instant};

use crate::types::JobId;

use super::Coordinator;

/// No timer is waited for longer at once: the system's clock may be set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Coordinator {
    /// A worker tells when `job` wants an epoch.
    pub(super) fn note_wake(&mut self, job: JobId, worker: usize, wake_us: Option<i64>) {
        if let Some(slot) = self.jobs.get_mut(&job).and_then(|job| job.wakes_us.get_mut(worker)) {
            *slot = wake_us;
        }
    }

    /// The earliest clock reading that a job waits for. One that has epochs to close will tell anew when it has.
    fn next_wake_us(&self) -> Option<i64> {
        let waiting = self.jobs.values().filter(|job| job.follows_clock && job.is_live());
        let current = waiting.filter(|job| self.progress.is_current(job.id));
        current.flat_map(|job| job.wakes_us.iter().flatten().copied()).min()
    }

    /// Whether a timer is due at the clock reading `clock_us`.
    pub(super) fn has_timer(&self, clock_us: i64) -> bool {
        self.next_wake_us().is_some_and(|wake_us| wake_us <= clock_us)
    }

    /// When the next timer is to be looked at.
    pub(super) fn wake_due(&self) -> Option<Instant> {
        if self.manual || self.stopped.is_some() || self.open.since.is_some() {
            return None;
        }
        let wake_us = self.next_wake_us()?;
        let wait_us = wake_us.saturating_sub(self.shared.clock.now_us()).max(0).unsigned_abs();
        Some(Instant::now() + Duration::from_micros(wait_us).min(WAIT_MAX))
    }

    /// A timer that is due is something that happened.
    pub(super) fn wake_if_due(&mut self) {
        if !self.manual && self.open.since.is_none() && self.has_timer(self.shared.clock.now_us()) {
            self.want_cut(false);
        }
    }
}
