//! `Union` (ALL) and `Distinct`.

use datafusion::logical_expr::{LogicalPlan, Union};

use super::{Lowering, field_names};
use crate::base::{Error, Result};
use crate::dataflow::WatermarkExpr;
use crate::functions::Expr;
use crate::operators::{AggregateSpec, Emit, OperatorSpec, UnionSpec};
use crate::plan::build::{Closes, Stream};
use crate::types::Schema;

impl Lowering {
    pub(super) fn union(&mut self, union: &Union) -> Result<Stream> {
        let schema = Schema::from_arrow(union.schema.as_arrow())?;
        let mut edges = Vec::new();
        let mut append_only = true;
        let mut closes = Closes::NoAggregate;
        let mut watermarks = Vec::new();
        for input in &union.inputs {
            let mut stream = self.lower(input)?;
            stream.drop_hidden()?;
            let typed = stream.schema.columns.iter().zip(&schema.columns).enumerate().map(|(i, (found, wanted))| {
                let column = Expr::Column(i);
                (wanted.name.clone(), if found.ty == wanted.ty { column } else { column.cast(wanted.ty.clone()) })
            });
            let typed: Vec<(String, Expr)> = typed.collect();
            if stream.schema.types() != schema.types() {
                stream.project(typed)?;
            }
            append_only &= stream.append_only;
            closes = closes.and(stream.closes);
            watermarks.push(stream.watermark.clone());
            // One-to-one edges must come from all workers: what lies on one worker is spread anew.
            let key: Vec<usize> = (0..schema.columns.len()).collect();
            let scattered = stream.placed_by.is_none();
            edges.push(self.builder.edge(&mut stream, if scattered { None } else { Some(&key) })?);
        }
        if edges.is_empty() {
            return Err(Error::internal("a union has no inputs"));
        }
        let spec = UnionSpec { schema, inputs: edges.len() };
        let mut stream = self.builder.operator(OperatorSpec::Union(spec), edges, append_only, append_only)?;
        stream.closes = closes;
        if !watermarks.contains(&WatermarkExpr::None) {
            stream.watermark = WatermarkExpr::Min(watermarks);
        }
        Ok(stream)
    }

    /// DISTINCT: an aggregate without calls.
    pub(super) fn distinct(&mut self, input: &LogicalPlan) -> Result<Stream> {
        let mut stream = self.lower(input)?;
        stream.drop_hidden()?;
        let keys: Vec<usize> = (0..field_names(input).len()).collect();
        let edge = self.builder.edge(&mut stream, Some(&keys))?;
        let append_only = stream.append_only;
        let spec = AggregateSpec {
            input: stream.schema.clone(),
            keys: keys.clone(),
            calls: Vec::new(),
            append_only,
            emit: Emit::Changes,
            free_on: None,
        };
        let mut distinct =
            self.builder.operator(OperatorSpec::Aggregate(spec), vec![edge], append_only, append_only)?;
        distinct.closes = stream.closes.and(Closes::Revised);
        distinct.placed_by = Some(keys.clone());
        distinct.unique = Some(keys);
        distinct.watermark = stream.watermark;
        Ok(distinct)
    }
}
