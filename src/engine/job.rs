//! Jobs as the coordinator knows them: their graph, their inputs, what they publish, and where they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::base::{Error, Result};
use crate::catalog::{Relation, RelationKind};
use crate::dataflow::source::SubscriberId;
use crate::dataflow::{Graph, JobInput, NodeKind, SourceInput, WorkerCut};
use crate::state::PublishedView;
use crate::types::{Epoch, JobId, NodeId, RelationId};

/// Where a job stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobState {
    /// Being installed on the workers.
    Starting,
    /// Reading the past; nothing is shown yet.
    Filling,
    /// Keeping up.
    Running,
    /// A relation above it has failed: it cannot go on.
    Waiting,
    /// Stopped by an error.
    Failed,
    /// All its sources have ended, and it holds everything.
    Finished,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JobState::Starting => "starting",
            JobState::Filling => "filling",
            JobState::Running => "running",
            JobState::Waiting => "waiting",
            JobState::Failed => "failed",
            JobState::Finished => "finished",
        })
    }
}

/// What feeds an input node of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Feed {
    /// A source's host.
    Source(SourceInput),
    /// The undecodable records of a source, from its host.
    Faults,
    /// The statements that change the table whose own job this is.
    Writes,
    /// The published view of another job.
    Tap,
}

/// One input node of a job.
#[derive(Debug)]
pub(super) struct Input {
    /// The node.
    pub node: NodeId,
    /// The relation that is read.
    pub relation: RelationId,
    /// How it comes.
    pub feed: Feed,
    /// Its queues.
    pub queue: JobInput,
    /// Its place at the source's host, while it is attached.
    pub subscriber: Option<SubscriberId>,
}

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    /// Names it for ever.
    pub id: JobId,
    /// The relation that it was made for.
    pub relation: RelationId,
    /// Its name, for messages.
    pub name: String,
    /// What runs.
    pub graph: Arc<Graph>,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// What it publishes, by node.
    pub published: BTreeMap<NodeId, (RelationId, Arc<PublishedView>)>,
    /// The newest epoch at which its relations may be read.
    pub visible: watch::Sender<Epoch>,
    /// Where it stands.
    pub state: JobState,
    /// Why it failed or waits.
    pub reason: Option<String>,
    /// The last change of its state, in microseconds since 1970.
    pub since_us: i64,
    /// The first epoch that it is told of.
    pub start: Epoch,
    /// The first epoch at which its relations may be read: `start`, or of a restored job that of its checkpoint.
    pub shown_from: Epoch,
    /// Workers on which it is not installed yet.
    pub installing: BTreeSet<usize>,
    /// Cuts of its state that no manifest holds yet, by epoch; each is whole once every worker has given its own.
    pub cuts: BTreeMap<Epoch, Vec<WorkerCut>>,
    /// The number of the first run that can have rows of it.
    pub first_run: u64,
    /// The epoch up to which the newest manifest holds its state; none while it holds nothing of it.
    pub checkpointed: Option<Epoch>,
    /// Whether what it shows depends on the clock: then it sees every epoch.
    pub follows_clock: bool,
    /// Per worker the clock reading at which it wants an epoch.
    pub wakes_us: Vec<Option<i64>>,
    /// Whether an epoch was announced to it since its state was last cut.
    pub dirty: bool,
}

impl Job {
    /// The published view of `relation`, if this job maintains it.
    pub fn view(&self, relation: RelationId) -> Option<&Arc<PublishedView>> {
        self.published.values().find(|(id, _)| *id == relation).map(|(_, view)| view)
    }

    /// The relations that it maintains.
    pub fn outputs(&self) -> Vec<RelationId> {
        self.published.values().map(|(relation, _)| *relation).collect()
    }

    /// The epoch that its inputs close by themselves when they have read the past; none of a restored job.
    pub fn filled_with(&self) -> Epoch {
        if self.shown_from == self.start { self.start } else { Epoch::ZERO }
    }

    /// Whether it still takes part in epochs.
    pub fn is_live(&self) -> bool {
        match self.state {
            JobState::Starting | JobState::Filling | JobState::Running | JobState::Finished => true,
            JobState::Waiting | JobState::Failed => false,
        }
    }

    /// Moves it to `state` for `reason`.
    pub fn enter(&mut self, state: JobState, reason: Option<String>, now_us: i64) {
        if self.state != state {
            self.since_us = now_us;
            tracing::info!(job = %self.id, name = %self.name, from = %self.state, to = %state, "job changed");
        }
        self.state = state;
        self.reason = reason;
    }
}

/// The graph that the catalog stores for a relation.
pub(super) fn stored_graph(relation: &Relation) -> Result<Arc<Graph>> {
    let bytes = relation
        .graph
        .as_deref()
        .ok_or_else(|| Error::internal(format!("relation \"{}\" has a job and no graph", relation.name)))?;
    Graph::from_json(bytes.as_bytes())
        .map(Arc::new)
        .map_err(|error| error.context(format!("in relation \"{}\"", relation.name)))
}

/// What the input nodes of the graph of `relation`'s job are fed by. A node that names the job's own relation takes a
/// table's statements, or the undecodable records of a source.
pub(super) fn feeds(graph: &Graph, relation: &Relation) -> BTreeMap<NodeId, (RelationId, Feed)> {
    let feed = |node: &crate::dataflow::Node| match (&node.kind, relation.kind) {
        (NodeKind::Source(input), RelationKind::Faults(source)) if input.relation == relation.id => {
            Some((source, Feed::Faults))
        }
        (NodeKind::Source(input), _) if input.relation == relation.id => Some((relation.id, Feed::Writes)),
        (NodeKind::Source(input), _) => Some((input.relation, Feed::Source(input.clone()))),
        (NodeKind::Relation(input), _) => Some((input.relation, Feed::Tap)),
        (NodeKind::Operator(_) | NodeKind::Publish(_) | NodeKind::Sink(_), _) => None,
    };
    graph.nodes.iter().filter_map(|node| feed(node).map(|feed| (node.id, feed))).collect()
}
