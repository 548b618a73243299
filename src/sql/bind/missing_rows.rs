//! Scalar sub-queries are NULL where they have no row, whatever their column says.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::may_be_null;
use crate::plan::always_a_row;

/// `plan` with every scalar sub-query that may have no row told to be NULL at times.
pub(super) fn may_be_missing(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let marked = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(mark)?.update_data(|expr| name.restore(expr)))
        })?;
        changed |= marked.transformed;
        if changed { Ok(Transformed::yes(marked.data.recompute_schema()?)) } else { Ok(marked) }
    })?;
    Ok(plan.data)
}

fn mark(expr: Expr) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarSubquery(subquery)
            if subquery.subquery.schema().fields().first().is_some_and(|field| !field.is_nullable())
                && !always_a_row(&subquery.subquery) =>
        {
            Transformed::yes(may_be_null(Expr::ScalarSubquery(subquery)))
        }
        other => Transformed::no(other),
    })
}
