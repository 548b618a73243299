//! The epoch coordinator: one task that alone decides. It cuts epochs, tells jobs, answers reads, takes checkpoints.
//!
//! ```text
//!  sessions ─ requests ─▶┐                       ┌─▶ epoch log (a record per cut; durable → shown)
//!  sources ── input ────▶│  one queue, one task  │─▶ sources: cut, close       (host labels what it reads)
//!  workers ── closed ───▶│  Progress decides     │─▶ jobs: close, grant, create, drop
//!  log ────── durable ──▶┘                       └─▶ checkpoint writer, sinks
//! ```
//!
//! Nothing here blocks: files are written by the log's thread and by the checkpoint's; rows never pass through.

mod checkpoint;
mod checkpoint_writer;
mod clock;
mod cut;
mod install;
mod jobs;
mod sinks;
mod system;
mod wait;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::base::{Error, Result};
use crate::catalog::Relation;
use crate::dataflow::source::SourceHost;
use crate::dataflow::{Response, Runtime};
use crate::state::Hold;
use crate::storage::{EpochLog, SourceCut};
use crate::types::{DeltaBatch, Epoch, JobId, RelationId};

use super::ddl::Ddl;
use super::job::Job;
use super::progress::Progress;
use super::request::{Event, Reply, Request, SharedCatalog};
use super::shared::Shared;
use sinks::SinkDelivery;
use wait::Waiters;

pub(super) use checkpoint::{Checkpoints, JobExtra, RestoredCheckpoint, VIEW_TABLE};
pub(super) use checkpoint_writer::Written;
pub(super) use cut::Announcement;
pub(super) use install::{Past, split_points};

/// What the open epoch holds so far.
#[derive(Default)]
struct Open {
    /// Resolved deltas, in the order of their acceptance.
    writes: Vec<(RelationId, DeltaBatch)>,
    /// Changes of the catalog, each with who waits for it.
    ddl: Vec<(Ddl, Reply<Epoch>)>,
    /// Jobs whose state no checkpoint holds: they are filled anew from this epoch on.
    refilled: Vec<Arc<Relation>>,
    /// A statement waits: cut as soon as the distance to the last cut allows.
    urgent: bool,
    /// A cut is wanted though nothing may have happened (FLUSH, WAIT FOR, manual epochs).
    forced: bool,
    /// When the first thing happened in it.
    since: Option<Instant>,
}

/// A source as the coordinator knows it.
pub(super) struct HostedSource {
    /// The host.
    pub host: Arc<SourceHost>,
    /// Its newest cut, if there is one.
    pub cut: Option<SourceCut>,
    /// Whether all its splits have ended.
    pub ended: bool,
}

/// The coordinator. Made by recovery, run as a task until the engine stops.
pub(super) struct Coordinator {
    pub(super) shared: Arc<Shared>,
    pub(super) catalog: SharedCatalog,
    pub(super) runtime: Runtime,
    pub(super) log: Arc<EpochLog>,
    pub(super) progress: Progress,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) sources: BTreeMap<RelationId, HostedSource>,
    /// The job that maintains each published relation, or runs each sink.
    pub(super) owner: HashMap<RelationId, JobId>,
    pub(super) sender: UnboundedSender<Event>,
    receiver: UnboundedReceiver<Event>,
    open: Open,
    waiters: Waiters,
    pub(super) checkpoints: Checkpoints,
    pub(super) sinks: BTreeMap<RelationId, SinkDelivery>,
    /// Views held at an epoch until every worker of a new job has tapped them.
    holds: BTreeMap<JobId, Vec<Hold>>,
    /// Who waits for a new job to be installed: (job, epoch, reply).
    installs: Vec<(Vec<JobId>, Epoch, Reply<Epoch>)>,
    last_cut: Instant,
    clock_us: i64,
    /// The clock readings of the newest epochs.
    clocks: VecDeque<(Epoch, i64)>,
    manual: bool,
    /// The log or the workers have stopped: why nothing is accepted any more.
    stopped: Option<String>,
    stopping: Option<Reply<()>>,
}

impl Coordinator {
    /// A coordinator of nothing that goes on after `progress`.
    pub(super) fn new(
        shared: Arc<Shared>,
        runtime: Runtime,
        log: Arc<EpochLog>,
        progress: Progress,
        checkpoints: Checkpoints,
        queue: (UnboundedSender<Event>, UnboundedReceiver<Event>),
    ) -> Coordinator {
        Coordinator {
            catalog: Arc::clone(&shared.catalog),
            shared,
            runtime,
            log,
            progress,
            jobs: BTreeMap::new(),
            sources: BTreeMap::new(),
            owner: HashMap::new(),
            sender: queue.0,
            receiver: queue.1,
            open: Open::default(),
            waiters: Waiters::default(),
            checkpoints,
            sinks: BTreeMap::new(),
            holds: BTreeMap::new(),
            installs: Vec::new(),
            last_cut: Instant::now(),
            clock_us: 0,
            clocks: VecDeque::new(),
            manual: false,
            stopped: None,
            stopping: None,
        }
    }

    /// Runs until the engine stops.
    pub(super) async fn run(mut self) {
        // Jobs that are filled anew are there before anyone can ask for them.
        self.cut_refilled();
        while !self.has_stopped() {
            let event = match self.next_deadline() {
                None => self.receiver.recv().await,
                Some(at) => match tokio::time::timeout_at(at.into(), self.receiver.recv()).await {
                    Ok(event) => event,
                    Err(_) => {
                        self.step();
                        continue;
                    }
                },
            };
            let Some(event) = event else { break };
            self.handle(event);
            // Whatever has come meanwhile shares the next cut.
            for _ in 0..1024 {
                let Ok(event) = self.receiver.try_recv() else { break };
                self.handle(event);
            }
            self.step();
        }
        self.end();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Request(request) => self.request(request),
            Event::Worker(response) => self.response(response),
            Event::Source(relation, event) => self.note_source(relation, event),
            Event::Durable(epoch) => {
                self.progress.note_durable(epoch);
                self.write_checkpoint_if_whole();
            }
            Event::LogStopped(error) => self.stop_accepting(&format!("the epoch log has stopped: {}", error.message())),
            Event::CheckpointWritten { id, result } => self.checkpoint_written(id, result),
            Event::Delivered { sink, epoch } => self.note_delivered(sink, epoch),
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Write { writes, reply } => self.accept_writes(writes, reply),
            Request::Read { relations, least, deadline, reply } => {
                self.waiters.read(relations, least, deadline, reply);
            }
            Request::Ddl { ddl, reply } => match self.accepting() {
                Ok(()) => {
                    self.open.ddl.push((ddl, reply));
                    self.want_cut(true);
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::Flush { deadline, reply } => {
                self.open.forced = true;
                self.want_cut(true);
                self.waiters.flush(deadline, reply);
            }
            Request::WaitFor { relations, reply } => self.wait_for(relations, reply),
            Request::SetManual(manual) => {
                self.manual = manual;
                if !manual {
                    self.want_cut(false);
                }
            }
            Request::SystemView { name, reply } => drop(reply.send(self.system_view(&name))),
            Request::Shutdown { reply } => {
                self.stopping = Some(reply);
                self.want_checkpoint();
            }
        }
    }

    fn response(&mut self, response: Response) {
        match response {
            Response::Created { job, worker } => self.note_created(job, worker),
            Response::Closed { job, worker, epoch, wake_us } => {
                self.note_wake(job, worker, wake_us);
                self.note_closed(job, worker, epoch);
            }
            Response::Failed { job, worker, error } => self.note_failed(job, worker, &error),
            Response::Cut { job, epoch, cut, .. } => self.note_state_cut(job, epoch, cut),
            Response::Dropped { .. } => {}
            Response::WorkerDied { worker } => self.stop_accepting(&format!("worker {worker} has ended")),
        }
    }

    /// What time or the last events have made due.
    fn step(&mut self) {
        self.wake_if_due();
        self.cut_if_due();
        self.checkpoint_if_due();
        self.finish_sinks();
        self.answer_waiters();
        self.tell_epochs();
    }

    /// When something is due though nothing happens.
    fn next_deadline(&self) -> Option<Instant> {
        let due = [self.cut_due(), self.wake_due(), self.checkpoint_due(), self.waiters.next_deadline()];
        due.into_iter().flatten().min()
    }

    /// Fails when nothing can be accepted any more.
    fn accepting(&self) -> Result<()> {
        match (&self.stopped, &self.stopping) {
            (Some(why), _) => Err(Error::unavailable("the engine accepts no more changes")
                .with_detail(format!("Reason: {why}."))
                .with_hint("Stop the server, mend the cause, and start it again: nothing acknowledged is lost.")),
            (None, Some(_)) => Err(Error::unavailable("the engine is stopping")
                .with_code(crate::base::sqlstate::ADMIN_SHUTDOWN)
                .with_hint("Connect again when it is back.")),
            (None, None) => Ok(()),
        }
    }

    fn stop_accepting(&mut self, why: &str) {
        if self.stopped.is_none() {
            tracing::error!(why, "the engine accepts no more changes");
            self.stopped = Some(why.to_string());
        }
        self.fail_open(why);
    }

    /// Whether a shutdown was asked for and everything is on disk.
    fn has_stopped(&self) -> bool {
        self.stopping.is_some() && (self.stopped.is_some() || self.checkpoints.is_idle_after_shutdown())
    }

    /// The last act: sources and workers end, and who asked is told.
    fn end(mut self) {
        for source in self.sources.values() {
            source.host.stop();
        }
        self.sinks.clear();
        self.jobs.clear();
        if let Err(error) = self.runtime.shutdown() {
            tracing::error!(error = %error.report(), "the workers did not stop cleanly");
        }
        if let Some(reply) = self.stopping.take() {
            drop(reply.send(Ok(())));
        }
    }
}
