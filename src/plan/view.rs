//! A query that is kept up to date: from its logical plan to the graph of its job.

use std::fmt::Write;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::asof::find_asof;
use super::build::{Builder, Closes, Stream};
use super::during::find_during;
use super::lookup::find_lookups;
use super::lower::{Became, Lowering, Unit};
use super::optimize::optimize;
use super::outputs;
use super::proctime::find_proctime;
use crate::base::{Error, Result};
use crate::catalog::{Relation, RelationKind};
use crate::dataflow::{
    Edge, Exchange, Graph, NodeKind, PublishSpec, RelationInput, SinkSpec, SourceInput, WatermarkExpr,
};
use crate::functions::{Expr, error_from_datafusion};
use crate::types::{RelationId, Schema};

/// When the answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// Now, and revised each epoch.
    Changes,
    /// Each window once, when the watermark has reached its end.
    WindowClose {
        /// Where EMIT stands in the statement (1-based, characters).
        position: usize,
    },
}

/// Where the rows of a job go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// They are published as this relation.
    View(RelationId),
    /// They go to this sink's outbox.
    Sink(RelationId),
}

/// What a job is planned from.
#[derive(Clone, Copy)]
pub struct ViewRequest<'a> {
    /// The bound query, types resolved.
    pub plan: &'a LogicalPlan,
    /// The names of its columns.
    pub schema: &'a Schema,
    /// When the answer is shown.
    pub emit: EmitMode,
    /// Where it goes.
    pub target: Target,
    /// The relation of late rows, published if the plan has a gate.
    pub late: Option<RelationId>,
    /// The relation of faulty rows.
    pub faults: Option<RelationId>,
    /// How much of late and faulty rows is kept.
    pub keep: KeepLimits,
}

/// How much is kept of late and faulty rows; counts are exact beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepLimits {
    /// Rows.
    pub rows_max: u64,
    /// Bytes.
    pub bytes_max: u64,
}

impl Default for KeepLimits {
    fn default() -> Self {
        KeepLimits { rows_max: 100_000, bytes_max: 256 << 20 }
    }
}

/// A planned job.
#[derive(Clone, Debug)]
pub struct PlannedView {
    /// Operators and edges, validated.
    pub graph: Graph,
    /// The columns that are published or sent.
    pub schema: Schema,
    /// The columns that name a row; empty: all.
    pub key: Vec<usize>,
    /// Whether no row is ever taken back.
    pub append_only: bool,
    /// The columns of `ms_late.<view>`; `None` if nothing can be late.
    pub late: Option<Schema>,
    /// The columns of `ms_faults.<view>`; `None` if nothing can fault.
    pub faults: Option<Schema>,
    /// What the author of the query should know.
    pub notices: Vec<String>,
    /// The optimised logical plan: which operators each of its nodes became.
    pub became: Became,
}

/// Plans a query that is kept up to date. Constructs without operators are refused by name (0A000).
pub fn plan_view(request: &ViewRequest<'_>, session: &SessionState) -> Result<PlannedView> {
    let plan = find_during(find_proctime(request.plan.clone())?)?;
    let plan = find_lookups(find_asof(plan)?, false)?;
    let logical = optimize(plan, session).map_err(error_from_datafusion)?;
    let (Target::View(own) | Target::Sink(own)) = request.target;
    let mut lowering = Lowering {
        builder: Builder::default(),
        emit: request.emit,
        unit: Unit::of(own),
        became: Became::default(),
        notices: Vec::new(),
        carried: 0,
    };
    let mut stream = lowering.lower(&logical)?;
    let Lowering { mut builder, became, notices, .. } = lowering;
    stream.drop_hidden()?;
    conform(&mut stream, request.schema)?;
    check_emit(request.emit, &stream)?;
    let schema = request.schema.clone();
    let key = stream.unique.clone().unwrap_or_default();
    output(&mut builder, &mut stream, request.target, &schema, &key)?;
    let late = match request.late {
        Some(relation) => outputs::late(&mut builder, relation, request.keep)?,
        None => None,
    };
    let faults = match request.faults {
        Some(relation) => outputs::faults(&mut builder, relation, request.keep)?,
        None => None,
    };
    let append_only = stream.append_only;
    Ok(PlannedView { graph: builder.finish()?, schema, key, append_only, late, faults, notices, became })
}

/// Gives the stream the names and types of `schema`.
fn conform(stream: &mut Stream, schema: &Schema) -> Result<()> {
    if stream.width() != schema.columns.len() {
        return Err(Error::internal(format!(
            "query has {} columns, its plan {}",
            schema.columns.len(),
            stream.width()
        )));
    }
    if stream.schema.types() == schema.types() {
        return Ok(());
    }
    let columns = schema.columns.iter().enumerate().map(|(i, wanted)| {
        let column = Expr::Column(i);
        let same = stream.schema.columns[i].ty == wanted.ty;
        (wanted.name.clone(), if same { column } else { column.cast(wanted.ty.clone()) })
    });
    stream.project(columns.collect())
}

fn check_emit(emit: EmitMode, stream: &Stream) -> Result<()> {
    let EmitMode::WindowClose { position } = emit else { return Ok(()) };
    let (what, hint) = match stream.closes {
        Closes::All if stream.append_only => return Ok(()),
        Closes::NoAggregate => (
            "the query has no GROUP BY over a window",
            "GROUP BY window_start, window_end over TUMBLE or HOP, or leave EMIT ON WINDOW CLOSE out.",
        ),
        Closes::All => (
            "the query joins windows with rows that can be taken back",
            "Create the view of windows first, and join it in another view without EMIT ON WINDOW CLOSE.",
        ),
        Closes::Revised => (
            "the query groups by no window over the event time of a source",
            "GROUP BY window_start, window_end of TUMBLE or HOP over a source's WATERMARK FOR column, before any join; or leave EMIT ON WINDOW CLOSE out.",
        ),
    };
    let error = Error::unsupported(format!("EMIT ON WINDOW CLOSE is not supported here: {what}")).with_hint(hint);
    Err(if position > 0 { error.at(position) } else { error })
}

/// The node where the answer leaves the job.
pub(super) fn output(
    builder: &mut Builder,
    stream: &mut Stream,
    target: Target,
    schema: &Schema,
    key: &[usize],
) -> Result<()> {
    let append_only = stream.append_only;
    match target {
        Target::View(relation) => {
            // A view's rows lie with their key group, so that a restart with other workers finds them.
            let all: Vec<usize> = (0..schema.columns.len()).collect();
            let placed = if key.is_empty() { all } else { key.to_vec() };
            let edge = builder.edge(stream, Some(&placed))?;
            let spec = PublishSpec { relation, key: key.to_vec() };
            builder.add("answer", NodeKind::Publish(spec), vec![edge], schema.clone(), append_only)?;
        }
        Target::Sink(relation) => {
            let edge = builder.edge(stream, None)?;
            builder.add(
                "sink",
                NodeKind::Sink(SinkSpec { relation, changes_only: false }),
                vec![edge],
                schema.clone(),
                append_only,
            )?;
        }
    }
    Ok(())
}

/// The graph of a table's job: what its statements change, published under its primary key.
pub fn plan_table(table: &Relation) -> Result<Graph> {
    let mut builder = Builder::default();
    let columns: Vec<usize> = (0..table.columns.columns.len()).collect();
    let source = SourceInput { relation: table.id, columns, watermark: false };
    let schema = table.columns.clone();
    let node = builder.add(&table.path(), NodeKind::Source(source), Vec::new(), schema.clone(), false)?;
    let mut stream = builder.stream(node, schema.clone(), false);
    output(&mut builder, &mut stream, Target::View(table.id), &schema, &table.primary_key)?;
    builder.finish()
}

/// The graph of a job that keeps the newest rows of what a reader sends for `relation`: the faults of a source.
pub fn plan_kept(relation: RelationId, schema: &Schema, keep: KeepLimits) -> Result<Graph> {
    let mut builder = Builder::default();
    let columns = (0..schema.columns.len()).collect();
    let source = SourceInput { relation, columns, watermark: false };
    let node = builder.add("faults", NodeKind::Source(source), Vec::new(), schema.clone(), true)?;
    let edge = Edge { from: node, port: 0, exchange: Exchange::Gather, watermark: WatermarkExpr::None };
    outputs::keep(&mut builder, relation, schema, edge, true, keep)?;
    builder.finish()
}

/// The graph of a sink that sends the changes of `relation`. A source is read by a reader, all else is tapped.
pub fn plan_sink(relation: &Relation, sink: RelationId) -> Result<Graph> {
    let mut builder = Builder::default();
    let schema = relation.columns.clone();
    let input = match relation.kind {
        RelationKind::Source => {
            let columns = (0..schema.columns.len()).collect();
            NodeKind::Source(SourceInput { relation: relation.id, columns, watermark: false })
        }
        RelationKind::Table | RelationKind::MaterializedView | RelationKind::Late(_) | RelationKind::Faults(_) => {
            NodeKind::Relation(RelationInput { relation: relation.id })
        }
        RelationKind::View
        | RelationKind::Sink
        | RelationKind::Index(_)
        | RelationKind::Function
        | RelationKind::System => {
            return Err(Error::unsupported(format!("a sink from {} is not supported", relation.title())).with_hint(
                "Write CREATE SINK ... AS SELECT * FROM the view, or name a source, table or materialized view.",
            ));
        }
    };
    let node = builder.add(&relation.path(), input, Vec::new(), schema.clone(), relation.append_only)?;
    let mut stream = builder.stream(node, schema.clone(), relation.append_only);
    output(&mut builder, &mut stream, Target::Sink(sink), &schema, &[])?;
    builder.finish()
}

/// EXPLAIN of a planned job: the logical plan, then the graph with exchanges, keys, watermarks and what bounds state.
pub fn explain(planned: &PlannedView) -> String {
    let mut text = String::from("logical plan, and the operators that each node became\n");
    for line in planned.became.to_string().lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    text.push_str("operators\n");
    for line in planned.graph.to_string().lines() {
        let _ = writeln!(text, "  {line}");
    }
    let names = |columns: &[usize]| {
        let names = columns.iter().filter_map(|&i| planned.schema.columns.get(i));
        names.map(|column| column.name.clone()).collect::<Vec<_>>().join(", ")
    };
    let key = if planned.key.is_empty() { "all columns".to_string() } else { names(&planned.key) };
    let changes = if planned.append_only { "append-only" } else { "revised" };
    let late = if planned.late.is_some() { "; late rows are kept" } else { "" };
    let _ = write!(text, "answer: key {key}; {changes}{late}");
    text
}
