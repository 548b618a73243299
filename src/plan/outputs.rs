//! What a job publishes beside its answer: late rows, and rows that faulted, each through a keep.

use super::build::{Builder, SideOutput};
use super::view::KeepLimits;
use crate::base::Result;
use crate::dataflow::{Edge, Exchange, NodeKind, PublishSpec, WatermarkExpr};
use crate::functions::{Expr, Literal, Value};
use crate::operators::{ChainSpec, KeepSpec, OperatorSpec, Step, UnionSpec};
use crate::types::{Column, RelationId, Schema};

/// Publishes what the gates refused. Gives the columns, or `None` without gates.
pub(super) fn late(builder: &mut Builder, relation: RelationId, keep: KeepLimits) -> Result<Option<Schema>> {
    let sides = std::mem::take(&mut builder.late);
    publish(builder, relation, keep, sides)
}

/// Publishes what could not be computed. Gives the columns, or `None` when no operator can fault.
pub(super) fn faults(builder: &mut Builder, relation: RelationId, keep: KeepLimits) -> Result<Option<Schema>> {
    let sides = std::mem::take(&mut builder.faults);
    publish(builder, relation, keep, sides)
}

fn publish(
    builder: &mut Builder,
    relation: RelationId,
    limits: KeepLimits,
    sides: Vec<SideOutput>,
) -> Result<Option<Schema>> {
    if sides.is_empty() {
        return Ok(None);
    }
    let schema = merged(&sides);
    let append_only = sides.iter().all(|side| side.append_only);
    let single = sides.len() == 1;
    let mut edges = Vec::new();
    for side in sides {
        let edge =
            Edge { from: side.node, port: side.port, exchange: Exchange::Gather, watermark: WatermarkExpr::None };
        edges.push(if same(&side.schema, &schema) { edge } else { adapted(builder, side, edge, &schema)? });
    }
    let edge = match edges.pop() {
        Some(edge) if single => edge,
        Some(edge) => {
            edges.push(edge);
            let spec = UnionSpec { schema: schema.clone(), inputs: edges.len() };
            let node = builder.add(
                "union",
                NodeKind::Operator(OperatorSpec::Union(spec)),
                edges,
                schema.clone(),
                append_only,
            )?;
            Edge { from: node, port: 0, exchange: Exchange::Gather, watermark: WatermarkExpr::None }
        }
        None => return Ok(None),
    };
    keep(builder, relation, &schema, edge, append_only, limits)?;
    Ok(Some(schema))
}

/// Keeps the newest rows that come over `edge`, and publishes them.
pub(super) fn keep(
    builder: &mut Builder,
    relation: RelationId,
    schema: &Schema,
    edge: Edge,
    append_only: bool,
    limits: KeepLimits,
) -> Result<()> {
    let KeepLimits { rows_max, bytes_max } = limits;
    let spec = OperatorSpec::Keep(KeepSpec { input: schema.clone(), rows_max, bytes_max, append_only });
    let node = builder.add("keep", NodeKind::Operator(spec), vec![edge], schema.clone(), false)?;
    let all = (0..schema.columns.len()).collect();
    let edge = Edge { from: node, port: 0, exchange: Exchange::Key(all), watermark: WatermarkExpr::None };
    let spec = PublishSpec { relation, key: Vec::new() };
    builder.add("kept", NodeKind::Publish(spec), vec![edge], schema.clone(), false)?;
    Ok(())
}

fn same(one: &Schema, other: &Schema) -> bool {
    one.columns.len() == other.columns.len()
        && one.columns.iter().zip(&other.columns).all(|(a, b)| a.name == b.name && a.ty == b.ty)
}

/// The columns of all sides: those of one name and type once, others side by side under names of their own.
fn merged(sides: &[SideOutput]) -> Schema {
    let mut schema = Schema::default();
    for column in sides.iter().flat_map(|side| &side.schema.columns) {
        if place(&schema, column).is_none() {
            let taken = |name: &str| schema.index_of(name).is_some();
            let mut name = column.name.clone();
            let mut number = 2;
            while taken(&name) {
                name = format!("{}_{number}", column.name);
                number += 1;
            }
            schema.columns.push(Column { name, ty: column.ty.clone(), nullable: true });
        }
    }
    schema
}

/// Where a side's column lies in the merged schema.
fn place(schema: &Schema, column: &Column) -> Option<usize> {
    let numbered = |name: &str| {
        name == column.name
            || name
                .strip_prefix(&column.name)
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    schema.columns.iter().position(|known| known.ty == column.ty && numbered(&known.name))
}

/// Brings one side's rows into the merged schema: columns that it has not are NULL.
fn adapted(builder: &mut Builder, side: SideOutput, mut edge: Edge, schema: &Schema) -> Result<Edge> {
    edge.exchange = Exchange::Rebalance;
    let columns = schema.columns.iter().map(|wanted| {
        let from = side.schema.columns.iter().position(|column| place(schema, column) == schema.index_of(&wanted.name));
        let null = || Expr::Literal(Literal { ty: wanted.ty.clone(), value: Value::Null });
        (wanted.name.clone(), from.map_or_else(null, Expr::Column))
    });
    let steps = vec![Step::Project(columns.collect())];
    let spec = OperatorSpec::Chain(ChainSpec { input: side.schema.clone(), steps });
    let node = builder.add("chain", NodeKind::Operator(spec), vec![edge], schema.clone(), side.append_only)?;
    Ok(Edge { from: node, port: 0, exchange: Exchange::Gather, watermark: WatermarkExpr::None })
}
