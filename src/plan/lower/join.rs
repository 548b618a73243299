//! `Join`: every kind, on equalities, ranges and any other condition.

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Expr as LogicalExpr, Join, LogicalPlan};

use super::band::band_of;
use super::{Lowering, refused};
use crate::base::Result;
use crate::dataflow::WatermarkExpr;
use crate::functions::{Expr, error_from_datafusion, from_datafusion};
use crate::operators::{JoinKind, JoinSpec, OperatorSpec};
use crate::plan::build::Stream;

/// One input of a join: its stream, with key expressions added as columns.
struct Side {
    stream: Stream,
    /// The columns of the logical node.
    width: usize,
    keys: Vec<usize>,
}

/// The kind of a logical join, and whether its sides are exchanged for it.
fn kind_of(join_type: JoinType) -> Result<(JoinKind, bool)> {
    Ok(match join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(refused("a sub-query in this condition", "Write the sub-query as a join."));
        }
    })
}

impl Lowering {
    pub(super) fn join(&mut self, join: &Join) -> Result<Stream> {
        let (kind, exchanged) = kind_of(join.join_type)?;
        if join.null_aware {
            return Err(refused("NOT IN with a sub-query", "Write NOT EXISTS (SELECT 1 FROM ... WHERE ...)."));
        }
        let on = |first: bool| join.on.iter().map(move |(left, right)| if first { left } else { right });
        let (one, other) = if exchanged { (&join.right, &join.left) } else { (&join.left, &join.right) };
        let mut left = self.side(one, on(!exchanged))?;
        let mut right = self.side(other, on(exchanged))?;
        let left_columns = left.stream.schema.columns.len();
        let (left_width, right_width) = (left.width, right.width);
        let shown = move |i: usize| if i < left_width { i } else { left_columns + i - left_width };
        let residual = match &join.filter {
            Some(filter) => {
                let both = one.schema().join(other.schema()).map_err(error_from_datafusion)?;
                let mut residual = from_datafusion(filter, &both)?;
                residual.map_columns(&mut |i| shown(i));
                Some(residual)
            }
            None => None,
        };
        let on: Vec<(usize, usize)> = left.keys.iter().copied().zip(right.keys.iter().copied()).collect();
        let spec = JoinSpec {
            null_safe: join.null_equality == NullEquality::NullEqualsNull,
            kind,
            band: residual.as_ref().and_then(|one| band_of(one, &left.stream.schema, &right.stream.schema, &on)),
            ..JoinSpec::inner(left.stream.schema.clone(), right.stream.schema.clone(), on, residual)
        };
        let mut stream = self.joined(spec, &mut left, &mut right)?;
        let both_shown = matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full);
        let columns = left_columns + if both_shown { right.stream.schema.columns.len() } else { 0 };
        if columns != left_width + if both_shown { right_width } else { 0 } {
            let names = join.schema.fields().iter().enumerate();
            stream.project(names.map(|(i, field)| (field.name().clone(), Expr::Column(shown(i)))).collect())?;
        }
        Ok(stream)
    }

    /// The join's operator, and what is known of the rows that leave it.
    fn joined(&mut self, spec: JoinSpec, left: &mut Side, right: &mut Side) -> Result<Stream> {
        let edges = vec![
            self.builder.edge(&mut left.stream, Some(&left.keys))?,
            self.builder.edge(&mut right.stream, Some(&right.keys))?,
        ];
        let inputs_append_only = left.stream.append_only && right.stream.append_only;
        let left_columns = left.stream.schema.columns.len();
        let (kind, on) = (spec.kind, spec.on.clone());
        let append_only = inputs_append_only && matches!(kind, JoinKind::Inner | JoinKind::Semi);
        let mut stream = self.builder.operator(OperatorSpec::Join(spec), edges, append_only, inputs_append_only)?;
        stream.closes = left.stream.closes.and(right.stream.closes);
        stream.placed_by = match kind {
            JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti => Some(left.keys.clone()),
            JoinKind::Right => Some(right.keys.iter().map(|key| left_columns + key).collect()),
            // A row without a match has no key on one of the sides.
            JoinKind::Full => None,
        };
        if matches!(kind, JoinKind::Semi | JoinKind::Anti) {
            stream.unique = left.stream.unique.clone();
        }
        let both = left.stream.watermark != WatermarkExpr::None && right.stream.watermark != WatermarkExpr::None;
        if both {
            stream.watermark = WatermarkExpr::Min(vec![left.stream.watermark.clone(), right.stream.watermark.clone()]);
        }
        // Windows joined with the same windows: when both sides are done with one, so is the join.
        if both && left.stream.sealed && right.stream.sealed {
            for (l, r) in on {
                let (Some(&ours), Some(&theirs)) = (left.stream.windows.get(&l), right.stream.windows.get(&r)) else {
                    continue;
                };
                if ours == theirs {
                    stream.windows.insert(l, ours);
                    if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
                        stream.windows.insert(left_columns + r, ours);
                    }
                    stream.sealed = true;
                }
            }
        }
        Ok(stream)
    }

    /// Lowers one input; key expressions that are no columns become columns at its end.
    fn side<'a>(&mut self, input: &LogicalPlan, on: impl Iterator<Item = &'a LogicalExpr>) -> Result<Side> {
        let mut stream = self.lower(input)?;
        stream.drop_hidden()?;
        let width = stream.width();
        let mut columns: Vec<(String, Expr)> = stream
            .schema
            .columns
            .iter()
            .enumerate()
            .map(|(i, column)| (column.name.clone(), Expr::Column(i)))
            .collect();
        let mut keys = Vec::new();
        for expr in on {
            match from_datafusion(expr, input.schema())? {
                Expr::Column(i) => keys.push(i),
                computed => {
                    keys.push(columns.len());
                    columns.push((format!("__key_{}", columns.len()), computed));
                }
            }
        }
        if columns.len() > width {
            stream.project(columns)?;
        }
        Ok(Side { stream, width, keys })
    }
}
