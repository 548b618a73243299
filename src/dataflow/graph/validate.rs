//! The check that comes before any worker builds a graph: what passes it, every worker builds alike.

use super::{Edge, Exchange, GRAPH_VERSION, Graph, Node, NodeKind, Placement, SourceInput, WATERMARK_COLUMN};
use crate::base::{Error, Result, ResultExt};
use crate::operators::OperatorSpec;
use crate::types::{NodeId, Schema, SqlType};

/// More nodes than any plan has; a bound on what a stored graph may ask for.
const NODES_MAX: usize = 10_000;

impl Graph {
    /// Whether workers can build this graph: order, ports, schemas, keys, watermarks and operators are checked.
    /// A failure is `Internal`: the planner made it.
    pub fn validate(&self) -> Result<()> {
        if self.version != GRAPH_VERSION {
            return Err(Error::internal(format!("graph has version {}, not {GRAPH_VERSION}", self.version)));
        }
        if self.nodes.is_empty() || self.nodes.len() > NODES_MAX {
            return Err(Error::internal(format!("graph has {} nodes, not 1 to {NODES_MAX}", self.nodes.len())));
        }
        let above = self.inputs_above();
        let placements = self.placements();
        for (index, node) in self.nodes.iter().enumerate() {
            let context = || format!("in node {index} \"{}\" ({})", node.name, node.kind.word());
            if node.id != NodeId(index as u32) {
                return Err(
                    Error::internal(format!("node {index} of the graph is called {}", node.id)).context(context())
                );
            }
            node.kind.check_self(node).context(context)?;
            for (port, edge) in node.inputs.iter().enumerate() {
                self.check_edge(index, port, edge, &above, &placements)
                    .context(|| format!("at input port {port}"))
                    .context(context)?;
            }
        }
        self.check_consumed()
    }

    fn check_edge(
        &self,
        index: usize,
        port: usize,
        edge: &Edge,
        above: &[Vec<NodeId>],
        placements: &[Placement],
    ) -> Result<()> {
        let from = edge.from.0 as usize;
        if from >= index {
            return Err(Error::internal(format!("edge comes from node {from}, which is not before it")));
        }
        let found = self.edge_schema(edge)?;
        let node = self.nodes.get(index).ok_or_else(|| Error::internal("node went away"))?;
        let expected = node.kind.input_schema(node, port)?;
        if edge.port > 0 && found.columns.is_empty() {
            return Err(Error::internal(format!("node {from} never speaks on port {}", edge.port)));
        }
        same_types("edge", &expected, &found)?;
        if let Exchange::Key(columns) = &edge.exchange
            && let Some(column) = columns.iter().find(|&&column| column >= found.columns.len())
        {
            return Err(Error::internal(format!("exchange key column {column} is not in the edge's schema")));
        }
        if edge.exchange == Exchange::OneToOne && placements.get(from) != placements.get(index) {
            return Err(Error::internal(format!("one-to-one edge joins other workers: {placements:?}")));
        }
        let known = above.get(from).map(Vec::as_slice).unwrap_or_default();
        match edge.watermark.inputs().iter().find(|input| !known.contains(input)) {
            Some(input) => {
                Err(Error::internal(format!("watermark of the edge names node {input}, not an input above")))
            }
            None => Ok(()),
        }
    }

    /// Rows may leave a graph only through publish and sink nodes, so every other node must be read by one.
    fn check_consumed(&self) -> Result<()> {
        let mut read = vec![false; self.nodes.len()];
        for edge in self.nodes.iter().flat_map(|node| &node.inputs) {
            if let Some(read) = read.get_mut(edge.from.0 as usize) {
                *read = true;
            }
        }
        match self.nodes.iter().zip(read).find(|(node, read)| !read && !node.kind.is_output()) {
            Some((node, _)) => {
                Err(Error::internal(format!("nobody reads node {} \"{}\" of the graph", node.id, node.name)))
            }
            None => Ok(()),
        }
    }
}

impl NodeKind {
    fn check_self(&self, node: &Node) -> Result<()> {
        let ports = match self {
            NodeKind::Source(_) | NodeKind::Relation(_) => 0,
            NodeKind::Operator(spec) => spec.inputs(),
            NodeKind::Publish(_) | NodeKind::Sink(_) => 1,
        };
        if node.inputs.len() != ports {
            return Err(Error::internal(format!("node has {} edges for {ports} input ports", node.inputs.len())));
        }
        if node.parallelism == Some(0) {
            return Err(Error::internal("node runs on no worker"));
        }
        if self.is_input() && node.parallelism.is_some() {
            return Err(Error::internal("input node does not run on all workers"));
        }
        match self {
            NodeKind::Source(source) => source.check(&node.schema),
            NodeKind::Operator(spec) => {
                spec.build()?;
                spec.tables()?;
                let outputs = spec.outputs()?;
                same_types("output", &node.schema, outputs.first().unwrap_or(&Schema::default()))
            }
            NodeKind::Publish(spec) => match spec.key.iter().find(|&&column| column >= node.schema.columns.len()) {
                Some(column) => Err(Error::internal(format!("key column {column} is not in the published schema"))),
                None => Ok(()),
            },
            NodeKind::Relation(_) | NodeKind::Sink(_) => Ok(()),
        }
    }

    /// The schema that input `port` expects.
    fn input_schema(&self, node: &Node, port: usize) -> Result<Schema> {
        Ok(match self {
            NodeKind::Source(_) | NodeKind::Relation(_) => return Err(Error::internal("an input node has no ports")),
            NodeKind::Publish(_) | NodeKind::Sink(_) => node.schema.clone(),
            NodeKind::Operator(spec) => match spec {
                OperatorSpec::Chain(spec) => spec.input.clone(),
                OperatorSpec::Gate(spec) => spec.input.clone(),
                OperatorSpec::Aggregate(spec) => spec.input.clone(),
                OperatorSpec::Join(spec) => if port == 0 { &spec.left } else { &spec.right }.clone(),
                OperatorSpec::Keep(spec) => spec.input.clone(),
                OperatorSpec::Union(spec) => spec.schema.clone(),
                OperatorSpec::Single(spec) => spec.input.clone(),
                OperatorSpec::Asof(spec) => if port == 0 { &spec.left } else { &spec.right }.clone(),
                OperatorSpec::Top(spec) => spec.input.clone(),
                OperatorSpec::Over(spec) => spec.input.clone(),
                OperatorSpec::Session(spec) => spec.input.clone(),
                OperatorSpec::During(spec) => spec.input.clone(),
                OperatorSpec::Proctime(spec) => spec.input.clone(),
                OperatorSpec::Lookup(spec) => if port == 0 { &spec.left } else { &spec.right }.clone(),
            },
        })
    }
}

impl SourceInput {
    fn check(&self, schema: &Schema) -> Result<()> {
        if schema.columns.len() != self.columns.len() + usize::from(self.watermark) {
            return Err(Error::internal(format!(
                "source node of {} columns has a schema of {}",
                self.columns.len(),
                schema.columns.len()
            )));
        }
        let hidden = schema.columns.last().filter(|column| column.name == WATERMARK_COLUMN);
        match hidden {
            Some(column) if self.watermark && column.ty == SqlType::BigInt => Ok(()),
            None if !self.watermark => Ok(()),
            Some(_) | None => Err(Error::internal("source node's hidden watermark column is not what its input says")),
        }
    }
}

fn same_types(what: &str, expected: &Schema, found: &Schema) -> Result<()> {
    if expected.types() == found.types() {
        return Ok(());
    }
    Err(Error::internal(format!("{what} carries other types than the graph says")).with_detail(format!(
        "Expected {:?}, found {:?}.",
        expected.types(),
        found.types()
    )))
}
