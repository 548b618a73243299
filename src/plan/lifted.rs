//! Conditions about the row around, taken out of the sub-queries in FROM that they stand in:
//!
//! ```text
//! EXISTS (SELECT 1 FROM (SELECT b.k FROM b WHERE b.t > a.t) AS s WHERE s.k = a.k)
//!
//! EXISTS (SELECT 1 FROM (SELECT b.k, b.t AS __about_1 FROM b) AS s WHERE s.k = a.k AND s.__about_1 > a.t)
//! ```
//!
//! DataFusion takes conditions out of a sub-query without heed of the name that its FROM gives to what it reads.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as PlanResult};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SubqueryAlias};

use super::windows_about::is_about;

/// `plan` with such conditions outside.
pub fn lift_conditions(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let mut lifting = Lifting::new("__about");
    let lifted = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::SubqueryAlias(alias) if is_about(&alias.input) => {
            let (inner, conditions) = lifting.take(&LogicalPlan::SubqueryAlias(alias.clone()))?;
            let Some(condition) = conjunction(conditions) else {
                return Ok(Transformed::no(LogicalPlan::SubqueryAlias(alias)));
            };
            let columns: Vec<Expr> = alias.schema.columns().into_iter().map(Expr::Column).collect();
            Ok(Transformed::yes(LogicalPlanBuilder::from(inner).filter(condition)?.project(columns)?.build()?))
        }
        other => Ok(Transformed::no(other)),
    });
    lifted.data()
}

/// Takes conditions out.
pub(super) struct Lifting {
    /// How the columns begin that are shown for a condition's sake.
    prefix: &'static str,
    count: usize,
}

impl Lifting {
    pub fn new(prefix: &'static str) -> Lifting {
        Lifting { prefix, count: 0 }
    }

    /// `plan` without conditions about the row around, and those, over its columns: to the ones it had others may have come.
    pub fn take(&mut self, plan: &LogicalPlan) -> PlanResult<(LogicalPlan, Vec<Expr>)> {
        match plan {
            LogicalPlan::Filter(filter) => {
                let (about, own): (Vec<Expr>, Vec<Expr>) =
                    split_conjunction_owned(filter.predicate.clone()).into_iter().partition(Expr::contains_outer);
                if about.iter().any(holds_subquery) {
                    return Ok((plan.clone(), Vec::new()));
                }
                let (mut input, mut conditions) = self.take(&filter.input)?;
                if let Some(own) = conjunction(own) {
                    input = LogicalPlan::Filter(Filter::try_new(own, Arc::new(input))?);
                }
                conditions.extend(about);
                Ok((input, conditions))
            }
            LogicalPlan::Projection(projection) if !projection.expr.iter().any(Expr::contains_outer) => {
                let (input, conditions) = self.take(&projection.input)?;
                if conditions.is_empty() {
                    return Ok((plan.clone(), conditions));
                }
                let mut exprs = projection.expr.clone();
                let conditions = conditions.into_iter().map(|condition| {
                    let shown = |column: Column| {
                        let place = exprs.iter().position(|expr| *expr == Expr::Column(column.clone()));
                        Ok(Expr::Column(place.map_or_else(
                            || {
                                self.count += 1;
                                let name = format!("{}_{}", self.prefix, self.count);
                                exprs.push(Expr::Column(column.clone()).alias(&name));
                                Column::new_unqualified(name)
                            },
                            |_| column.clone(),
                        )))
                    };
                    with_columns(condition, shown)
                });
                let conditions = conditions.collect::<PlanResult<Vec<_>>>()?;
                Ok((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?), conditions))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, conditions) = self.take(&alias.input)?;
                if conditions.is_empty() {
                    return Ok((plan.clone(), conditions));
                }
                let columns = Arc::clone(input.schema());
                let named = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
                let outside = |column: Column| {
                    let place = columns.index_of_column(&column)?;
                    Ok(Expr::Column(Column::from(named.schema.qualified_field(place))))
                };
                let conditions = conditions.into_iter().map(|condition| with_columns(condition, outside));
                let conditions = conditions.collect::<PlanResult<Vec<_>>>()?;
                Ok((LogicalPlan::SubqueryAlias(named), conditions))
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                let (input, conditions) = self.take(&sort.input)?;
                let sorted = Sort { expr: sort.expr.clone(), input: Arc::new(input), fetch: None };
                Ok((LogicalPlan::Sort(sorted), conditions))
            }
            other => Ok((other.clone(), Vec::new())),
        }
    }
}

fn holds_subquery(condition: &Expr) -> bool {
    let mut found = false;
    let _ = condition.apply(|expr| {
        found |=
            matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// `condition` with `replace` of each of its columns.
fn with_columns(condition: Expr, mut replace: impl FnMut(Column) -> PlanResult<Expr>) -> PlanResult<Expr> {
    condition
        .transform_up(|expr| match expr {
            Expr::Column(column) => Ok(Transformed::yes(replace(column)?)),
            other => Ok(Transformed::no(other)),
        })
        .data()
}
