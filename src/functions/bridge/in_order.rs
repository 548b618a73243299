//! `string_agg` and `array_agg` OVER in reads: of the rows in the order of OVER, as the operators have it; without OVER their
//! rows are in the order of their values.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Accumulator, Expr, LogicalPlan, WindowFunctionDefinition};

use super::accumulate::Ready;
use super::accumulate::one_call::Call;
use super::aggregate::in_order_of_rows;
use super::udf::external;
use crate::types::RowCodec;

/// `plan`, to be read, with such calls told.
pub fn aggregate_in_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let told = plan.transform_up_with_subqueries(|plan| {
        if !matches!(plan, LogicalPlan::Window(_)) {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let told = expr.transform_up(|expr| {
                let Expr::WindowFunction(mut function) = expr else { return Ok(Transformed::no(expr)) };
                let told = match &function.fun {
                    WindowFunctionDefinition::AggregateUDF(udaf) => in_order_of_rows(udaf),
                    WindowFunctionDefinition::WindowUDF(_) => None,
                };
                let found = told.is_some();
                if let Some(told) = told {
                    function.fun = WindowFunctionDefinition::AggregateUDF(Arc::new(told));
                }
                Ok(Transformed::new_transformed(Expr::WindowFunction(function), found))
            })?;
            Ok(told.update_data(|expr| name.restore(expr)))
        })
    });
    told.data()
}

/// The accumulator of a frame: its rows as they came. They leave in the same order.
#[derive(Debug)]
pub(super) struct InOrder {
    ready: Ready,
    codec: RowCodec,
    rows: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl InOrder {
    pub fn new(call: &Call) -> crate::base::Result<InOrder> {
        let ready = Ready::new(call)?;
        let row = ready.aggregates.keeping().first().and_then(|keeping| keeping.row().map(<[_]>::to_vec));
        Ok(InOrder { ready, codec: RowCodec::new(row.unwrap_or_default()), rows: VecDeque::new(), bytes: 0 })
    }
}

impl Accumulator for InOrder {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let arguments = self.ready.arguments(values)?;
        let count = values.first().map_or(0, |column| column.len());
        let rows = self.codec.encode_rows(arguments.columns(0), count).map_err(external)?;
        for (_, row) in rows.iter().enumerate().filter(|(row, _)| arguments.counts(0, *row)) {
            self.bytes += row.len();
            self.rows.push_back(row.into());
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut folding = self.ready.aggregates.folding(0).map_err(external)?;
        folding.group(self.rows.iter().map(|row| (&**row, 1))).map_err(external)?;
        ScalarValue::try_from_array(&folding.finish().map_err(external)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes + self.rows.len() * 16
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("an aggregate over frames has no partial state")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("an aggregate over frames has no partial state")
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let arguments = self.ready.arguments(values)?;
        let count = values.first().map_or(0, |column| column.len());
        for _ in (0..count).filter(|row| arguments.counts(0, *row)) {
            self.bytes -= self.rows.pop_front().map_or(0, |row| row.len());
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
