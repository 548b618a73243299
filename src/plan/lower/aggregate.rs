//! `Aggregate`: keys and arguments projected, late rows told apart where windows will close, then GROUP BY.

use std::collections::BTreeSet;

use datafusion::logical_expr::Aggregate;

use super::Lowering;
use crate::base::{Error, Result};
use crate::functions::{AggregateCall, BinaryOp, Expr, Literal, Value, aggregate_from_datafusion, from_datafusion};
use crate::operators::{AggregateSpec, Emit, OperatorSpec};
use crate::plan::build::{Closes, Stream};
use crate::plan::view::EmitMode;
use crate::plan::window::WINDOW_END;
use crate::types::SqlType;

/// The name of a window's end that the query did not name.
const HIDDEN_END: &str = "__window_end";

/// What an aggregate reads: the stream, with the keys as its first columns.
pub(super) struct Prepared {
    pub stream: Stream,
    pub keys: usize,
    /// The column (among the keys or behind them) of the end of the window that is grouped by.
    pub end: Option<usize>,
}

impl Lowering {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Stream> {
        let schema = aggregate.input.schema();
        let calls = aggregate
            .aggr_expr
            .iter()
            .map(|call| aggregate_from_datafusion(call, schema))
            .collect::<Result<Vec<_>>>()?;
        if let Some(grouped) = self.grouping_sets(aggregate, &calls)? {
            return Ok(grouped);
        }
        let input = self.lower(&aggregate.input)?;
        let groups =
            aggregate.group_expr.iter().map(|group| from_datafusion(group, schema)).collect::<Result<Vec<_>>>()?;
        let (prepared, calls) = self.prepare(input, groups, calls, aggregate)?;
        let Prepared { stream, keys, end } = self.gate(prepared)?;
        let (grouped, all_keys) = self.grouped(stream, (0..keys).collect(), end, calls)?;
        self.shape(grouped, aggregate, keys, all_keys)
    }

    /// GROUP BY the columns `key_columns`, and by `end`, the end of a window among or behind them. Also how many keys
    /// there are then.
    pub(super) fn grouped(
        &mut self,
        mut stream: Stream,
        mut key_columns: Vec<usize>,
        end: Option<usize>,
        calls: Vec<AggregateCall>,
    ) -> Result<(Stream, usize)> {
        // Groups of windows over event time end with their window.
        let window = end.filter(|_| stream.sealed).map(|end| {
            if let Some(place) = key_columns.iter().position(|&key| key == end) {
                return place;
            }
            key_columns.push(end);
            key_columns.len() - 1
        });
        let emit = match (self.emit, window) {
            (EmitMode::WindowClose { .. }, Some(key)) => Emit::WindowClose { key },
            (EmitMode::WindowClose { .. } | EmitMode::Changes, _) => Emit::Changes,
        };
        let free_on = window.filter(|_| emit == Emit::Changes);
        let input_append_only = stream.append_only;
        let distinct = calls.is_empty() && input_append_only && !key_columns.is_empty();
        let append_only = distinct || emit != Emit::Changes;
        let spec = AggregateSpec {
            input: stream.schema.clone(),
            keys: key_columns.clone(),
            calls,
            append_only: input_append_only,
            emit,
            free_on,
        };
        let edge = self.builder.edge(&mut stream, Some(&key_columns))?;
        let mut grouped = self.builder.operator(OperatorSpec::Aggregate(spec), vec![edge], append_only, false)?;
        grouped.watermark = stream.watermark.clone();
        grouped.sealed = stream.sealed;
        grouped.closes = stream.closes.and(if emit == Emit::Changes { Closes::Revised } else { Closes::All });
        let places = || key_columns.iter().enumerate();
        grouped.windows = places().filter_map(|(to, from)| Some((to, *stream.windows.get(from)?))).collect();
        grouped.placed_by = Some((0..key_columns.len()).collect());
        grouped.unique = grouped.placed_by.clone();
        grouped.single = key_columns.is_empty();
        Ok((grouped, key_columns.len()))
    }

    /// Names the columns as the logical node does, and leaves out a key that was added.
    fn shape(&self, mut grouped: Stream, aggregate: &Aggregate, keys: usize, all_keys: usize) -> Result<Stream> {
        let fields = aggregate.schema.fields().iter().enumerate();
        let columns = fields.map(|(i, field)| {
            let from = if i < keys { i } else { i + all_keys - keys };
            let column = Expr::Column(from);
            let found = grouped.schema.columns.get(from).map(|column| &column.ty);
            let wanted = SqlType::from_arrow(field.data_type())?;
            let typed = if found == Some(&wanted) { column } else { column.cast(wanted) };
            Ok((field.name().clone(), typed))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        if all_keys > keys {
            // Without the added key the others still name a row: a window's start says its end.
            let unique: Vec<usize> = (0..keys).collect();
            grouped.project(columns)?;
            grouped.unique = Some(unique);
        } else {
            grouped.project(columns)?;
        }
        Ok(grouped)
    }

    /// Projects `input` to the keys, what the calls read, and the end of the window that is grouped by.
    pub(super) fn prepare(
        &mut self,
        mut input: Stream,
        groups: Vec<Expr>,
        mut calls: Vec<AggregateCall>,
        aggregate: &Aggregate,
    ) -> Result<(Prepared, Vec<AggregateCall>)> {
        let names = aggregate.schema.fields();
        let grouped_window = groups.iter().enumerate().find_map(|(place, group)| match group {
            Expr::Column(column) => input.windows.get(column).map(|&shift| (place, *column, shift)),
            _ => None,
        });
        let mut columns: Vec<(String, Expr)> =
            groups.iter().enumerate().map(|(i, group)| (names[i].name().clone(), group.clone())).collect();
        let keys = columns.len();
        let mut read = BTreeSet::new();
        for call in &calls {
            call.exprs().for_each(|expr| read.extend(expr.columns()));
        }
        let read: Vec<usize> = read.into_iter().collect();
        for &column in &read {
            columns.push((input.schema.columns[column].name.clone(), Expr::Column(column)));
        }
        let place = |column: usize| keys + read.iter().position(|&known| known == column).unwrap_or(column);
        for call in &mut calls {
            call.exprs_mut().for_each(|expr| expr.map_columns(&mut |i| place(i)));
        }
        let end = match grouped_window {
            None => None,
            Some((_, _, _)) if grouped_end(&groups, &input).is_some() => grouped_end(&groups, &input),
            Some((_, start, shift)) => {
                let us =
                    i64::checked_mul(shift, 1_000).ok_or_else(|| Error::limit("window is longer than 292 years"))?;
                let size =
                    Literal { ty: SqlType::Interval, value: Value::Interval { months: 0, days: 0, nanoseconds: us } };
                let name = if columns.iter().any(|(name, _)| name == WINDOW_END) { HIDDEN_END } else { WINDOW_END };
                let computed = Expr::binary(BinaryOp::Add, Expr::Column(start), Expr::Literal(size));
                columns.push((name.to_string(), computed));
                Some(columns.len() - 1)
            }
        };
        input.project(columns)?;
        if let Some(end) = end {
            input.windows.insert(end, 0);
        }
        if grouped_window.is_none() {
            input.drop_hidden()?;
        }
        Ok((Prepared { stream: input, keys, end }, calls))
    }

    /// Tells late rows from the others, once, where rows bring the watermark of their split.
    pub(super) fn gate(&mut self, prepared: Prepared) -> Result<Prepared> {
        let Prepared { stream, keys, end } = prepared;
        match end {
            Some(column) if stream.hidden => Ok(Prepared { stream: self.gated(stream, column, 0)?, keys, end }),
            _ => Ok(Prepared { stream, keys, end }),
        }
    }
}

/// The place among `groups` of a column that is itself a window's end.
fn grouped_end(groups: &[Expr], input: &Stream) -> Option<usize> {
    groups.iter().position(|group| matches!(group, Expr::Column(column) if input.windows.get(column) == Some(&0)))
}
