//! The runtime: N worker threads that run graphs as timely dataflows. The only folder of the crate with `timely`.
//!
//! ```text
//!   coordinator ── create, drop ──▶ bus ──▶ worker 0: [job 1][job 2]…   one thread each; every job on every worker
//!                ◀─ Response ──────────────  worker 1: [job 1][job 2]…   (subtasks), exchanging rows between them
//!   hosts ── JobInput ──▶ input nodes
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `bus`, `host` | commands; the loop of a worker thread |
//! | `build` | graph → timely operators, alike on every worker |
//! | `inlet`, `tap`, `local` | input nodes; relations followed on the same worker |
//! | `subtask`, `body`, `outlet` | the driver of an operator, publish or sink node; what it calls; where it sends |
//! | `job`, `history` | what the subtasks of a job share on a worker; epochs, watermarks, checkpoints |
//! | `container`, `exchange`, `lanes` | what travels, where to, and how much of it at most |
//!
//! Timely's timestamp is the epoch. Its frontier says when an epoch has ended everywhere above a node; nothing else
//! orders workers. A job whose operator errs or panics keeps its capabilities: its frontier freezes on all workers, so
//! nothing of the unfinished epoch is ever seen, and other jobs do not notice.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use timely::WorkerConfig;
use timely::communication::{Config, WorkerGuards};
use timely::execute::execute_from;
use tokio::sync::mpsc::UnboundedSender;

use super::{CreateJob, JobInputReceivers, JobMetrics, NodeKind, Response, WorkerMetrics};
use crate::base::{Error, Result};
use crate::state::{MemoryBudget, Tier};
use crate::types::{JobId, KEY_GROUPS};
use bus::{Bus, Command};
use host::Host;
use job::JobPlan;
use lanes::Lanes;
use share::Shares;

mod body;
mod build;
mod bus;
mod container;
mod exchange;
mod history;
mod host;
mod inlet;
mod job;
mod lanes;
mod local;
mod outlet;
mod share;
mod subtask;
mod tap;
#[cfg(test)]
mod tests;

/// Timely's timestamp: an epoch.
type Time = u64;

/// What a runtime may use.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// Where the bytes of operators' state are counted.
    pub budget: Arc<MemoryBudget>,
    /// Where state is; `Strict` is for tests.
    pub tier: Tier,
    /// Rows that an operator is handed at once, at most.
    pub batch_rows: usize,
    /// Bytes of rows under way on one edge from one worker.
    pub edge_queue_bytes: usize,
    /// Bytes of changes of a relation that may wait in memory for one follower on one worker; what is beyond waits on disk.
    pub follow_bytes_max: usize,
    /// Bytes that may wait there.
    pub follow_disk_bytes_max: u64,
    /// Where files may lie that need not survive.
    pub scratch: PathBuf,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        RuntimeSettings {
            budget: MemoryBudget::unlimited(),
            tier: Tier::Resident,
            batch_rows: 8192,
            edge_queue_bytes: 4 << 20,
            follow_bytes_max: 256 << 20,
            follow_disk_bytes_max: 64 << 30,
            scratch: std::env::temp_dir(),
        }
    }
}

/// The workers of this process. Dropping it shuts them down.
pub struct Runtime {
    workers: usize,
    settings: RuntimeSettings,
    bus: Arc<Bus>,
    jobs: Mutex<HashMap<JobId, Installed>>,
    metrics: Arc<Vec<WorkerMetrics>>,
    shares: Arc<Shares>,
    guards: Option<WorkerGuards<()>>,
}

/// What stays readable of a job.
struct Installed {
    metrics: Arc<JobMetrics>,
    lanes: Arc<Lanes>,
}

impl Runtime {
    /// Starts `workers` threads. Responses come from now on; if their receiver is gone they are dropped.
    pub fn start(workers: usize, settings: RuntimeSettings, responses: UnboundedSender<Response>) -> Result<Runtime> {
        if workers == 0 || workers > KEY_GROUPS {
            return Err(Error::invalid(format!("setting workers is {workers}"))
                .with_detail(format!("Expected 1 to {KEY_GROUPS}, the number of key groups."))
                .with_hint("Set workers to the number of cores."));
        }
        let bus = Arc::new(Bus::new(workers));
        let metrics: Arc<Vec<WorkerMetrics>> = Arc::new((0..workers).map(|_| WorkerMetrics::default()).collect());
        let communication = if workers == 1 { Config::Thread } else { Config::Process(workers) };
        let started =
            |what: String| Error::unavailable("could not start the worker threads").with_detail(format!("{what}."));
        let (builders, others) = communication.try_build().map_err(started)?;
        let shares = Arc::new(Shares::new());
        let host = (settings.clone(), Arc::clone(&bus), Arc::clone(&metrics), Arc::clone(&shares));
        let guards = execute_from(builders, others, WorkerConfig::default(), move |worker| {
            let (settings, bus, metrics, shares) = host.clone();
            Host::new(worker, settings, bus, responses.clone(), metrics).run(worker, &shares);
        });
        let guards = Some(guards.map_err(started)?);
        Ok(Runtime { workers, settings, bus, jobs: Mutex::default(), metrics, shares, guards })
    }

    /// How many workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Installs a job on every worker. The graph is validated here; `Internal` when it or what comes with it does not
    /// fit, and then nothing was sent.
    pub fn create(&self, create: CreateJob) -> Result<()> {
        create.graph.validate()?;
        self.check(&create)?;
        let job = create.job;
        let inputs = create.inputs.values().map(JobInputReceivers::giving_way).collect();
        let plan = Arc::new(JobPlan::new(create, self.workers, &self.settings));
        let mut jobs = self.jobs.lock();
        if jobs.contains_key(&job) {
            return Err(Error::internal(format!("job {job} is already installed")));
        }
        jobs.insert(job, Installed { metrics: Arc::clone(&plan.metrics), lanes: Arc::clone(&plan.lanes) });
        self.shares.add(job, &plan.share, inputs);
        self.bus.send(&Command::Create(plan));
        Ok(())
    }

    /// Takes a job down, running or failed. Rows under way in it are dropped.
    pub fn drop_job(&self, job: JobId) {
        self.jobs.lock().remove(&job);
        self.shares.remove(job);
        self.bus.send(&Command::Drop(job));
    }

    /// What a job has done, by node and worker.
    pub fn job_metrics(&self, job: JobId) -> Option<Arc<JobMetrics>> {
        self.jobs.lock().get(&job).map(|installed| Arc::clone(&installed.metrics))
    }

    /// Bytes of rows under way between the operators of a job.
    pub fn bytes_under_way(&self, job: JobId) -> usize {
        self.jobs.lock().get(&job).map_or(0, |installed| installed.lanes.bytes())
    }

    /// What each worker has done.
    pub fn worker_metrics(&self) -> &[WorkerMetrics] {
        &self.metrics
    }

    /// Takes all jobs down and ends the threads. `Internal` if one had died.
    pub fn shutdown(mut self) -> Result<()> {
        self.stop()
    }

    fn stop(&mut self) -> Result<()> {
        let Some(guards) = self.guards.take() else { return Ok(()) };
        self.bus.send(&Command::Shutdown);
        match guards.join().into_iter().find_map(|joined| joined.err()) {
            Some(panic) => Err(Error::internal("a worker thread had died").with_detail(format!("{panic}."))),
            None => Ok(()),
        }
    }

    fn check(&self, create: &CreateJob) -> Result<()> {
        let workers = self.workers;
        for node in &create.graph.nodes {
            let input = || create.inputs.get(&node.id).map(|receivers| receivers.workers());
            let view = |view: Option<&Arc<crate::state::PublishedView>>| view.map(|view| view.shards());
            let fits = match &node.kind {
                NodeKind::Source(_) => input() == Some(workers),
                NodeKind::Relation(_) => input() == Some(workers) && view(create.taps.get(&node.id)) == Some(workers),
                NodeKind::Operator(_) => true,
                NodeKind::Publish(_) => view(create.publish.get(&node.id)) == Some(workers),
                NodeKind::Sink(_) => create.sinks.get(&node.id).map(|outbox| outbox.workers()) == Some(workers),
            };
            if !fits {
                return Err(Error::internal(format!(
                    "node {} \"{}\" of job {} lacks its queue, view or outbox for {workers} workers",
                    node.id, node.name, create.job
                )));
            }
        }
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Whoever drops without asking does not want to know.
        let _ = self.stop();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("workers", &self.workers).field("settings", &self.settings).finish()
    }
}
