//! A worker thread: executes commands between steps, steps its dataflows, reports, and parks when nothing moves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use timely::worker::Worker;
use tokio::sync::mpsc::UnboundedSender;

use super::RuntimeSettings;
use super::build::build;
use super::bus::{Bus, Command};
use super::job::{Changed, JobCell};
use super::local::LocalRelations;
use super::share::Shares;
use crate::dataflow::{Response, WorkerMetrics};
use crate::types::JobId;

/// What a worker's jobs share.
pub(super) struct Host {
    pub(super) worker: usize,
    pub(super) workers: usize,
    pub(super) settings: RuntimeSettings,
    pub(super) bus: Arc<Bus>,
    pub(super) changed: Changed,
    pub(super) relations: LocalRelations,
    responses: UnboundedSender<Response>,
    pub(super) metrics: Arc<Vec<WorkerMetrics>>,
}

impl Host {
    pub(super) fn new(
        worker: &Worker,
        settings: RuntimeSettings,
        bus: Arc<Bus>,
        responses: UnboundedSender<Response>,
        metrics: Arc<Vec<WorkerMetrics>>,
    ) -> Self {
        Host {
            worker: worker.index(),
            workers: worker.peers(),
            settings,
            bus,
            changed: Rc::new(RefCell::new(Vec::new())),
            relations: LocalRelations::default(),
            responses,
            metrics,
        }
    }

    /// Runs until told to shut down.
    pub(super) fn run(&self, worker: &mut Worker, shares: &Shares) {
        let watch = DeathWatch { worker: self.worker, responses: Some(self.responses.clone()) };
        self.bus.attach(self.worker);
        let mut jobs: HashMap<JobId, (usize, Rc<JobCell>)> = HashMap::new();
        loop {
            if !self.execute(worker, &mut jobs) {
                break;
            }
            self.report(&jobs);
            worker.step_or_park(None);
            shares.look();
            if let Some(metrics) = self.metrics.get(self.worker) {
                metrics.steps.add(1);
            }
        }
        for (_, (dataflow, _)) in jobs.drain() {
            worker.drop_dataflow(dataflow);
        }
        watch.dismiss();
    }

    /// Executes what was commanded; false at the end of it all.
    fn execute(&self, worker: &mut Worker, jobs: &mut HashMap<JobId, (usize, Rc<JobCell>)>) -> bool {
        while let Some(command) = self.bus.next(self.worker) {
            match command {
                Command::Create(plan) => {
                    let job = plan.create.job;
                    let (dataflow, cell) = build(worker, self, &plan);
                    jobs.insert(job, (dataflow, cell));
                    let _ = self.responses.send(Response::Created { job, worker: self.worker });
                }
                Command::Drop(job) => {
                    if let Some((dataflow, _)) = jobs.remove(&job) {
                        worker.drop_dataflow(dataflow);
                    }
                    self.relations.tidy();
                    let _ = self.responses.send(Response::Dropped { job, worker: self.worker });
                }
                Command::Shutdown => return false,
            }
            if let Some(metrics) = self.metrics.get(self.worker) {
                metrics.jobs.set(jobs.len() as u64);
            }
            self.bus.executed(self.worker);
        }
        true
    }

    fn report(&self, jobs: &HashMap<JobId, (usize, Rc<JobCell>)>) {
        let changed = std::mem::take(&mut *self.changed.borrow_mut());
        for job in changed {
            if let Some((_, cell)) = jobs.get(&job) {
                cell.report(&self.responses);
            }
        }
    }
}

/// Tells of the thread's death, unless it was dismissed: whatever ends the thread drops it.
struct DeathWatch {
    worker: usize,
    responses: Option<UnboundedSender<Response>>,
}

impl DeathWatch {
    fn dismiss(mut self) {
        self.responses = None;
    }
}

impl Drop for DeathWatch {
    fn drop(&mut self) {
        if let Some(responses) = &self.responses {
            let _ = responses.send(Response::WorkerDied { worker: self.worker });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_dies_is_told() {
        let (sender, mut responses) = tokio::sync::mpsc::unbounded_channel();
        let watch = |worker| DeathWatch { worker, responses: Some(sender.clone()) };
        let (mine, its) = (watch(1), watch(2));
        let died = std::thread::spawn(move || {
            let _its = its;
            panic!("as a test");
        });
        assert!(died.join().is_err());
        mine.dismiss();
        assert!(matches!(responses.try_recv(), Ok(Response::WorkerDied { worker: 2 })));
        assert!(responses.try_recv().is_err());
    }
}
