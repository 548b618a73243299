//! GROUPING SETS, ROLLUP and CUBE: one aggregate for each set, all reading the same stream, and what they give put together.

use datafusion::logical_expr::{Aggregate, Expr as LogicalExpr};

use super::Lowering;
use crate::base::{Error, Result};
use crate::functions::{AggregateCall, Expr, Literal, Value, error_from_datafusion, from_datafusion};
use crate::plan::build::Stream;
use crate::plan::grouping::{self, Set};
use crate::types::{Schema, SqlType};

impl Lowering {
    /// Lowers an aggregate with grouping sets; `None` if it has none.
    pub(super) fn grouping_sets(&mut self, aggregate: &Aggregate, calls: &[AggregateCall]) -> Result<Option<Stream>> {
        let Some((keys, sets)) = grouping::sets(&aggregate.group_expr).map_err(error_from_datafusion)? else {
            return Ok(None);
        };
        let input = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let lower = |key: &&LogicalExpr| from_datafusion(key, schema);
        let groups = keys.iter().map(lower).collect::<Result<Vec<_>>>()?;
        // Late rows are told apart once, for all sets.
        let windowed: Vec<bool> = groups
            .iter()
            .map(|group| matches!(group, Expr::Column(column) if input.windows.contains_key(column)))
            .collect();
        let (prepared, calls) = self.prepare(input, groups, calls.to_vec(), aggregate)?;
        let mut prepared = self.gate(prepared)?;
        prepared.stream.drop_hidden()?;
        self.builder.settle(&mut prepared.stream)?;
        let columns = Schema::from_arrow(aggregate.schema.as_arrow())?;
        let mut parts = Vec::with_capacity(sets.len());
        for set in &sets {
            let places: Vec<usize> = (0..keys.len()).filter(|&key| set.has[key]).collect();
            let end = prepared.end.filter(|_| places.iter().any(|&key| windowed[key]));
            let (stream, all_keys) = self.grouped(prepared.stream.clone(), places, end, calls.clone())?;
            parts.push(shape(stream, set, all_keys, &columns)?);
        }
        self.unite(parts, columns).map(Some)
    }
}

/// Gives what a set's aggregate gives the columns of all sets: NULL for keys that it has not, and its number.
fn shape(mut stream: Stream, set: &Set, all_keys: usize, columns: &Schema) -> Result<Stream> {
    let (mut key, mut call) = (0, all_keys);
    let mut shown = Vec::with_capacity(columns.columns.len());
    for (place, column) in columns.columns.iter().enumerate() {
        let value = match set.has.get(place) {
            Some(true) => {
                key += 1;
                Expr::Column(key - 1)
            }
            Some(false) => Expr::Literal(Literal::null(column.ty.clone())),
            None if place == set.has.len() => number(set.id, &column.ty)?,
            None => {
                call += 1;
                Expr::Column(call - 1)
            }
        };
        let found = value.ty(&stream.schema)?;
        let value = if found == column.ty { value } else { value.cast(column.ty.clone()) };
        shown.push((column.name.clone(), value));
    }
    stream.project(shown)?;
    Ok(stream)
}

fn number(id: u64, ty: &SqlType) -> Result<Expr> {
    let id = i64::try_from(id).map_err(|_| Error::limit("GROUPING SETS over more than 62 columns"))?;
    let number = Expr::Literal(Literal { ty: SqlType::BigInt, value: Value::Integer(id) });
    Ok(number.cast(ty.clone()))
}
