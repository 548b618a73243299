//! The graph: what the planner hands over: operator specs joined by edges, as plain, versioned data.
//!
//! A graph is planned once, stored in the catalog beside the SQL (as JSON), shipped to every worker, and built there in
//! the order of its nodes. [`Graph::validate`] comes first, so that building cannot go wrong on one worker alone.
//!
//! ```text
//!   source ─┬▶ operator ─▶ operator ─▶ publish      nodes in topological order, NodeId = index;
//!   relation ┘    └ port 1, 2 ▶ …    ─▶ sink         an edge belongs to the node it enters
//! ```

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::base::{Error, Result};
use crate::operators::OperatorSpec;
use crate::types::{KEY_GROUPS, NodeId, RelationId, Schema, Watermark, key_group, worker_of};

mod explain;
mod validate;

/// The version of the JSON that this build writes.
pub const GRAPH_VERSION: u16 = 1;

/// The hidden column that carries the watermark of a row's split when the row was read: microseconds, `bigint`.
pub const WATERMARK_COLUMN: &str = "__watermark";

/// Operators and edges of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The version of this form ([`GRAPH_VERSION`]).
    pub version: u16,
    /// In topological order; a node's id is its index.
    pub nodes: Vec<Node>,
}

/// One operator, input or output of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its index in the graph: names its state for ever.
    pub id: NodeId,
    /// What a reader of EXPLAIN calls it.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// One edge per input port.
    #[serde(default)]
    pub inputs: Vec<Edge>,
    /// The columns that leave it on port 0 (for a publish or sink node: that enter it).
    pub schema: Schema,
    /// Whether its output never carries a negative weight.
    #[serde(default)]
    pub append_only: bool,
    /// On how many workers it runs (the first ones); all if not said. Input nodes run on all.
    #[serde(default)]
    pub parallelism: Option<u16>,
}

/// What a node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a graph has a handful of nodes, most of them operators")]
pub enum NodeKind {
    /// Rows of a source, or of a table's statements, sent by the host through a [`super::JobInput`].
    Source(SourceInput),
    /// The changes of a relation published by another job: its snapshot first, then every epoch.
    Relation(RelationInput),
    /// A pure operator.
    Operator(OperatorSpec),
    /// Opens what enters it to readers and to the relation inputs of other jobs.
    Publish(PublishSpec),
    /// Hands what enters it to an outbox.
    Sink(SinkSpec),
}

/// A source as input of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInput {
    /// The source (or, in a table's own job, the table).
    pub relation: RelationId,
    /// Which of its columns, in which order.
    pub columns: Vec<usize>,
    /// Whether [`WATERMARK_COLUMN`] follows them.
    #[serde(default)]
    pub watermark: bool,
}

/// A published relation as input of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationInput {
    /// The table or view. All its columns come.
    pub relation: RelationId,
}

/// What a publish node publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishSpec {
    /// Under which relation.
    pub relation: RelationId,
    /// The columns that name a row: a table's primary key, a view's key; empty: all columns.
    #[serde(default)]
    pub key: Vec<usize>,
}

/// What a sink node delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// The sink.
    pub relation: RelationId,
    /// Whether what is there when its job begins is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changes_only: bool,
}

/// Where a node's input port gets its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// From which node.
    pub from: NodeId,
    /// From which of its output ports.
    #[serde(default)]
    pub port: usize,
    /// To which workers rows go.
    pub exchange: Exchange,
    /// The watermark of this edge, as the planner derived it.
    #[serde(default)]
    pub watermark: WatermarkExpr,
}

/// How an edge spreads rows over workers. Order is kept per channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// They stay on their worker.
    OneToOne,
    /// To the owner of the key group of these columns. Without columns: all to one worker.
    Key(Vec<usize>),
    /// Each to every worker.
    Broadcast,
    /// Whole batches in turn.
    Rebalance,
    /// All to the one worker that owns the empty key.
    Gather,
}

/// The watermark of an edge as a function of the job's inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkExpr {
    /// Nothing is promised.
    #[default]
    None,
    /// That of an input node.
    Input(NodeId),
    /// Another one, moved by microseconds.
    Shift(Box<WatermarkExpr>, i64),
    /// The smallest of several; of none: nothing is promised.
    Min(Vec<WatermarkExpr>),
    /// The clock of the epoch.
    Clock,
}

impl WatermarkExpr {
    /// Its value at the clock reading `clock_us`, when `input` gives the watermark of each input node.
    pub fn evaluate(&self, clock_us: i64, input: &impl Fn(NodeId) -> Watermark) -> Watermark {
        match self {
            WatermarkExpr::None => Watermark::NONE,
            WatermarkExpr::Input(node) => input(*node),
            WatermarkExpr::Shift(inner, us) => inner.evaluate(clock_us, input).shifted(*us),
            WatermarkExpr::Min(all) => {
                all.iter().map(|one| one.evaluate(clock_us, input)).min().unwrap_or(Watermark::NONE)
            }
            WatermarkExpr::Clock => Watermark(clock_us),
        }
    }

    /// The input nodes it names.
    pub fn inputs(&self) -> Vec<NodeId> {
        match self {
            WatermarkExpr::None | WatermarkExpr::Clock => Vec::new(),
            WatermarkExpr::Input(node) => vec![*node],
            WatermarkExpr::Shift(inner, _) => inner.inputs(),
            WatermarkExpr::Min(all) => all.iter().flat_map(WatermarkExpr::inputs).collect(),
        }
    }

    /// How far it is behind the clock, if it is the clock's: by so many microseconds.
    pub fn behind_clock_us(&self) -> Option<i64> {
        match self {
            WatermarkExpr::Clock => Some(0),
            WatermarkExpr::Shift(inner, us) => Some(inner.behind_clock_us()?.saturating_sub(*us)),
            WatermarkExpr::None | WatermarkExpr::Input(_) | WatermarkExpr::Min(_) => None,
        }
    }
}

/// On which workers a node runs; it is called on no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the first so many (`None`: on all).
    First(Option<u16>),
    /// On the owner of the empty key among the first so many.
    One(Option<u16>),
}

impl Placement {
    /// How many workers share the key groups, of `workers` in all.
    pub fn width(self, workers: usize) -> usize {
        let (Placement::First(limit) | Placement::One(limit)) = self;
        limit.map_or(workers, |limit| workers.min(usize::from(limit))).clamp(1, KEY_GROUPS)
    }

    /// Whether the node runs on `worker` of `workers`.
    pub fn runs_on(self, worker: usize, workers: usize) -> bool {
        match self {
            Placement::First(_) => worker < self.width(workers),
            Placement::One(_) => worker == self.gathered(workers),
        }
    }

    /// Whether the state of key group `group` belongs to `worker` of `workers`.
    pub fn owns(self, group: u8, worker: usize, workers: usize) -> bool {
        match self {
            Placement::First(_) => worker_of(group, self.width(workers)) == worker,
            Placement::One(_) => worker == self.gathered(workers),
        }
    }

    /// The worker that owns the empty key, where gathered rows go.
    pub fn gathered(self, workers: usize) -> usize {
        worker_of(key_group(b""), self.width(workers))
    }
}

impl Node {
    /// Whether what it shows depends on the clock; the edges' own distance from it is told by their watermarks.
    pub fn follows_clock(&self) -> bool {
        let NodeKind::Operator(spec) = &self.kind else { return false };
        let by_clock = |edge: &Edge| edge.watermark.behind_clock_us().is_some();
        spec.follows_clock() || spec.speaks_on_close() && self.inputs.iter().any(by_clock)
    }
}

impl Graph {
    /// Whether what it shows depends on the clock: then it sees every epoch.
    pub fn follows_clock(&self) -> bool {
        self.nodes.iter().any(Node::follows_clock)
    }

    /// Whether what it shows depends on when its rows came.
    pub fn follows_arrival(&self) -> bool {
        let by_arrival =
            |kind: &NodeKind| matches!(kind, NodeKind::Operator(OperatorSpec::Lookup(_) | OperatorSpec::Proctime(_)));
        self.nodes.iter().any(|node| by_arrival(&node.kind))
    }

    /// A graph of `nodes` in today's version.
    pub fn new(nodes: Vec<Node>) -> Self {
        Graph { version: GRAPH_VERSION, nodes }
    }

    /// The node called `id`.
    pub fn node(&self, id: NodeId) -> Result<&Node> {
        self.nodes
            .get(id.0 as usize)
            .ok_or_else(|| Error::internal(format!("graph of {} nodes has no node {id}", self.nodes.len())))
    }

    /// The bytes that the catalog stores.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal("graph does not write as JSON").caused_by(error))
    }

    /// Reads what [`Graph::to_json`] wrote; other versions and torn bytes are `Corrupt`.
    pub fn from_json(bytes: &[u8]) -> Result<Graph> {
        let graph: Graph = serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt("stored graph does not read as JSON")
                .with_hint("The catalog was written by another version of millstream; start that version.")
                .caused_by(error)
        })?;
        if graph.version != GRAPH_VERSION {
            return Err(Error::corrupt(format!("stored graph has version {}", graph.version))
                .with_detail(format!("This build reads version {GRAPH_VERSION}."))
                .with_hint("Start the version of millstream that wrote the data directory."));
        }
        Ok(graph)
    }

    /// A hash of the whole structure: equal graphs have equal hashes, in every process of one build.
    pub fn hash(&self) -> Result<u64> {
        Ok(xxh3_64(&self.to_json()?))
    }

    /// The schema of the rows on `edge`.
    pub fn edge_schema(&self, edge: &Edge) -> Result<Schema> {
        let from = self.node(edge.from)?;
        let missing =
            || Error::internal(format!("node {} \"{}\" has no output port {}", from.id, from.name, edge.port));
        match &from.kind {
            NodeKind::Operator(spec) => spec.outputs()?.into_iter().nth(edge.port).ok_or_else(missing),
            NodeKind::Source(_) | NodeKind::Relation(_) if edge.port == 0 => Ok(from.schema.clone()),
            NodeKind::Source(_) | NodeKind::Relation(_) | NodeKind::Publish(_) | NodeKind::Sink(_) => Err(missing()),
        }
    }

    /// The input nodes: sources and relations.
    pub fn inputs(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.kind.is_input())
    }

    /// Per node the input nodes above it (an input is above itself), ascending.
    pub fn inputs_above(&self) -> Vec<Vec<NodeId>> {
        let mut above: Vec<Vec<NodeId>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut ids: Vec<NodeId> = if node.kind.is_input() { vec![node.id] } else { Vec::new() };
            for edge in &node.inputs {
                ids.extend(above.get(edge.from.0 as usize).into_iter().flatten());
            }
            ids.sort_unstable();
            ids.dedup();
            above.push(ids);
        }
        above
    }

    /// Per node on which workers it runs.
    pub fn placements(&self) -> Vec<Placement> {
        let mut placements: Vec<Placement> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let gathers = |edge: &Edge| match &edge.exchange {
                Exchange::Gather => true,
                Exchange::Key(columns) => columns.is_empty(),
                Exchange::OneToOne => {
                    matches!(placements.get(edge.from.0 as usize), Some(Placement::One(_)))
                }
                Exchange::Broadcast | Exchange::Rebalance => false,
            };
            let one = !node.inputs.is_empty() && node.inputs.iter().all(gathers);
            let placement = if one { Placement::One } else { Placement::First };
            placements.push(placement(node.parallelism));
        }
        placements
    }
}

impl NodeKind {
    /// Whether rows enter the job here.
    pub fn is_input(&self) -> bool {
        match self {
            NodeKind::Source(_) | NodeKind::Relation(_) => true,
            NodeKind::Operator(_) | NodeKind::Publish(_) | NodeKind::Sink(_) => false,
        }
    }

    /// Whether rows leave the job here.
    pub fn is_output(&self) -> bool {
        match self {
            NodeKind::Publish(_) | NodeKind::Sink(_) => true,
            NodeKind::Source(_) | NodeKind::Relation(_) | NodeKind::Operator(_) => false,
        }
    }

    /// The word for it in EXPLAIN and `ms_operators`.
    pub fn word(&self) -> &'static str {
        match self {
            NodeKind::Source(_) => "source",
            NodeKind::Relation(_) => "relation",
            NodeKind::Operator(spec) => spec.name(),
            NodeKind::Publish(_) => "publish",
            NodeKind::Sink(_) => "sink",
        }
    }
}

#[cfg(test)]
mod tests;
