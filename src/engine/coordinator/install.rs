//! Installing jobs: their inputs and published views, what they tap, where they join their sources.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use crate::base::{Error, Result};
use crate::catalog::{Catalog, Relation, RelationKind};
use crate::dataflow::source::{Attach, RecordedCut, SplitPoint, Wanted};
use crate::dataflow::{
    Close, CreateJob, Deal, JobInputReceivers, JobState as StoredState, NodeKind, SinkOutbox, job_input,
};
use crate::state::{Hold, PublishedView};
use crate::storage::{SourceCut, SplitCut};
use crate::types::{Epoch, JobId, NodeId, RelationId, Watermark};

use super::super::job::{Feed, Input, Job, JobState, feeds, stored_graph};
use super::super::request::{Event, Reply};
use super::super::sources::source_spec;
use super::{Coordinator, HostedSource};

/// A job that is about to start: the workers' side of it.
pub(in crate::engine) struct Start {
    /// Which.
    pub job: JobId,
    receivers: HashMap<NodeId, JobInputReceivers>,
    sinks: HashMap<NodeId, SinkOutbox>,
}

/// How a job reads one of its sources from its first epoch on.
pub(in crate::engine) struct Past {
    /// From where, by split; nothing: from the start.
    pub from: Vec<SplitPoint>,
    /// Along which cuts.
    pub cuts: Vec<RecordedCut>,
}

impl Coordinator {
    /// Opens the hosts of new sources. On an error none of them stays open.
    pub(super) fn open_sources(&mut self, created: &[Arc<Relation>], catalog: &Catalog) -> Result<()> {
        let sources = created.iter().filter(|relation| relation.kind == RelationKind::Source);
        for relation in sources {
            self.open_source(relation, &[], Watermark::NONE, catalog)?;
        }
        Ok(())
    }

    /// Opens the host of one source of `catalog` where its newest cut stands.
    pub(in crate::engine) fn open_source(
        &mut self,
        relation: &Relation,
        at: &[crate::dataflow::source::SplitCut],
        merged: Watermark,
        catalog: &Catalog,
    ) -> Result<()> {
        let spec = Arc::new(source_spec(relation, &self.shared.settings, &self.shared.secrets(catalog))?);
        let (sender, id) = (self.sender.clone(), relation.id);
        // The coordinator may have ended: then nobody listens.
        let listener = move |event| drop(sender.send(Event::Source(id, event)));
        let open = self.progress.cut().next();
        let host = crate::dataflow::source::SourceHost::new(spec, at.to_vec(), merged, open, listener)
            .map_err(|error| error.context(format!("in source \"{}\"", relation.name)))?;
        let ended = merged == Watermark::END;
        self.sources.insert(relation.id, HostedSource { host, cut: None, ended });
        Ok(())
    }

    /// Makes the jobs of new relations, with their places in the progress. `also` gains the jobs that must close `epoch`
    /// for the new ones to see it.
    pub(super) fn prepare_jobs(
        &mut self,
        created: &[Arc<Relation>],
        epoch: Epoch,
        also: &mut BTreeSet<JobId>,
    ) -> Vec<Start> {
        let mut starts = Vec::new();
        for relation in created.iter().filter(|relation| relation.graph.is_some()) {
            match self.prepare_job(relation, epoch) {
                Ok(start) => {
                    also.extend(self.progress.ancestors(start.job));
                    starts.push(start);
                }
                Err(error) => tracing::error!(name = %relation.name, error = %error.report(), "job could not be made"),
            }
        }
        starts
    }

    /// Makes the job of `relation`, which shows its first contents at `start`.
    pub(in crate::engine) fn prepare_job(&mut self, relation: &Relation, start: Epoch) -> Result<Start> {
        let id = relation.job.ok_or_else(|| Error::internal("relation has a graph and no job"))?;
        let graph = stored_graph(relation)?;
        let workers = self.shared.workers;
        let (mut inputs, mut receivers) = (Vec::new(), HashMap::new());
        for (node, (read, feed)) in feeds(&graph, relation) {
            let (queue, receiver) = job_input(
                workers,
                usize::try_from(self.shared.settings.queue_bytes_max.0).unwrap_or(usize::MAX),
                Deal::InTurn,
            );
            inputs.push(Input { node, relation: read, feed, queue, subscriber: None });
            receivers.insert(node, receiver);
        }
        let mut published = BTreeMap::new();
        let mut sinks = HashMap::new();
        for node in &graph.nodes {
            match &node.kind {
                NodeKind::Publish(spec) => {
                    let (schema, limits) = (node.schema.clone(), self.shared.view_limits());
                    let view = PublishedView::with_limits(schema, spec.key.clone(), workers, limits);
                    view.begin_at(start);
                    published.insert(node.id, (spec.relation, view));
                    self.owner.insert(spec.relation, id);
                }
                NodeKind::Sink(spec) => {
                    sinks.insert(node.id, self.open_outbox(relation, spec.relation, &node.schema)?);
                    self.owner.insert(spec.relation, id);
                }
                NodeKind::Source(_) | NodeKind::Relation(_) | NodeKind::Operator(_) => {}
            }
        }
        let follows_clock = graph.follows_clock();
        let job = Job {
            id,
            relation: relation.id,
            name: relation.name.clone(),
            graph,
            inputs,
            published,
            visible: watch::Sender::new(Epoch::ZERO),
            state: JobState::Starting,
            reason: None,
            since_us: self.shared.clock.now_us(),
            start,
            shown_from: start,
            installing: (0..workers).collect(),
            cuts: BTreeMap::new(),
            first_run: self.checkpoints.next_run(),
            checkpointed: None,
            follows_clock,
            // Nobody knows what time has made due meanwhile.
            wakes_us: vec![follows_clock.then_some(i64::MIN); workers],
            dirty: false,
        };
        let reads = job.inputs.iter().filter(|input| input.feed != Feed::Writes).map(|input| input.relation);
        let before = Epoch(start.0.saturating_sub(1));
        self.progress.add_job(id, reads.collect(), job.outputs(), workers, before);
        self.hold_taps(&job, start);
        self.jobs.insert(id, job);
        Ok(Start { job: id, receivers, sinks })
    }

    /// Keeps what `job` taps readable at `epoch` until all workers have tapped it.
    fn hold_taps(&mut self, job: &Job, epoch: Epoch) {
        let taps = job.inputs.iter().filter(|input| input.feed == Feed::Tap);
        let holds: Vec<Hold> = taps.filter_map(|input| self.view(input.relation)?.hold(epoch).ok()).collect();
        self.holds.insert(job.id, holds);
    }

    /// The published view of a relation.
    pub(in crate::engine) fn view(&self, relation: RelationId) -> Option<Arc<PublishedView>> {
        let job = self.jobs.get(self.owner.get(&relation)?)?;
        job.view(relation).map(Arc::clone)
    }

    /// Lets new jobs, which the workers know already, read their sources up to the cut of `epoch`.
    pub(super) fn feed_jobs(&mut self, jobs: &[JobId], epoch: Epoch) {
        for id in jobs {
            let close = |watermark| Close { epoch, watermark, clock_us: self.clock_us, checkpoint: false };
            let mut pasts = HashMap::new();
            if let Some(job) = self.jobs.get(id) {
                for input in &job.inputs {
                    let Some(source) = self.sources.get(&input.relation) else { continue };
                    let splits = source.cut.as_ref().map(split_points).unwrap_or_default();
                    let watermark = source.cut.as_ref().map_or(Watermark::NONE, |cut| cut.watermark);
                    let cut = RecordedCut { epoch, splits, close: Some(close(watermark)) };
                    pasts.insert(input.node, Past { from: Vec::new(), cuts: vec![cut] });
                }
            }
            self.feed_job(*id, pasts);
        }
    }

    /// Hands a job to the workers. It must come before the first epoch that the job sees is told to anyone: a tap that
    /// comes after the relation has ended that epoch has missed it.
    pub(in crate::engine) fn start_job(
        &mut self,
        start: Start,
        known: HashMap<NodeId, Close>,
        restore: Option<Arc<StoredState>>,
    ) {
        let Start { job: id, receivers, sinks } = start;
        let Some(job) = self.jobs.get(&id) else { return };
        let taps = job.inputs.iter().filter(|input| input.feed == Feed::Tap);
        let taps = taps.filter_map(|input| Some((input.node, self.view(input.relation)?))).collect();
        let command = CreateJob {
            job: id,
            graph: Arc::clone(&job.graph),
            start: job.start,
            inputs: receivers,
            taps,
            publish: job.published.iter().map(|(node, (_, view))| (*node, Arc::clone(view))).collect(),
            sinks,
            known,
            restore,
        };
        if let Err(error) = self.runtime.create(command) {
            self.fail_job(id, &error);
        }
    }

    /// Hands the inputs of a job to the hosts of its sources.
    pub(in crate::engine) fn feed_job(&mut self, id: JobId, mut pasts: HashMap<NodeId, Past>) {
        if let Err(error) = self.attach(id, &mut pasts) {
            self.fail_job(id, &error);
        }
    }

    /// Attaches the inputs of a job to the hosts of its sources.
    fn attach(&mut self, id: JobId, pasts: &mut HashMap<NodeId, Past>) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        for input in &mut job.inputs {
            let wanted = match &input.feed {
                Feed::Source(source) => Wanted::Rows { columns: source.columns.clone(), watermark: source.watermark },
                Feed::Faults => Wanted::Faults,
                Feed::Writes | Feed::Tap => continue,
            };
            let source = self.sources.get(&input.relation).ok_or_else(|| {
                Error::internal(format!("source {} of job \"{}\" is not hosted", input.relation, job.name))
            })?;
            let past = pasts.remove(&input.node).unwrap_or(Past { from: Vec::new(), cuts: Vec::new() });
            let inlet = Arc::new(input.queue.clone());
            let request = Attach { inlet, wanted, from: past.from, cuts: past.cuts };
            input.subscriber = Some(source.host.attach(request)?);
        }
        Ok(())
    }

    /// Answers those who asked for `ddl` once it is durable and its jobs are installed.
    pub(super) fn finish_ddl(&mut self, replies: Vec<Reply<Epoch>>, new: &[JobId], epoch: Epoch) {
        for reply in replies {
            self.installs.push((new.to_vec(), epoch, reply));
        }
    }

    /// Forgets a dropped relation: its job, if it is the job's main relation, or its host.
    pub(in crate::engine) fn forget(&mut self, relation: RelationId) {
        if let Some(source) = self.sources.remove(&relation) {
            source.host.stop();
        }
        if let Some(delivery) = self.sinks.remove(&relation) {
            delivery.stop();
        }
        let main = self.jobs.values().find(|job| job.relation == relation).map(|job| job.id);
        if let Some(id) = main {
            self.detach(id);
            self.runtime.drop_job(id);
            self.progress.remove_job(id);
            self.holds.remove(&id);
            self.jobs.remove(&id);
            self.owner.retain(|_, owner| *owner != id);
        }
    }

    /// Takes the inputs of a job from the hosts of its sources.
    pub(super) fn detach(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        for input in &mut job.inputs {
            if let (Some(subscriber), Some(source)) = (input.subscriber.take(), self.sources.get(&input.relation)) {
                source.host.detach(subscriber);
            }
        }
    }
}

/// The places in the splits of a source at a cut.
pub(in crate::engine) fn split_points(cut: &SourceCut) -> Vec<SplitPoint> {
    let point = |split: &SplitCut| SplitPoint {
        split: split.split.clone(),
        position: split.position.clone(),
        watermark: split.watermark,
    };
    cut.splits.iter().map(point).collect()
}
