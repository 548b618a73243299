//! The first rows for each row around: sub-queries with LIMIT about columns of the row around them, as numbered rows:
//!
//! ```text
//! FROM a, LATERAL (SELECT b.v FROM b WHERE b.k = a.k AND b.v > 0 ORDER BY b.t LIMIT 3) q
//!
//! FROM a, LATERAL (SELECT b.v FROM (SELECT *, row_number() OVER (PARTITION BY b.k ORDER BY b.t) AS n FROM b WHERE b.v > 0)
//!                  WHERE b.k = a.k AND n <= 3) q
//! ```
//!
//! DataFusion turns the latter into a join. In an expression, where LIMIT 1 is the one row, it is aggregated besides
//! (`first_value`), which is how DataFusion knows that there is one at most.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result as PlanResult, internal_err};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Operator, SkipType, Subquery, Window,
    WindowFrame, WindowFunctionDefinition, lit,
};

use crate::functions::aggregate_function;

/// The column that numbers the rows.
const NUMBER: &str = "__limited_number";

/// Rewrites `plan`; see the head of this file. From the top down: an expression is met before its sub-query.
pub fn number_limited(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let rewritten = plan.transform_down_with_subqueries(|plan| {
        let plan = plan.map_expressions(|expr| {
            expr.transform_up(|expr| match expr {
                Expr::ScalarSubquery(subquery) => scalar(subquery),
                other => Ok(Transformed::no(other)),
            })
        })?;
        plan.transform_data(|plan| match &plan {
            LogicalPlan::Subquery(subquery) => match numbered(&subquery.subquery)? {
                Some(inner) => Ok(Transformed::yes(LogicalPlan::Subquery(subquery.with_plan(Arc::new(inner))))),
                None => Ok(Transformed::no(plan)),
            },
            _ => Ok(Transformed::no(plan)),
        })
    });
    rewritten.data()
}

/// A sub-query of one value.
fn scalar(subquery: Subquery) -> PlanResult<Transformed<Expr>> {
    let one = limit_of(&subquery.subquery).is_some_and(|limit| bounds(limit).is_some_and(|(_, fetch)| fetch == 1));
    let Some(inner) = numbered(&subquery.subquery)?.filter(|_| one) else {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    };
    let Some(column) = inner.schema().columns().into_iter().next() else {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    };
    let (name, column) = (column.name.clone(), Expr::Column(column));
    // Of one row, so that any order will do.
    let order = vec![column.clone().sort(true, false)];
    let Some(first) = aggregate_function("first_value") else {
        return internal_err!("there is no first_value()");
    };
    let value = AggregateFunction::new_udf(first, vec![column], false, None, order, None);
    let plan = LogicalPlanBuilder::from(inner)
        .aggregate(Vec::<Expr>::new(), vec![Expr::AggregateFunction(value).alias(name)])?;
    Ok(Transformed::yes(Expr::ScalarSubquery(subquery.with_plan(Arc::new(plan.build()?)))))
}

/// The LIMIT that `plan` ends with.
fn limit_of(plan: &LogicalPlan) -> Option<&Limit> {
    match plan {
        LogicalPlan::Limit(limit) => Some(limit),
        LogicalPlan::SubqueryAlias(alias) => limit_of(&alias.input),
        LogicalPlan::Projection(projection) => limit_of(&projection.input),
        _ => None,
    }
}

/// How many rows a LIMIT passes over, and how many it lets through.
fn bounds(limit: &Limit) -> Option<(i64, i64)> {
    let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(Some(fetch)))) =
        (limit.get_skip_type(), limit.get_fetch_type())
    else {
        return None;
    };
    Some((i64::try_from(skip).ok()?, i64::try_from(fetch).ok()?))
}

/// `plan`, which may end with a LIMIT about the row around it, without that.
fn numbered(plan: &LogicalPlan) -> PlanResult<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Limit(limit) => unlimited(limit),
        LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) => {
            let Some(input) = plan.inputs().first().map(|input| numbered(input)).transpose()?.flatten() else {
                return Ok(None);
            };
            Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?))
        }
        _ => Ok(None),
    }
}

fn unlimited(limit: &Limit) -> PlanResult<Option<LogicalPlan>> {
    let Some((skip, fetch)) = bounds(limit) else { return Ok(None) };
    // What stands between LIMIT and the condition: what shows columns, and one sort.
    let (mut above, mut order) = (Vec::new(), Vec::<SortExpr>::new());
    let mut plan = limit.input.as_ref();
    let filter = loop {
        match plan {
            LogicalPlan::Filter(filter) if filter.predicate.contains_outer() => break filter,
            LogicalPlan::Projection(projection) if !projection.expr.iter().any(Expr::contains_outer) => {
                above.push(plan);
                order = beneath(order, plan)?;
                plan = &projection.input;
            }
            LogicalPlan::SubqueryAlias(alias) => {
                above.push(plan);
                order = beneath(order, plan)?;
                plan = &alias.input;
            }
            LogicalPlan::Sort(sort) if order.is_empty() && sort.fetch.is_none() => {
                order.clone_from(&sort.expr);
                plan = &sort.input;
            }
            _ => return Ok(None),
        }
    };
    let Some(numbered) = number(filter, order, skip, fetch)? else { return Ok(None) };
    let columns = filter.input.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let mut rewritten = LogicalPlanBuilder::from(numbered).project(columns)?.build()?;
    for node in above.into_iter().rev() {
        rewritten = node.with_new_exprs(node.expressions(), vec![rewritten])?;
    }
    Ok(Some(rewritten))
}

/// Sort expressions over the output of `node` as such over its input.
fn beneath(order: Vec<SortExpr>, node: &LogicalPlan) -> PlanResult<Vec<SortExpr>> {
    let replace = |expr: Expr| {
        expr.transform(|expr| {
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            let place = node.schema().index_of_column(column)?;
            Ok(Transformed::yes(match node {
                LogicalPlan::Projection(projection) => projection.expr[place].clone().unalias(),
                _ => Expr::Column(Column::from(node.inputs()[0].schema().qualified_field(place))),
            }))
        })
        .data()
    };
    order.into_iter().map(|sort| Ok(SortExpr { expr: replace(sort.expr)?, ..sort })).collect()
}

/// The rows of `filter` with a number within the bounds, numbered among those that equal the row around.
fn number(filter: &Filter, order: Vec<SortExpr>, skip: i64, fetch: i64) -> PlanResult<Option<LogicalPlan>> {
    let conditions = split_conjunction_owned(filter.predicate.clone());
    let (about, own): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(Expr::contains_outer);
    let Some(partition) = about.iter().map(inner_side).collect::<Option<Vec<Expr>>>() else { return Ok(None) };
    let rows = LogicalPlanBuilder::from(filter.input.as_ref().clone());
    let rows = match conjunction(own) {
        Some(own) => rows.filter(own)?.build()?,
        None => rows.build()?,
    };
    let function = Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by: partition,
            order_by: order,
            window_frame: WindowFrame::new(Some(true)),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }));
    let window = LogicalPlan::Window(Window::try_new(vec![function.alias(NUMBER)], Arc::new(rows))?);
    let number = Expr::Column(Column::new_unqualified(NUMBER));
    let mut wanted = about;
    wanted.push(number.clone().lt_eq(lit(skip.saturating_add(fetch))));
    if skip > 0 {
        wanted.push(number.gt(lit(skip)));
    }
    let wanted = conjunction(wanted).unwrap_or_else(|| lit(true));
    Ok(Some(LogicalPlanBuilder::from(window).filter(wanted)?.build()?))
}

/// What `condition` sets equal to something of the row around.
pub(super) fn inner_side(condition: &Expr) -> Option<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    match (left.contains_outer(), right.contains_outer()) {
        (true, false) if left.column_refs().is_empty() => Some(right.as_ref().clone()),
        (false, true) if right.column_refs().is_empty() => Some(left.as_ref().clone()),
        _ => None,
    }
}
