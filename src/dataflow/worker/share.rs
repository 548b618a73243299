//! How the jobs of a process share its cores: one that needs far more time per row than its neighbours gives way to them.
//!
//! Every worker gives each of its subtasks a slice of time in turn, so two busy jobs would halve the cores between them,
//! and a job whose rows are costly would halve the rate of all others. Therefore a *heavy* job gets only what the lighter
//! ones and the decoders leave, but never less than [`LEAST`] of a worker. Nobody gives way to idle neighbours. (The idea
//! of serving first whoever brings most rows per second of CPU is the "rate-based" policy of Urhan and Franklin, 2001.)

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::dataflow::source::decode_busy;
use crate::types::JobId;

/// How often the shares are decided anew.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long ago work is forgotten to a third.
const MEMORY: Duration = Duration::from_millis(1000);
/// A job whose rows cost less than this (microseconds per row and operator) is never heavy.
const HEAVY_ROW_US: f64 = 10.0;
/// A heavy job's rows cost at least so many times those of its lightest neighbour.
const HEAVY_TIMES: f64 = 8.0;
/// A job that uses less of a core than this neither gives way nor is given way to.
const ACTIVE: f64 = 0.01;
/// The smallest share of a worker's time that heavy jobs together are left with.
const LEAST: f64 = 0.1;

/// What one job uses, on all workers, and what it may use.
#[derive(Debug)]
pub(super) struct Share {
    busy_us: AtomicU64,
    rows: AtomicU64,
    /// Thousandths of each worker's time that it may have.
    allowed: AtomicU32,
}

impl Default for Share {
    fn default() -> Self {
        Share { busy_us: AtomicU64::new(0), rows: AtomicU64::new(0), allowed: AtomicU32::new(1000) }
    }
}

impl Share {
    /// Notes time spent in the job's calls.
    pub(super) fn was_busy(&self, us: u64) {
        self.busy_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How long the job should stay away from a worker after so much time in its calls, as shares are now.
    pub(super) fn pause_after(&self, us: u64) -> Duration {
        let allowed = u64::from(self.allowed.load(Ordering::Relaxed)).clamp(1, 1000);
        Duration::from_micros(us * (1000 - allowed) / allowed)
    }

    /// Notes rows that an operator has taken.
    pub(super) fn took(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// The shares of all jobs of a process.
#[derive(Debug)]
pub(super) struct Shares {
    begun: Instant,
    next_look_us: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<JobId, Member>,
    looked: Duration,
    decode: Meter,
    span: f64,
}

#[derive(Debug)]
struct Member {
    share: Arc<Share>,
    /// Where the job's inputs are told that it gives way.
    inputs: Vec<Arc<AtomicBool>>,
    busy: Meter,
    rows: Meter,
}

/// A counter's growth, older growth counting less.
#[derive(Debug, Default)]
struct Meter {
    last: u64,
    recent: f64,
}

impl Meter {
    fn read(&mut self, now: u64, keep: f64) {
        self.recent = self.recent * keep + now.saturating_sub(self.last) as f64;
        self.last = now;
    }
}

impl Shares {
    pub(super) fn new() -> Self {
        Shares { begun: Instant::now(), next_look_us: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(super) fn add(&self, job: JobId, share: &Arc<Share>, inputs: Vec<Arc<AtomicBool>>) {
        let member = Member { share: Arc::clone(share), inputs, busy: Meter::default(), rows: Meter::default() };
        self.state.lock().jobs.insert(job, member);
    }

    pub(super) fn remove(&self, job: JobId) {
        self.state.lock().jobs.remove(&job);
    }

    /// Decides anew if it is time to; called by every worker at every step.
    pub(super) fn look(&self) {
        let now = self.begun.elapsed();
        let now_us = now.as_micros() as u64;
        if now_us < self.next_look_us.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut state) = self.state.try_lock() else { return };
        self.next_look_us.store(now_us + LOOK_EVERY.as_micros() as u64, Ordering::Relaxed);
        state.update(now, decode_busy());
    }
}

impl State {
    fn update(&mut self, now: Duration, decoded: Duration) {
        let passed = now.saturating_sub(self.looked).as_secs_f64();
        self.looked = now;
        let keep = (-passed / MEMORY.as_secs_f64()).exp();
        self.span = self.span * keep + passed * 1e6;
        self.decode.read(decoded.as_micros() as u64, keep);
        let mut loads = Vec::with_capacity(self.jobs.len());
        for member in self.jobs.values_mut() {
            member.busy.read(member.share.busy_us.load(Ordering::Relaxed), keep);
            member.rows.read(member.share.rows.load(Ordering::Relaxed), keep);
            let cost_us = member.busy.recent / member.rows.recent.max(1.0);
            loads.push(Load { cores: member.busy.recent / self.span.max(1.0), cost_us });
        }
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let allowed = decide(&loads, self.decode.recent / self.span.max(1.0), cores);
        for (member, allowed) in self.jobs.values().zip(allowed) {
            member.share.allowed.store((allowed * 1000.0) as u32, Ordering::Relaxed);
            member.inputs.iter().for_each(|input| input.store(allowed < 1.0, Ordering::Relaxed));
        }
    }
}

/// What one job used lately.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Cores.
    cores: f64,
    /// Microseconds per row and operator.
    cost_us: f64,
}

/// The share of each worker's time that every job may have, when the decoders use `decode` of the `cores`.
fn decide(loads: &[Load], decode: f64, cores: f64) -> Vec<f64> {
    let active = || loads.iter().filter(|load| load.cores >= ACTIVE);
    let lightest = active().map(|load| load.cost_us).fold(f64::INFINITY, f64::min);
    let is_heavy =
        |load: &Load| load.cores >= ACTIVE && load.cost_us >= HEAVY_ROW_US && load.cost_us >= HEAVY_TIMES * lightest;
    let heavy = active().filter(|load| is_heavy(load)).count().max(1) as f64;
    let others = decode + active().filter(|load| !is_heavy(load)).map(|load| load.cores).sum::<f64>();
    let left = (1.0 - 2.0 * others / cores).clamp(LEAST, 1.0);
    // With room to spare each may have all of it: their own slices are dealt in turn.
    let each = if left < 1.0 { left / heavy } else { 1.0 };
    loads.iter().map(|load| if is_heavy(load) { each } else { 1.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(cores: f64, cost_us: f64) -> Load {
        Load { cores, cost_us }
    }

    #[test]
    fn only_heavy_jobs_give_way_and_only_to_those_at_work() {
        let light = load(0.9, 0.5);
        let heavy = load(0.9, 50.0);
        assert_eq!(decide(&[light, heavy], 0.2, 2.0), [1.0, LEAST]);
        assert_eq!(decide(&[light, heavy, heavy], 0.2, 2.0), [1.0, LEAST / 2.0, LEAST / 2.0]);
        // Alone, or among its like, it has everything.
        assert_eq!(decide(&[heavy], 0.0, 2.0), [1.0]);
        assert_eq!(decide(&[heavy, load(0.5, 20.0)], 0.1, 2.0), [1.0, 1.0]);
        // Costly to its neighbours only by comparison: ordinary operators never give way.
        assert_eq!(decide(&[load(0.9, 0.01), load(0.9, 5.0)], 0.5, 2.0), [1.0, 1.0]);
        // To a neighbour that does little it leaves what that needs.
        let shares = decide(&[load(0.2, 0.5), heavy], 0.0, 2.0);
        assert_eq!(shares[0], 1.0);
        assert!((shares[1] - 0.8).abs() < 1e-9);
        // A neighbour that does nothing is none.
        assert_eq!(decide(&[load(0.001, 0.5), heavy], 0.0, 2.0), [1.0, 1.0]);
    }

    #[test]
    fn a_job_stays_away_in_proportion_to_what_it_used() {
        let share = Share::default();
        assert_eq!(share.pause_after(5_000), Duration::ZERO);
        share.allowed.store(100, Ordering::Relaxed);
        assert_eq!(share.pause_after(5_000), Duration::from_micros(45_000));
        share.allowed.store(0, Ordering::Relaxed);
        assert_eq!(share.pause_after(5_000), Duration::from_micros(4_995_000));
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut state = State::default();
        let (light, heavy) = (Arc::new(Share::default()), Arc::new(Share::default()));
        let told: [Arc<AtomicBool>; 2] = Default::default();
        for (id, share) in [(1, &light), (2, &heavy)] {
            let inputs = vec![Arc::clone(&told[id as usize - 1])];
            let member = Member { share: Arc::clone(share), inputs, busy: Meter::default(), rows: Meter::default() };
            state.jobs.insert(JobId(id), member);
        }
        let mut now = Duration::ZERO;
        for _ in 0..50 {
            now += LOOK_EVERY;
            light.was_busy(20_000);
            light.took(40_000);
            heavy.was_busy(20_000);
            heavy.took(400);
            state.update(now, Duration::ZERO);
        }
        assert_eq!(heavy.allowed.load(Ordering::Relaxed), 100);
        assert_eq!(told.each_ref().map(|told| told.load(Ordering::Relaxed)), [false, true]);
        for _ in 0..500 {
            now += LOOK_EVERY;
            heavy.was_busy(20_000);
            heavy.took(400);
            state.update(now, Duration::ZERO);
        }
        assert_eq!(heavy.allowed.load(Ordering::Relaxed), 1000, "its neighbour has stopped");
    }
}
