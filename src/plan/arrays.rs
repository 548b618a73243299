//! `ARRAY(SELECT v ... ORDER BY k)` as `coalesce((SELECT array_agg(v ORDER BY k) ...), '{}')`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result as PlanResult, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, Sort as SortExpr};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when};

use crate::functions::{ARRAY_OF, aggregate_function};

/// Rewrites every such expression of `plan`.
pub(super) fn aggregate_arrays(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        let mapped = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| match &expr {
                Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == ARRAY_OF => {
                    match args.first().and_then(subquery_in) {
                        Some(subquery) => aggregated(subquery).map(Transformed::yes),
                        None => internal_err!("ARRAY of something that is no sub-query"),
                    }
                }
                _ => Ok(Transformed::no(expr)),
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        if mapped.transformed { mapped.map_data(LogicalPlan::recompute_schema) } else { Ok(mapped) }
    });
    rewritten.data()
}

/// The sub-query that an argument is, perhaps told to be NULL at times.
fn subquery_in(arg: &Expr) -> Option<&Subquery> {
    match arg {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::ScalarFunction(call) if call.args.len() == 1 => call.args.first().and_then(subquery_in),
        _ => None,
    }
}

fn aggregated(subquery: &Subquery) -> PlanResult<Expr> {
    let schema = subquery.subquery.schema();
    let element = schema.field(0).data_type().clone();
    let value = Expr::Column(Column::from(schema.qualified_field(0)));
    let (plan, value, order) = ordered(&subquery.subquery, value)?;
    let Some(gather) = aggregate_function("array_agg") else { return internal_err!("there is no array_agg()") };
    let all = AggregateFunction::new_udf(gather, vec![value], false, None, order, None);
    let plan = LogicalPlanBuilder::from(plan)
        .aggregate(Vec::<Expr>::new(), vec![Expr::AggregateFunction(all).alias("__array")])?
        .build()?;
    let outer_ref_columns = plan.all_out_ref_exprs();
    let all =
        Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans.clone() });
    let nothing = ScalarValue::List(ScalarValue::new_list(&[], &element, true));
    when(all.clone().is_null(), lit(nothing)).otherwise(all)
}

/// What `plan` reads, its column over that, and the order it puts it in.
fn ordered(plan: &LogicalPlan, value: Expr) -> PlanResult<(LogicalPlan, Expr, Vec<SortExpr>)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let shown = value.transform_up(|expr| {
                let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
                let at = projection.schema.index_of_column(column)?;
                Ok(Transformed::yes(projection.expr[at].clone().unalias()))
            });
            let (beneath, shown, order) = ordered(&projection.input, shown.data()?)?;
            // Without an order there is nothing to reach beneath for.
            if order.is_empty() { whole(plan) } else { Ok((beneath, shown, order)) }
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Ok((sort.input.as_ref().clone(), value, sort.expr.clone())),
        LogicalPlan::Limit(limit) => match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => Ok((plan.clone(), value, sort.expr.clone())),
            _ => whole(plan),
        },
        _ => whole(plan),
    }
}

fn whole(plan: &LogicalPlan) -> PlanResult<(LogicalPlan, Expr, Vec<SortExpr>)> {
    Ok((plan.clone(), Expr::Column(Column::from(plan.schema().qualified_field(0))), Vec::new()))
}
