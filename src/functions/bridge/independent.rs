//! Sub-queries in FROM that no longer name anything around them are plain inputs.
//!
//! `LATERAL (SELECT count(*) FROM r WHERE r.k = l.k AND r.v IS NULL)` names a row of `l` until its condition is found to be
//! false for every row (`v` is NOT NULL). Then DataFusion has no name left to make a join condition of, leaves the
//! sub-query where it stands, and cannot plan it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The rule; it comes behind those that make joins of sub-queries.
#[derive(Debug, Default)]
pub struct IndependentSubqueries;

impl OptimizerRule for IndependentSubqueries {
    fn name(&self) -> &str {
        "independent_subqueries"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // Inputs alone: sub-queries in expressions stay what they are.
        plan.map_children(|input| match input {
            LogicalPlan::Subquery(subquery) if !names_others(&subquery.subquery)? => {
                Ok(Transformed::yes(Arc::unwrap_or_clone(subquery.subquery)))
            }
            input => Ok(Transformed::no(input)),
        })
    }
}

/// Whether any expression in `plan`, or in sub-queries of its expressions, is a column of rows around it.
fn names_others(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= node.expressions().iter().any(Expr::contains_outer);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}
