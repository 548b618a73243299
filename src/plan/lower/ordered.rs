//! What OVER and LIMIT have in common: keys computed as columns, the order of rows, windows that end.

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr as LogicalExpr, SortExpr};

use super::Lowering;
use super::aggregate::Prepared;
use crate::base::Result;
use crate::functions::{Expr, from_datafusion, row_order_args};
use crate::operators::{FreeOn, OrderKey, RowOrder};
use crate::plan::build::Stream;

/// Rows with all that orders them as columns, behind those of the logical node.
pub(super) struct Ordered {
    pub stream: Stream,
    /// How many columns the logical node has.
    pub width: usize,
    pub order: RowOrder,
}

impl Lowering {
    /// The rows of `stream`, whose logical schema is `schema`, by partition and in order.
    pub(super) fn ordered(
        &mut self,
        mut stream: Stream,
        schema: &DFSchema,
        partition: &[LogicalExpr],
        order: &[SortExpr],
    ) -> Result<Ordered> {
        let width = stream.width();
        let mut columns = Columns::new(&stream);
        let order = columns.order(schema, partition, order)?;
        columns.project(&mut stream)?;
        Ok(Ordered { stream, width, order })
    }

    /// Sees to it that the state of partitions can be freed when their window ends: says on what, and has told late rows
    /// apart if nobody has before.
    pub(super) fn free_partitions(&mut self, ordered: &mut Ordered) -> Result<Option<FreeOn>> {
        let stream = &ordered.stream;
        let windowed = |(place, column): (usize, &usize)| Some((place, *stream.windows.get(column)?));
        let Some((place, shift_us)) = ordered.order.partition.iter().enumerate().find_map(windowed) else {
            return Ok(None);
        };
        if !stream.sealed {
            let end = stream.windows.iter().find(|(_, shift)| **shift == 0).map(|(column, _)| *column);
            let (Some(end), true) = (end, stream.hidden) else { return Ok(None) };
            let prepared = Prepared { stream: stream.clone(), keys: 0, end: Some(end) };
            ordered.stream = self.gate(prepared)?.stream;
        }
        Ok(ordered.stream.sealed.then_some(FreeOn { place, shift_us }))
    }
}

/// Columns of a stream, and those that are computed behind them.
pub(super) struct Columns {
    columns: Vec<(String, Expr)>,
    width: usize,
}

impl Columns {
    pub fn new(stream: &Stream) -> Columns {
        let width = stream.width();
        let columns = stream.schema.columns.iter().take(width).enumerate();
        Columns { columns: columns.map(|(i, column)| (column.name.clone(), Expr::Column(i))).collect(), width }
    }

    /// The column that holds `expr`, computed if it must be; `None` for a constant, which orders nothing.
    pub fn place(&mut self, expr: &LogicalExpr, schema: &DFSchema) -> Result<Option<usize>> {
        Ok(match from_datafusion(expr, schema)? {
            Expr::Literal(_) => None,
            expr => Some(self.hold(expr)),
        })
    }

    /// The column that holds `expr`.
    pub fn hold(&mut self, expr: Expr) -> usize {
        match self.columns.iter().position(|(_, other)| *other == expr) {
            Some(place) => place,
            None => {
                self.columns.push((format!("__key_{}", self.columns.len()), expr));
                self.columns.len() - 1
            }
        }
    }

    /// Partitions and order, over these columns.
    pub fn order(&mut self, schema: &DFSchema, partition: &[LogicalExpr], order: &[SortExpr]) -> Result<RowOrder> {
        let mut found = RowOrder::default();
        for expr in partition {
            if let Some(column) = self.place(expr, schema)?
                && !found.partition.contains(&column)
            {
                found.partition.push(column);
            }
        }
        for key in order {
            if let Some(args) = row_order_args(&key.expr) {
                for arg in args {
                    found.tie.extend(self.place(arg, schema)?);
                }
                continue;
            }
            let Some(column) = self.place(&key.expr, schema)? else { continue };
            let is_new = found.order.iter().all(|other| other.column != column);
            if is_new && !found.partition.contains(&column) {
                found.order.push(OrderKey { column, descending: !key.asc, nulls_first: key.nulls_first });
            }
        }
        Ok(found)
    }

    /// Computes them.
    pub fn project(self, stream: &mut Stream) -> Result<()> {
        if self.columns.len() > self.width { stream.project(self.columns) } else { Ok(()) }
    }
}
