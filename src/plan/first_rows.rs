//! DISTINCT ON as what it means: the row with row_number 1 in each partition; and `row_order` made ready for the
//! operators: kept whole, and part of ORDER BY where batch sorts beneath (the operators tell it from what makes peers).

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as PlanResult, internal_err};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, Window, WindowFrame, WindowFunctionDefinition, lit,
};

use crate::functions::{keep_row_order, row_order_args};

/// The column that numbers the rows of a DISTINCT ON.
const NUMBER: &str = "__number";

/// Rewrites `plan` before anything else does; see the head of this file.
pub(super) fn first_rows(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let plan = match plan {
            LogicalPlan::Distinct(Distinct::On(on)) => {
                changed = true;
                numbered(on)?
            }
            LogicalPlan::Window(window) => {
                let (window, moved) = with_order_beneath(window)?;
                changed |= moved;
                LogicalPlan::Window(window)
            }
            other => other,
        };
        let kept = plan.map_expressions(|expr| {
            expr.transform(|expr| Ok(keep_row_order(&expr).map_or(Transformed::no(expr), Transformed::yes)))
        })?;
        changed |= kept.transformed;
        if changed { Ok(Transformed::yes(kept.data.recompute_schema()?)) } else { Ok(kept) }
    })?;
    Ok(plan.data)
}

/// A window whose functions are ordered as the rows beneath are sorted; whether that was so.
fn with_order_beneath(window: Window) -> PlanResult<(Window, bool)> {
    let LogicalPlan::Sort(sort) = &*window.input else { return Ok((window, false)) };
    let tie = sort.expr.last().filter(|last| sort.fetch.is_none() && row_order_args(&last.expr).is_some());
    let Some(tie) = tie.cloned() else { return Ok((window, false)) };
    let ordered = |expr: &Expr| -> PlanResult<Expr> {
        let name = expr.schema_name().to_string();
        match expr.clone().unalias() {
            Expr::WindowFunction(mut function) => {
                function.params.order_by.push(tie.clone());
                Ok(Expr::WindowFunction(function).alias(name))
            }
            other => internal_err!("{other} is no window function"),
        }
    };
    let functions = window.window_expr.iter().map(ordered).collect::<PlanResult<Vec<_>>>()?;
    Ok((Window::try_new(functions, Arc::clone(&sort.input))?, true))
}

/// `DISTINCT ON (a) b ... ORDER BY a, c` as a projection of the rows with number 1 by (a), in order (a, c).
fn numbered(on: DistinctOn) -> PlanResult<LogicalPlan> {
    let function = Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by: on.on_expr,
            order_by: on.sort_expr.unwrap_or_default(),
            window_frame: WindowFrame::new(Some(true)),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }));
    let window = Window::try_new(vec![function.alias(NUMBER)], on.input)?;
    let number = Expr::Column(Column::new_unqualified(NUMBER));
    let names = on.schema.iter();
    let select = on.select_expr.into_iter().zip(names);
    let select =
        select.map(|(expr, (qualifier, field))| expr.unalias().alias_qualified(qualifier.cloned(), field.name()));
    LogicalPlanBuilder::from(LogicalPlan::Window(window))
        .filter(number.lt_eq(lit(1u64)))?
        .project(select.collect::<Vec<_>>())?
        .build()
}
