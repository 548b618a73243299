//! `Join`: inner, on equalities, with a residual condition.

use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Expr as LogicalExpr, Join, LogicalPlan};

use super::{Lowering, refused};
use crate::base::Result;
use crate::dataflow::WatermarkExpr;
use crate::functions::{Expr, from_datafusion};
use crate::operators::{JoinSpec, OperatorSpec};
use crate::plan::build::Stream;

/// One input of a join: its stream, with key expressions added as columns.
struct Side {
    stream: Stream,
    /// The columns of the logical node.
    width: usize,
    keys: Vec<usize>,
}

impl Lowering {
    pub(super) fn join(&mut self, join: &Join) -> Result<Stream> {
        let what = match join.join_type {
            JoinType::Inner => None,
            JoinType::Left => Some("LEFT JOIN"),
            JoinType::Right => Some("RIGHT JOIN"),
            JoinType::Full => Some("FULL JOIN"),
            JoinType::LeftSemi | JoinType::RightSemi => Some("IN or EXISTS with a sub-query"),
            JoinType::LeftAnti | JoinType::RightAnti => Some("NOT IN or NOT EXISTS with a sub-query"),
            JoinType::LeftMark | JoinType::RightMark => Some("a sub-query in a condition"),
        };
        if let Some(what) = what {
            return Err(refused(what, "Write an inner JOIN here, and this one in the SELECT that reads the views."));
        }
        if join.null_equality == NullEquality::NullEqualsNull && !join.on.is_empty() {
            return Err(refused(
                "a join on IS NOT DISTINCT FROM",
                "Join on =, with coalesce() where NULLs should meet.",
            ));
        }
        let mut left = self.side(&join.left, join.on.iter().map(|(left, _)| left))?;
        let mut right = self.side(&join.right, join.on.iter().map(|(_, right)| right))?;
        let edges = vec![
            self.builder.edge(&mut left.stream, Some(&left.keys))?,
            self.builder.edge(&mut right.stream, Some(&right.keys))?,
        ];
        let (left_columns, right_columns) = (left.stream.schema.columns.len(), right.width);
        let shown = move |i: usize| if i < left.width { i } else { left_columns + i - left.width };
        let residual = match &join.filter {
            Some(filter) => {
                let mut residual = from_datafusion(filter, &join.schema)?;
                residual.map_columns(&mut |i| shown(i));
                Some(residual)
            }
            None => None,
        };
        let append_only = left.stream.append_only && right.stream.append_only;
        let on: Vec<(usize, usize)> = left.keys.iter().copied().zip(right.keys.iter().copied()).collect();
        let spec =
            JoinSpec { left: left.stream.schema.clone(), right: right.stream.schema.clone(), on: on.clone(), residual };
        let mut stream = self.builder.operator(OperatorSpec::Join(spec), edges, append_only, append_only)?;
        stream.closes = left.stream.closes.and(right.stream.closes);
        stream.placed_by = Some(left.keys.clone());
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
                    stream.windows.insert(left_columns + r, ours);
                    stream.sealed = true;
                }
            }
        }
        if left.stream.schema.columns.len() + right.stream.schema.columns.len() != left.width + right_columns {
            let names = join.schema.fields().iter().enumerate();
            stream.project(names.map(|(i, field)| (field.name().clone(), Expr::Column(shown(i)))).collect())?;
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
