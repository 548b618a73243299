//! Rows that a query spells out: `VALUES`, and the one row of a SELECT without FROM.
//!
//! A job that has any reads a row of its own, which the engine sends once, in the job's first epoch ([`unit_row`]); what
//! the query spells is computed of it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{EmptyRelation, Values};

use super::{Lowering, refused};
use crate::base::Result;
use crate::dataflow::{NodeKind, SourceInput};
use crate::functions::{Expr, Literal, Value, from_datafusion};
use crate::operators::{OperatorSpec, UnionSpec};
use crate::plan::build::Stream;
use crate::types::{Column, DeltaBatch, NodeId, RelationId, Schema, SqlType};

/// So many rows a query may spell out.
const ROWS_MAX: usize = 256;

/// Where a job gets its own row from.
pub(in crate::plan) struct Unit {
    /// The relation for which the job is made: it reads itself.
    relation: RelationId,
    /// The node, once there is one.
    node: Option<NodeId>,
}

impl Unit {
    pub fn of(relation: RelationId) -> Unit {
        Unit { relation, node: None }
    }
}

fn unit_schema() -> Schema {
    Schema::new(vec![Column { name: "one".to_string(), ty: SqlType::Boolean, nullable: false }])
}

/// The row that a job which reads itself is sent in its first epoch.
pub fn unit_row() -> Result<DeltaBatch> {
    let one: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    Ok(DeltaBatch::inserts(RecordBatch::try_new(unit_schema().arrow(), vec![one])?))
}

impl Lowering {
    fn unit(&mut self) -> Result<Stream> {
        let schema = unit_schema();
        let node = match self.unit.node {
            Some(node) => node,
            None => {
                let input = SourceInput { relation: self.unit.relation, columns: vec![0], watermark: false };
                self.builder.add("one row", NodeKind::Source(input), Vec::new(), schema.clone(), true)?
            }
        };
        self.unit.node = Some(node);
        Ok(self.builder.stream(node, schema, true))
    }

    /// No rows, or one without columns.
    pub(super) fn empty(&mut self, empty: &EmptyRelation) -> Result<Stream> {
        let mut stream = self.unit()?;
        if empty.produce_one_row {
            stream.project(Vec::new())?;
            return Ok(stream);
        }
        let never = Literal { ty: SqlType::Boolean, value: Value::Boolean(false) };
        stream.filter(Expr::Literal(never));
        let schema = Schema::from_arrow(empty.schema.as_arrow())?;
        let nulls = schema.columns.iter();
        let nulls = nulls.map(|column| (column.name.clone(), Expr::Literal(Literal::null(column.ty.clone()))));
        stream.project(nulls.collect())?;
        Ok(stream)
    }

    /// Each row computed of the one, then all of them together.
    pub(super) fn values(&mut self, values: &Values) -> Result<Stream> {
        if values.values.len() > ROWS_MAX {
            return Err(refused(
                &format!("VALUES of {} rows", values.values.len()),
                "CREATE TABLE, INSERT the rows, and read the table.",
            ));
        }
        let schema = Schema::from_arrow(values.schema.as_arrow())?;
        let none = DFSchema::empty();
        let mut edges = Vec::new();
        let mut only = None;
        for row in &values.values {
            let mut columns = Vec::with_capacity(row.len());
            for (expr, wanted) in row.iter().zip(&schema.columns) {
                let value = from_datafusion(expr, &none)?;
                let same = value.ty(&Schema::default())? == wanted.ty;
                columns.push((wanted.name.clone(), if same { value } else { value.cast(wanted.ty.clone()) }));
            }
            let mut stream = self.unit()?;
            stream.project(columns)?;
            if values.values.len() == 1 {
                only = Some(stream);
            } else {
                edges.push(self.builder.edge(&mut stream, None)?);
            }
        }
        if let Some(only) = only {
            return Ok(only);
        }
        let spec = UnionSpec { schema, inputs: edges.len() };
        self.builder.operator(OperatorSpec::Union(spec), edges, true, true)
    }
}
