//! A graph under construction, and the streams of rows between its nodes.

use std::collections::BTreeMap;

use crate::base::{Error, Result};
use crate::dataflow::{Edge, Exchange, Graph, Node, NodeKind, WatermarkExpr};
use crate::functions::Expr;
use crate::operators::{ChainSpec, OperatorSpec, Step};
use crate::types::{NodeId, Schema};

/// Nodes so far, and their side outputs.
#[derive(Default)]
pub(super) struct Builder {
    pub nodes: Vec<Node>,
    /// Gates: where late rows leave.
    pub late: Vec<SideOutput>,
    /// Operators that can fault.
    pub faults: Vec<SideOutput>,
}

/// A side output of a node: port 1 of gates, port 2 of operators that compute.
pub(super) struct SideOutput {
    pub node: NodeId,
    pub port: usize,
    pub schema: Schema,
    pub append_only: bool,
}

/// Rows that leave a node and pass steps which are not yet a node of their own.
///
/// Its columns are, in order, the fields of the logical node it stands for, and then, if `hidden`, the watermark that
/// each row carries from its split.
#[derive(Clone)]
pub(super) struct Stream {
    from: NodeId,
    /// What leaves `from`.
    base: Schema,
    /// Stateless steps to be fused into one chain.
    steps: Vec<Step>,
    /// What leaves the last step.
    pub schema: Schema,
    /// Whether the last column is the hidden watermark.
    pub hidden: bool,
    /// Whether no row is ever taken back.
    pub append_only: bool,
    /// The watermark of the rows.
    pub watermark: WatermarkExpr,
    /// The source's event-time column, as long as it passes unchanged.
    pub event_time: Option<usize>,
    /// Columns that tell a window's end when shifted by so many microseconds; all of windows over event time.
    pub windows: BTreeMap<usize, i64>,
    /// Whether no change will come for a window that the watermark has closed: the rows have passed a gate.
    pub sealed: bool,
    /// Columns by whose key group the rows are placed on workers.
    pub placed_by: Option<Vec<usize>>,
    /// Columns that name a row.
    pub unique: Option<Vec<usize>>,
    /// Whether there is never more than one row.
    pub single: bool,
    /// Whether every aggregate beneath speaks on window close, and there is one.
    pub closes: Closes,
}

/// How the aggregates beneath a stream speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closes {
    /// There is none.
    NoAggregate,
    /// All on window close.
    All,
    /// Some revise.
    Revised,
}

impl Closes {
    pub fn and(self, other: Closes) -> Closes {
        match (self, other) {
            (Closes::NoAggregate, other) | (other, Closes::NoAggregate) => other,
            (Closes::All, Closes::All) => Closes::All,
            (Closes::Revised, _) | (_, Closes::Revised) => Closes::Revised,
        }
    }
}

impl Stream {
    /// The columns that are not hidden.
    pub fn width(&self) -> usize {
        self.schema.columns.len() - usize::from(self.hidden)
    }

    /// Adds a filter.
    pub fn filter(&mut self, predicate: Expr) {
        self.steps.push(Step::Filter(predicate));
    }

    /// Replaces the columns; the hidden one stays, as the last. What is known of columns follows those that pass.
    pub fn project(&mut self, mut columns: Vec<(String, Expr)>) -> Result<()> {
        let passes: Vec<(usize, usize)> = columns
            .iter()
            .enumerate()
            .filter_map(|(to, (_, expr))| match expr {
                Expr::Column(from) => Some((*from, to)),
                _ => None,
            })
            .collect();
        let to = |column: usize| passes.iter().find(|(from, _)| *from == column).map(|(_, to)| *to);
        let all = |columns: &Vec<usize>| columns.iter().map(|&column| to(column)).collect::<Option<Vec<_>>>();
        self.event_time = self.event_time.and_then(to);
        self.windows = self
            .windows
            .iter()
            .flat_map(|(&from, &shift)| {
                passes.iter().filter(move |(passed, _)| *passed == from).map(move |(_, to)| (*to, shift))
            })
            .collect();
        self.placed_by = self.placed_by.as_ref().and_then(all);
        self.unique = self.unique.as_ref().and_then(all);
        let identity = columns.len() == self.width()
            && columns
                .iter()
                .enumerate()
                .all(|(i, (name, expr))| *expr == Expr::Column(i) && self.schema.columns[i].name == *name);
        if identity {
            return Ok(());
        }
        if self.hidden {
            let last = self.schema.columns.len() - 1;
            columns.push((self.schema.columns[last].name.clone(), Expr::Column(last)));
        }
        self.push(Step::Project(columns))
    }

    /// Adds a step and works out what leaves it.
    pub fn push(&mut self, step: Step) -> Result<()> {
        self.schema = one_step(&self.schema, step.clone())?;
        self.steps.push(step);
        Ok(())
    }

    /// Leaves the hidden column out.
    pub fn drop_hidden(&mut self) -> Result<()> {
        if !self.hidden {
            return Ok(());
        }
        self.hidden = false;
        let width = self.schema.columns.len() - 1;
        let columns = (0..width).map(|i| (self.schema.columns[i].name.clone(), Expr::Column(i))).collect();
        self.push(Step::Project(columns))
    }

    /// Whether steps between the node and here are all stateless ones over a source node, none of them a window or a repeat.
    fn patchable(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Filter(_) | Step::Project(_) | Step::Unnest(_)))
    }
}

/// What leaves `step` over rows of `input`.
fn one_step(input: &Schema, step: Step) -> Result<Schema> {
    let spec = OperatorSpec::Chain(ChainSpec { input: input.clone(), steps: vec![step] });
    spec.outputs()?.into_iter().next().ok_or_else(|| Error::internal("a chain has no output"))
}

impl Builder {
    /// Adds a node.
    pub fn add(
        &mut self,
        name: &str,
        kind: NodeKind,
        inputs: Vec<Edge>,
        schema: Schema,
        append_only: bool,
    ) -> Result<NodeId> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| Error::limit("graph has too many nodes"))?;
        let id = NodeId(id);
        self.nodes.push(Node { id, name: name.to_string(), kind, inputs, schema, append_only, parallelism: None });
        Ok(id)
    }

    /// The node that was added last.
    pub fn last(&self) -> NodeId {
        NodeId(self.nodes.len().saturating_sub(1) as u32)
    }

    /// The stream that leaves node `from` on port 0; nothing is known of it but its schema.
    pub fn stream(&self, from: NodeId, schema: Schema, append_only: bool) -> Stream {
        Stream {
            from,
            base: schema.clone(),
            steps: Vec::new(),
            schema,
            hidden: false,
            append_only,
            watermark: WatermarkExpr::None,
            event_time: None,
            windows: BTreeMap::new(),
            sealed: false,
            placed_by: None,
            unique: None,
            single: false,
            closes: Closes::NoAggregate,
        }
    }

    /// Adds an operator that reads `inputs`; those of its outputs that can hold faults are noted.
    pub fn operator(
        &mut self,
        spec: OperatorSpec,
        inputs: Vec<Edge>,
        append_only: bool,
        faults_append_only: bool,
    ) -> Result<Stream> {
        let mut outputs = spec.outputs()?;
        let schema = outputs.first().cloned().unwrap_or_default();
        let name = spec.name();
        let node = self.add(name, NodeKind::Operator(spec), inputs, schema.clone(), append_only)?;
        if outputs.len() > 2 && !outputs[2].columns.is_empty() {
            let schema = outputs.swap_remove(2);
            self.faults.push(SideOutput { node, port: 2, schema, append_only: faults_append_only });
        }
        Ok(self.stream(node, schema, append_only))
    }

    /// Makes the pending steps of `stream` a node.
    pub fn settle(&mut self, stream: &mut Stream) -> Result<()> {
        if stream.steps.is_empty() {
            return Ok(());
        }
        let spec = ChainSpec { input: stream.base.clone(), steps: std::mem::take(&mut stream.steps) };
        let edge =
            Edge { from: stream.from, port: 0, exchange: Exchange::OneToOne, watermark: stream.watermark.clone() };
        let settled = self.operator(OperatorSpec::Chain(spec), vec![edge], stream.append_only, stream.append_only)?;
        stream.from = settled.from;
        stream.base = settled.base;
        Ok(())
    }

    /// The edge by which a node reads `stream`, by key: one-to-one when the rows lie there already.
    pub fn edge(&mut self, stream: &mut Stream, key: Option<&[usize]>) -> Result<Edge> {
        self.settle(stream)?;
        let exchange = match key {
            None => Exchange::OneToOne,
            Some(key) if stream.placed_by.as_deref() == Some(key) => Exchange::OneToOne,
            Some(key) => Exchange::Key(key.to_vec()),
        };
        Ok(Edge { from: stream.from, port: 0, exchange, watermark: stream.watermark.clone() })
    }

    /// Whether [`Builder::carry_watermark`] would do it.
    pub fn can_carry(&self, stream: &Stream) -> bool {
        let node = self.nodes.get(stream.from.0 as usize);
        stream.hidden || (stream.patchable() && node.is_some_and(|node| matches!(node.kind, NodeKind::Source(_))))
    }

    /// Has the source beneath `stream` send the watermark of each row's split, and the steps so far carry it.
    /// Says whether that was possible.
    pub fn carry_watermark(&mut self, stream: &mut Stream) -> Result<bool> {
        if stream.hidden {
            return Ok(true);
        }
        let Some(node) = self.nodes.get_mut(stream.from.0 as usize) else { return Ok(false) };
        let NodeKind::Source(source) = &mut node.kind else { return Ok(false) };
        if !stream.patchable() {
            return Ok(false);
        }
        source.watermark = true;
        let hidden = crate::types::Column {
            name: crate::dataflow::WATERMARK_COLUMN.to_string(),
            ty: crate::types::SqlType::BigInt,
            nullable: false,
        };
        node.schema.columns.push(hidden);
        stream.base = node.schema.clone();
        let mut schema = stream.base.clone();
        let mut at = schema.columns.len() - 1;
        for step in &mut stream.steps {
            if let Step::Project(columns) = step {
                columns.push((schema.columns[at].name.clone(), Expr::Column(at)));
                at = columns.len() - 1;
            }
            schema = one_step(&schema, step.clone())?;
        }
        let last = schema.columns.len() - 1;
        stream.schema = schema;
        stream.hidden = true;
        if at < last {
            // UNNEST has put its elements behind it.
            let columns = (0..=last).filter(|&i| i != at).chain([at]);
            let columns = columns.map(|i| (stream.schema.columns[i].name.clone(), Expr::Column(i))).collect();
            stream.push(Step::Project(columns))?;
        }
        Ok(true)
    }

    /// The finished graph.
    pub fn finish(self) -> Result<Graph> {
        let graph = Graph::new(self.nodes);
        graph.validate()?;
        Ok(graph)
    }
}
