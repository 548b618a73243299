//! Sub-queries in expressions, made of parts that join rules understand; before any other rule, for reads and stored
//! queries alike, since DataFusion's own rules forget SQL's third truth value.
//!
//! ```text
//! x NOT IN (S)          NOT EXISTS (S WHERE y = x) AND NOT ((x IS NULL AND any(S)) OR any(S WHERE y IS NULL))
//! ... x IN (S) ...      CASE WHEN any(S WHERE y = x) THEN true
//!                            WHEN (x IS NULL AND any(S)) OR any(S WHERE y IS NULL) THEN NULL ELSE false END
//! ... EXISTS (S) ...    any(S)
//! any(S)                (SELECT count(*) > 0 FROM S)
//! ```
//!
//! IN, EXISTS and NOT EXISTS that are whole conditions of a WHERE stay: they become semi and anti joins.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as PlanResult, ScalarValue, plan_datafusion_err};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::Operator;
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, FetchType, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, SkipType, Subquery, lit, when,
};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimizer::OptimizerContext;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;

use super::arrays::aggregate_arrays;
use super::decorrelate::decorrelate;
use super::single::SingleRow;
use crate::functions::outward::subquery_in;
use crate::functions::plain;

/// `plan` with its sub-queries made ready for join rules, and those about the row around them as joins. `strict`: what
/// cannot be a join is an error; else it stays.
pub fn join_subqueries(plan: LogicalPlan, strict: bool) -> PlanResult<LogicalPlan> {
    if !has_subquery(&plan)? {
        return Ok(plan);
    }
    let plan = aggregate_arrays(plan)?;
    let plan = plan.transform_up_with_subqueries(memberships)?.data;
    let plan = RewriteSetComparison::new().rewrite(plan, &OptimizerContext::new())?.data;
    decorrelate(plan.transform_up_with_subqueries(predicates)?.data, strict)
}

/// `plan` with every uncorrelated scalar sub-query as a join with its one row.
pub(super) fn join_single_rows(plan: LogicalPlan) -> PlanResult<LogicalPlan> {
    if !has_subquery(&plan)? {
        return Ok(plan);
    }
    let mut singles = Singles { count: 0 };
    Ok(plan.transform_up_with_subqueries(|plan| singles.node(plan))?.data)
}

fn has_subquery(plan: &LogicalPlan) -> PlanResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        found |= matches!(plan, LogicalPlan::Subquery(_));
        plan.apply_expressions(|expr| {
            found |= expr.exists(|expr| Ok(is_subquery(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn is_subquery(expr: &Expr) -> bool {
    subquery_in(expr).is_some()
}

/// `= ANY` is IN, `<> ALL` is NOT IN.
fn memberships(plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
    plan.map_expressions(|expr| {
        expr.transform_up(|expr| {
            let Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) = expr else {
                return Ok(Transformed::no(expr));
            };
            Ok(match (op, quantifier) {
                (Operator::Eq, SetQuantifier::Any) => {
                    Transformed::yes(Expr::InSubquery(InSubquery::new(expr, subquery, false)))
                }
                (Operator::NotEq, SetQuantifier::All) => {
                    Transformed::yes(Expr::InSubquery(InSubquery::new(expr, subquery, true)))
                }
                (op, quantifier) => {
                    Transformed::no(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }))
                }
            })
        })
    })
}

fn predicates(plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
    let outer = merge_schema(&plan.inputs());
    let LogicalPlan::Filter(filter) = plan else {
        let names = NamePreserver::new(&plan);
        let rewritten = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = embedded(expr, &outer, false)?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        if !rewritten.transformed {
            return Ok(rewritten);
        }
        return Ok(Transformed::yes(rewritten.data.recompute_schema()?));
    };
    let mut changed = false;
    let mut conditions = Vec::new();
    for condition in split_conjunction_owned(filter.predicate) {
        let whole = whole(condition, &outer)?;
        changed |= whole.transformed;
        conditions.extend(whole.data);
    }
    let predicate = conjunction(conditions).unwrap_or_else(|| lit(true));
    Ok(Transformed::new_transformed(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?), changed))
}

/// A condition of WHERE, as the conditions that take its place.
fn whole(condition: Expr, outer: &DFSchema) -> PlanResult<Transformed<Vec<Expr>>> {
    let (inner, negated) = match condition {
        Expr::Not(inner) => (*inner, true),
        other => (other, false),
    };
    match inner {
        Expr::Exists(exists) if always_a_row(&exists.subquery.subquery) => {
            Ok(Transformed::yes(vec![lit(exists.negated == negated)]))
        }
        Expr::Exists(Exists { subquery, negated: already }) => {
            Ok(Transformed::no(vec![Expr::Exists(Exists { subquery, negated: already != negated })]))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated: already }) => {
            if already == negated {
                return Ok(Transformed::no(vec![Expr::InSubquery(InSubquery::new(expr, subquery, false))]));
            }
            let found = Expr::Exists(Exists { subquery: equal_rows(&subquery, &expr, outer)?, negated: true });
            let open = undecided(&expr, &subquery, outer)?;
            Ok(Transformed::yes([Some(found), open.map(|open| !open)].into_iter().flatten().collect()))
        }
        other => {
            let other = if negated { Expr::Not(Box::new(other)) } else { other };
            Ok(embedded(other, outer, true)?.update_data(|expr| vec![expr]))
        }
    }
}

/// An expression with what it holds of IN and EXISTS as values. In a `filter`, a correlated EXISTS may stay.
fn embedded(expr: Expr, outer: &DFSchema, filter: bool) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::Exists(exists)
            if filter
                && !exists.subquery.outer_ref_columns.is_empty()
                && !always_a_row(&exists.subquery.subquery)
                && plain::exists(&exists.subquery.subquery) =>
        {
            Ok(Transformed::no(Expr::Exists(exists)))
        }
        Expr::Exists(Exists { subquery, negated }) => {
            let found = if always_a_row(&subquery.subquery) { lit(true) } else { any(subquery.subquery)? };
            Ok(Transformed::yes(if negated { !found } else { found }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let found = any(equal_rows(&subquery, &expr, outer)?.subquery)?;
            let value = match undecided(&expr, &subquery, outer)? {
                None => found,
                Some(open) => {
                    when(found, lit(true)).when(open, lit(ScalarValue::Boolean(None))).otherwise(lit(false))?
                }
            };
            Ok(Transformed::yes(if negated { !value } else { value }))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// When `expr IN (subquery)` is NULL although nothing is equal; `None`: never.
fn undecided(expr: &Expr, subquery: &Subquery, outer: &DFSchema) -> PlanResult<Option<Expr>> {
    use datafusion::logical_expr::ExprSchemable;
    let mut cases = Vec::new();
    if expr.nullable(outer).unwrap_or(true) {
        cases.push(expr.clone().is_null().and(any(Arc::clone(&subquery.subquery))?));
    }
    if subquery.subquery.schema().field(0).is_nullable() {
        let nulls =
            LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(value_of(subquery).is_null())?;
        cases.push(any(Arc::new(nulls.build()?))?);
    }
    Ok(cases.into_iter().reduce(Expr::or))
}

/// Whether a query has rows, as a scalar sub-query.
fn any(plan: Arc<LogicalPlan>) -> PlanResult<Expr> {
    let count =
        Expr::AggregateFunction(AggregateFunction::new_udf(count_udaf(), vec![lit(1i64)], false, None, vec![], None));
    let counted = LogicalPlanBuilder::from(without_limit(plan).as_ref().clone())
        .aggregate(Vec::<Expr>::new(), vec![count.alias("__count")])?
        .project(vec![Expr::Column(Column::from_name("__count")).gt(lit(0i64)).alias("__any")])?
        .build()?;
    Ok(Expr::ScalarSubquery(subquery_of(counted)))
}

/// Whether a query has a row whatever it reads: an aggregate without GROUP BY.
pub fn always_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => always_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => always_a_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        _ => false,
    }
}

/// A LIMIT above 0 does not change whether there are rows.
fn without_limit(plan: Arc<LogicalPlan>) -> Arc<LogicalPlan> {
    match plan.as_ref() {
        LogicalPlan::Limit(limit) => {
            let some = matches!(limit.get_fetch_type(), Ok(FetchType::Literal(fetch)) if fetch != Some(0));
            let all = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)));
            if some && all { without_limit(Arc::clone(&limit.input)) } else { plan }
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => without_limit(Arc::clone(&sort.input)),
        _ => plan,
    }
}

fn subquery_of(plan: LogicalPlan) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Default::default() }
}

/// The value that a sub-query gives per row.
fn value_of(subquery: &Subquery) -> Expr {
    Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)))
}

/// The rows of a sub-query that are equal to `expr` of the query around it.
fn equal_rows(subquery: &Subquery, expr: &Expr, outer: &DFSchema) -> PlanResult<Subquery> {
    let outside = expr.clone().transform_up(|expr| match expr {
        Expr::Column(column) => {
            let (qualifier, field) = outer.qualified_field_from_column(&column)?;
            let named = Column::new(qualifier.cloned(), column.name);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), named)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let equal = value_of(subquery).eq(outside.data);
    Ok(subquery_of(LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(equal)?.build()?))
}

/// `plan` over another input, with the columns of `schema`.
pub(super) fn over_input(plan: LogicalPlan, input: LogicalPlan, schema: &DFSchema) -> PlanResult<LogicalPlan> {
    let plan = plan.with_new_exprs(plan.expressions(), vec![input])?;
    if plan.schema().logically_equivalent_names_and_types(schema) {
        return Ok(plan);
    }
    let columns = plan.schema().columns().into_iter().zip(schema.iter());
    let named = columns
        .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()));
    let named: Vec<Expr> = named.collect();
    LogicalPlanBuilder::from(plan).project(named)?.build()
}

/// Joins rows with the one row of each scalar sub-query that their expressions name.
struct Singles {
    count: usize,
}

impl Singles {
    fn node(&mut self, plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                self.above_one_input(plan)
            }
            LogicalPlan::Join(join) => self.condition(join),
            other => Ok(Transformed::no(other)),
        }
    }

    /// A join under a condition by scalars: those stand beside the rows of its left side.
    fn condition(&mut self, mut join: Join) -> PlanResult<Transformed<LogicalPlan>> {
        let mut rows = None;
        let condition = join.filter.take().map(|condition| self.replace(condition, &mut rows)).transpose()?;
        join.filter = condition.map(|condition| condition.data);
        let Some(rows) = rows else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        let columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
        let left = LogicalPlanBuilder::from(join.left.as_ref().clone()).cross_join(rows)?.build()?;
        let joined = LogicalPlan::Join(Join { left: Arc::new(left), ..join }).recompute_schema()?;
        Ok(Transformed::yes(LogicalPlanBuilder::from(joined).project(columns)?.build()?))
    }

    /// A filter by scalars is a semi join: what changes of the scalars changes only the rows that pass.
    fn filter(&mut self, filter: Filter) -> PlanResult<Transformed<LogicalPlan>> {
        let (mut below, mut joined, mut above) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = None;
        for condition in split_conjunction_owned(filter.predicate) {
            let replaced = self.replace(condition, &mut rows)?;
            match (replaced.transformed, replaced.data.exists(|expr| Ok(is_subquery(expr)))?) {
                (false, false) => below.push(replaced.data),
                (true, false) => joined.push(replaced.data),
                (_, true) => above.push(replaced.data),
            }
        }
        let mut builder = LogicalPlanBuilder::from(filter.input.as_ref().clone());
        if let Some(below) = conjunction(below) {
            builder = builder.filter(below)?;
        }
        let Some(rows) = rows else {
            let Some(above) = conjunction(above) else { return Ok(Transformed::no(builder.build()?)) };
            return Ok(Transformed::no(builder.filter(above)?.build()?));
        };
        let plan = match conjunction(above) {
            None => builder.join_on(rows, JoinType::LeftSemi, joined)?.build()?,
            // A correlated sub-query beside it can only be taken out of a filter.
            Some(above) => {
                let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
                let condition = conjunction(joined.into_iter().chain([above])).unwrap_or_else(|| lit(true));
                builder.cross_join(rows)?.filter(condition)?.project(columns)?.build()?
            }
        };
        Ok(Transformed::yes(plan))
    }

    fn above_one_input(&mut self, plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
        let mut rows = None;
        let schema = Arc::clone(plan.schema());
        let names = NamePreserver::new(&plan);
        let replaced = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(self.replace(expr, &mut rows)?.update_data(|expr| name.restore(expr)))
        })?;
        let Some(rows) = rows else { return Ok(Transformed::no(replaced.data)) };
        let plan = replaced.data;
        let inputs = plan.inputs();
        let input = inputs.first().ok_or_else(|| plan_datafusion_err!("expressions over no input"))?;
        let input = LogicalPlanBuilder::from((*input).clone()).cross_join(rows)?.build()?;
        Ok(Transformed::yes(over_input(plan, input, &schema)?))
    }

    /// Replaces uncorrelated scalar sub-queries by columns, and gathers their rows as one.
    fn replace(&mut self, expr: Expr, rows: &mut Option<LogicalPlan>) -> PlanResult<Transformed<Expr>> {
        expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = expr else { return Ok(Transformed::no(expr)) };
            if !subquery.subquery.all_out_ref_exprs().is_empty() {
                return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
            }
            self.count += 1;
            let name = format!("__scalar_{}", self.count);
            let value = value_of(&subquery).alias("value");
            let single = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project(vec![value])?.build()?;
            let single = LogicalPlanBuilder::from(SingleRow::new(single)?.into_plan()).alias(name.clone())?.build()?;
            *rows = Some(match rows.take() {
                None => single,
                Some(others) => LogicalPlanBuilder::from(others).cross_join(single)?.build()?,
            });
            Ok(Transformed::yes(Expr::Column(Column::new(Some(name), "value"))))
        })
    }
}
