//! OVER in sub-queries about columns of the row around them: computed once for all rows around, so partitioned by what is
//! set equal to them:
//!
//! ```text
//! FROM a, LATERAL (SELECT b.v, row_number() OVER (ORDER BY b.t) AS n FROM b WHERE b.k = a.k) q
//!
//! ... row_number() OVER (PARTITION BY b.k ORDER BY b.t) ...
//! ```
//!
//! DataFusion makes a join of the sub-query, and takes the condition out from beneath OVER for it.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Window};

use super::limited::inner_side;
use crate::base::Error;

/// Rewrites every such OVER in `plan`; refuses those that are about more than equalities.
pub fn partition_windows(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Window(window) if is_about(&window.input) => Ok(Transformed::yes(partitioned(window)?)),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(rewritten.data)
}

/// Whether `plan` names columns of the row around it; what lies in sub-queries of its own does not count.
pub(super) fn is_about(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Subquery(_) = plan {
        return false;
    }
    plan.expressions().iter().any(Expr::contains_outer) || plan.inputs().into_iter().any(is_about)
}

fn partitioned(window: Window) -> PlanResult<LogicalPlan> {
    let keys = condition_of(&window.input).and_then(|filter| {
        let about = split_conjunction(&filter.predicate).into_iter().filter(|part| part.contains_outer());
        about.map(inner_side).collect::<Option<Vec<Expr>>>().filter(|_| !is_about(&filter.input))
    });
    let shown = |key: &Expr| key.column_refs().into_iter().all(|column| window.input.schema().has_column(column));
    let Some(keys) = keys.filter(|keys| keys.iter().all(shown)) else {
        let error = Error::unsupported("OVER in a sub-query that names the row around it is not supported here")
            .with_detail("The sub-query must set columns of its own equal to those of the row around, in the WHERE beneath OVER.")
            .with_hint("Join the relations first, and compute OVER (PARTITION BY ...) of the joined rows.");
        return Err(DataFusionError::External(Box::new(error)));
    };
    let functions = window.window_expr.into_iter().map(|expr| {
        let name = expr.schema_name().to_string();
        match expr.unalias() {
            Expr::WindowFunction(mut function) => {
                function.params.partition_by.extend(keys.iter().cloned());
                Expr::WindowFunction(function).alias(name)
            }
            other => other,
        }
    });
    Ok(LogicalPlan::Window(Window::try_new(functions.collect(), Arc::clone(&window.input))?))
}

/// The condition beneath OVER, beyond what only shows or orders rows.
fn condition_of(plan: &LogicalPlan) -> Option<&Filter> {
    match plan {
        LogicalPlan::Filter(filter) => Some(filter),
        LogicalPlan::Window(window) => condition_of(&window.input),
        LogicalPlan::Projection(projection) if !projection.expr.iter().any(Expr::contains_outer) => {
            condition_of(&projection.input)
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => condition_of(&sort.input),
        LogicalPlan::SubqueryAlias(alias) => condition_of(&alias.input),
        _ => None,
    }
}
