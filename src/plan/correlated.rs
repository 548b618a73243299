//! Scalar sub-queries that aggregate what is not merely equal to columns of the row around them, as joins:
//!
//! ```text
//! SELECT a.k, (SELECT count(*) FROM b WHERE b.ts < a.ts) FROM a
//!
//! SELECT a.k, CASE WHEN q.v IS NULL THEN 0 ELSE q.v END
//! FROM a LEFT JOIN (SELECT o.ts, count(*) AS v FROM (SELECT DISTINCT ts FROM a) AS o JOIN b ON b.ts < o.ts GROUP BY o.ts) AS q
//!     ON a.ts IS NOT DISTINCT FROM q.ts
//! ```
//!
//! The same in LATERAL.
//!
//! Each set of values that the sub-query takes from outside is worked out once, whatever rows have it. Sub-queries with
//! equalities alone are left to DataFusion, which groups by the column inside.
//!
//! Unnesting arbitrary queries, Neumann and Kemper, BTW 2015, for the one shape that needs it here.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result as PlanResult};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
    binary_expr, lit, when,
};

use super::lifted::Lifting;
use super::subquery::over_input;

/// Aggregates that are 0 over nothing; the others are NULL.
const COUNTS: [&str; 4] = ["count", "regr_count", "approx_distinct", "approx_count_distinct"];

/// `plan` with the sub-queries of the head of this file as joins.
pub(super) fn join_correlated(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let mut joining = Joining { count: 0 };
    Ok(plan.transform_up_with_subqueries(|plan| joining.node(plan))?.data)
}

struct Joining {
    count: usize,
}

impl Joining {
    fn node(&mut self, plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => {
                let mut input = filter.input.as_ref().clone();
                let predicate = self.replace(filter.predicate, &mut input)?;
                if !predicate.transformed {
                    return Ok(Transformed::no(LogicalPlan::Filter(Filter::try_new(predicate.data, filter.input)?)));
                }
                let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
                let plan = LogicalPlanBuilder::from(input).filter(predicate.data)?.project(columns)?.build()?;
                Ok(Transformed::yes(plan))
            }
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                let Some(mut input) = plan.inputs().first().map(|input| (*input).clone()) else {
                    return Ok(Transformed::no(plan));
                };
                let schema = Arc::clone(plan.schema());
                let names = NamePreserver::new(&plan);
                let replaced = plan.map_expressions(|expr| {
                    let name = names.save(&expr);
                    Ok(self.replace(expr, &mut input)?.update_data(|expr| name.restore(expr)))
                })?;
                if !replaced.transformed {
                    return Ok(replaced);
                }
                Ok(Transformed::yes(over_input(replaced.data, input, &schema)?))
            }
            LogicalPlan::Join(join) => match self.lateral(&join)? {
                Some(joined) => Ok(Transformed::yes(joined)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
            other => Ok(Transformed::no(other)),
        }
    }

    /// `FROM a, LATERAL (aggregate about a)`, which has one row for each of `a`.
    fn lateral(&mut self, join: &Join) -> PlanResult<Option<LogicalPlan>> {
        let right = match join.right.as_ref() {
            LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
            other => other,
        };
        let always = match (join.join_type, &join.filter) {
            (JoinType::Inner, _) | (JoinType::Left, None) => true,
            (JoinType::Left, Some(condition)) => *condition == lit(true),
            _ => false,
        };
        let LogicalPlan::Subquery(subquery) = right else { return Ok(None) };
        let Some(found) = Correlated::of(subquery, join.left.schema()).filter(|_| always && join.on.is_empty()) else {
            return Ok(None);
        };
        self.count += 1;
        let name = format!("__correlated_{}", self.count);
        let mut columns: Vec<Expr> = join.left.schema().columns().into_iter().map(Expr::Column).collect();
        for (at, (qualifier, field)) in join.right.schema().iter().enumerate() {
            let Some(value) = found.value(&subquery.subquery, at, &name) else { return Ok(None) };
            columns.push(value.alias_qualified(qualifier.cloned(), field.name()));
        }
        let joined = LogicalPlanBuilder::from(found.joined(&join.left, &name)?).project(columns)?;
        let condition = join.filter.clone().filter(|condition| *condition != lit(true));
        let joined = if let Some(condition) = condition { joined.filter(condition)? } else { joined };
        joined.build().map(Some)
    }

    /// Joins `input` with what the sub-queries in `expr` give, and puts columns into their places.
    fn replace(&mut self, expr: Expr, input: &mut LogicalPlan) -> PlanResult<Transformed<Expr>> {
        expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            let Some(found) = Correlated::of(subquery, input.schema()) else { return Ok(Transformed::no(expr)) };
            self.count += 1;
            let name = format!("__correlated_{}", self.count);
            let value = found.value(&subquery.subquery, 0, &name);
            let Some(value) = value else { return Ok(Transformed::no(expr)) };
            *input = found.joined(input, &name)?;
            Ok(Transformed::yes(value))
        })
    }
}

/// A sub-query that is taken apart: an aggregate without GROUP BY over a condition that names columns around it.
struct Correlated {
    aggregate: Aggregate,
    condition: Expr,
    /// What the condition is about; it names nothing around it.
    rows: Arc<LogicalPlan>,
    /// The columns around it.
    outer: Vec<Column>,
}

impl Correlated {
    fn of(subquery: &Subquery, outer: &DFSchema) -> Option<Correlated> {
        let mut plan = subquery.subquery.as_ref();
        let mut inside = false;
        let aggregate = loop {
            match plan {
                LogicalPlan::Projection(projection) => {
                    inside |= projection.expr.iter().any(Expr::contains_outer);
                    plan = &projection.input;
                }
                LogicalPlan::SubqueryAlias(alias) => plan = &alias.input,
                LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => break aggregate.clone(),
                _ => return None,
            }
        };
        let (rows, conditions) = Lifting::new("__within").take(&aggregate.input).ok()?;
        let plain = conditions.iter().all(is_equality);
        let condition = conjunction(conditions)?;
        inside |= aggregate.aggr_expr.iter().any(Expr::contains_outer);
        if (plain && !inside) || rows.contains_outer_reference() || reaches_out(&rows) {
            return None;
        }
        let mut columns = Vec::new();
        for expr in subquery.subquery.all_out_ref_exprs() {
            let Expr::OuterReferenceColumn(_, column) = expr else { return None };
            outer.index_of_column(&column).ok()?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let rows = Arc::new(rows);
        (!columns.is_empty()).then_some(Correlated { aggregate, condition, rows, outer: columns })
    }

    /// `input` with a row of answers beside each of its rows.
    fn joined(&self, input: &LogicalPlan, name: &str) -> PlanResult<LogicalPlan> {
        let outside = format!("{name}_of");
        let taken = self.outer.iter().enumerate();
        let taken = taken.map(|(i, column)| Expr::Column(column.clone()).alias(format!("__c{i}")));
        let distinct =
            LogicalPlanBuilder::from(input.clone()).project(taken)?.distinct()?.alias(outside.clone())?.build()?;
        let keys: Vec<Expr> = (0..self.outer.len()).map(|i| column(&outside, &format!("__c{i}"))).collect();
        let condition = self.inside(&self.condition, &keys)?;
        let values = self.aggregate.aggr_expr.iter().enumerate();
        let values = values.map(|(i, expr)| Ok(self.inside(expr, &keys)?.unalias().alias(format!("__v{i}"))));
        let values: Vec<Expr> = values.collect::<PlanResult<_>>()?;
        let mut shown: Vec<Expr> = keys.clone();
        shown.extend((0..values.len()).map(|i| Expr::Column(Column::from_name(format!("__v{i}")))));
        let answers = LogicalPlanBuilder::from(distinct)
            .join_on(self.rows.as_ref().clone(), JoinType::Inner, [condition])?
            .aggregate(keys, values)?
            .project(shown)?
            .alias(name)?
            .build()?;
        let same = self.outer.iter().enumerate().map(|(i, outer)| {
            binary_expr(Expr::Column(outer.clone()), Operator::IsNotDistinctFrom, column(name, &format!("__c{i}")))
        });
        LogicalPlanBuilder::from(input.clone()).join_on(answers, JoinType::Left, same)?.build()
    }

    /// `expr` of the sub-query, over its rows joined with the values from outside.
    fn inside(&self, expr: &Expr, keys: &[Expr]) -> PlanResult<Expr> {
        let replaced = expr.clone().transform_up(|expr| match &expr {
            Expr::OuterReferenceColumn(_, column) => {
                let key = self.outer.iter().position(|outer| outer == column).and_then(|at| keys.get(at));
                Ok(key.map_or_else(|| Transformed::no(expr.clone()), |key| Transformed::yes(key.clone())))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        Ok(replaced.data)
    }

    /// Column `at` of `plan`, which lies between the sub-query's top and its aggregate, as what the join gives.
    fn value(&self, plan: &LogicalPlan, at: usize, name: &str) -> Option<Expr> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.value(&alias.input, at, name),
            LogicalPlan::Projection(projection) => {
                let expr = projection.expr.get(at)?.clone().unalias();
                let input = &projection.input;
                let mut known = true;
                let value = expr.transform_up(|expr| {
                    // What is around the sub-query is what its answer now stands beside.
                    if let Expr::OuterReferenceColumn(_, column) = expr {
                        return Ok(Transformed::yes(Expr::Column(column)));
                    }
                    let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
                    let below = input.schema().index_of_column(column).ok().and_then(|at| self.value(input, at, name));
                    known &= below.is_some();
                    Ok(below.map_or_else(|| Transformed::no(expr), Transformed::yes))
                });
                value.ok().filter(|_| known).map(|value| value.data)
            }
            _ => {
                let Expr::AggregateFunction(call) = self.aggregate.aggr_expr.get(at)?.clone().unalias() else {
                    return None;
                };
                let found = column(name, &format!("__v{at}"));
                if !COUNTS.contains(&call.func.name()) {
                    return Some(found);
                }
                when(found.clone().is_null(), lit(0i64)).otherwise(found).ok()
            }
        }
    }
}

fn column(relation: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(relation), name))
}

/// `outer column = something inside`: what DataFusion makes a join key of.
fn is_equality(part: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return false };
    let is_outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
    (is_outer(left) && !right.contains_outer()) || (is_outer(right) && !left.contains_outer())
}

/// Whether anything in `plan` names columns around it.
fn reaches_out(plan: &LogicalPlan) -> bool {
    !plan.all_out_ref_exprs().is_empty()
}
