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
        let inputs = union.inputs.iter().map(|input| self.lower(input)).collect::<Result<Vec<_>>>()?;
        self.unite(inputs, schema)
    }

    /// All rows of `streams`, cast to the types of `schema`.
    pub(super) fn unite(&mut self, mut streams: Vec<Stream>, mut schema: Schema) -> Result<Stream> {
        let width = schema.columns.len();
        // Sources whose event time lies in one column stay judged by the watermark of each row's own split.
        let event_time = streams.first().and_then(|stream| stream.event_time);
        let carried =
            event_time.is_some() && streams.iter().all(|stream| stream.hidden && stream.event_time == event_time);
        let mut edges = Vec::new();
        let mut append_only = true;
        let mut closes = Closes::NoAggregate;
        let mut watermarks = Vec::new();
        for stream in &mut streams {
            if !carried {
                stream.drop_hidden()?;
            }
            let typed = stream.schema.columns.iter().zip(&schema.columns).enumerate().map(|(i, (found, wanted))| {
                let column = Expr::Column(i);
                (wanted.name.clone(), if found.ty == wanted.ty { column } else { column.cast(wanted.ty.clone()) })
            });
            let typed: Vec<(String, Expr)> = typed.collect();
            if stream.schema.types()[..width] != schema.types() {
                stream.project(typed)?;
            }
            append_only &= stream.append_only;
            closes = closes.and(stream.closes);
            watermarks.push(stream.watermark.clone());
            // One-to-one edges must come from all workers: what lies on one worker is spread anew.
            let key: Vec<usize> = (0..width).collect();
            let scattered = stream.placed_by.is_none();
            edges.push(self.builder.edge(stream, if scattered { None } else { Some(&key) })?);
        }
        if edges.is_empty() {
            return Err(Error::internal("a union has no inputs"));
        }
        if carried {
            let hidden = streams.iter().filter_map(|stream| stream.schema.columns.last());
            schema.columns.extend(hidden.take(1).cloned());
        }
        let spec = UnionSpec { schema, inputs: edges.len() };
        let mut stream = self.builder.operator(OperatorSpec::Union(spec), edges, append_only, append_only)?;
        stream.closes = closes;
        stream.hidden = carried;
        stream.event_time = event_time.filter(|_| carried);
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
