//! Computed PARTITION BY keys as columns below the window, for DataFusion's engine: where a query also selects one column
//! twice (`SELECT a AS k, a`), its planner loses the order of expressions over that column and refuses the window
//! ("Expects PARTITION BY expression to be ordered", DataFusion 55).

use std::sync::Arc;

use datafusion::common::Result as PlanResult;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Window};

/// `plan` with every window partitioned by columns alone. Its schema is the same.
pub(super) fn expand_partition_keys(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let expanded = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(window) if window.window_expr.iter().any(is_computed) => {
            Ok(Transformed::yes(over_columns(window)?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(expanded.data)
}

/// Whether a window function is partitioned by anything but columns.
fn is_computed(call: &Expr) -> bool {
    match call {
        Expr::Alias(alias) => is_computed(&alias.expr),
        Expr::WindowFunction(function) => {
            function.params.partition_by.iter().any(|key| !matches!(key, Expr::Column(_)))
        }
        _ => false,
    }
}

fn over_columns(window: Window) -> PlanResult<LogicalPlan> {
    let mut keys: Vec<Expr> = Vec::new();
    let count = window.window_expr.len();
    let calls: Vec<Expr> = window.window_expr.into_iter().map(|call| with_columns(call, &mut keys)).collect();
    let mut columns: Vec<Expr> = window.input.schema().columns().into_iter().map(Expr::Column).collect();
    let below = columns.iter().cloned().chain(keys.into_iter().enumerate().map(|(i, key)| key.alias(key_name(i))));
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(window.input)).project(below)?;
    let computed = input.window(calls)?;
    let results = computed.schema().columns().into_iter().rev().take(count).rev();
    let named: Vec<Expr> = window
        .schema
        .iter()
        .skip(columns.len())
        .zip(results)
        .map(|((relation, field), result)| {
            Expr::Alias(Alias::new(Expr::Column(result), relation.cloned(), field.name().clone()))
        })
        .collect();
    columns.extend(named);
    computed.project(columns)?.build()
}

/// `call` partitioned by columns; what they hold is added to `keys`.
fn with_columns(call: Expr, keys: &mut Vec<Expr>) -> Expr {
    match call {
        Expr::Alias(alias) => Expr::Alias(Alias { expr: Box::new(with_columns(*alias.expr, keys)), ..alias }),
        Expr::WindowFunction(mut function) => {
            for key in &mut function.params.partition_by {
                if matches!(key, Expr::Column(_)) {
                    continue;
                }
                let place = keys.iter().position(|known| known == key).unwrap_or_else(|| {
                    keys.push(key.clone());
                    keys.len() - 1
                });
                *key = datafusion::prelude::ident(key_name(place));
            }
            Expr::WindowFunction(function)
        }
        other => other,
    }
}

fn key_name(place: usize) -> String {
    format!("__partition_{place}")
}
