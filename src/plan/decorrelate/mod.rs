//! Sub-queries about the row around them, as joins, for reads and stored queries alike:
//!
//! ```text
//! SELECT (SELECT sum(b.v) FROM b WHERE b.k = a.k AND b.ts < a.ts) FROM a
//!
//! SELECT q.sum FROM a LEFT JOIN
//!     (SELECT d.k, d.ts, sum(b.v) FROM (SELECT DISTINCT k, ts FROM a) d JOIN b ON b.k = d.k AND b.ts < d.ts GROUP BY d.k, d.ts) q
//!     ON a.k IS NOT DISTINCT FROM q.k AND a.ts IS NOT DISTINCT FROM q.ts
//! ```
//!
//! Each set of values that a sub-query takes from outside is worked out once, whatever rows have it. LATERAL goes the same
//! way, and EXISTS and IN do as semi joins. The plainest ones ([`crate::functions::plain`]) are left to DataFusion, which does the same.
//!
//! A value of a sub-query that has several rows is a fault of the row around: it is looked for by `__single(array_agg(v))`.

mod around;
mod push;

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as PlanResult, internal_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, lit, when,
};

use self::around::{Around, is_refusal, join, matching};

use self::push::counted;
use super::subquery::over_input;
use crate::functions::outward::{holds_subquery, outward, outward_of};
use crate::functions::{aggregate_function, native_call, plain};

/// How deep sub-queries within sub-queries name rows further out than the next, at most.
const DEPTH: usize = 16;

/// `plan` with the sub-queries of the head of this file as joins. What cannot be one is refused if `strict`; else it stays.
pub(super) fn decorrelate(mut plan: LogicalPlan, strict: bool) -> PlanResult<LogicalPlan> {
    let pass = Pass { names: Cell::new(0) };
    for _ in 0..DEPTH {
        let passed = plan.transform_up_with_subqueries(|plan| {
            if strict {
                return pass.node(plan);
            }
            let passed = pass.node(plan.clone());
            passed.or_else(|error| if is_refusal(&error) { Ok(Transformed::no(plan)) } else { Err(error) })
        })?;
        plan = passed.data;
        // What named rows further out may name the next ones now.
        if !passed.transformed {
            break;
        }
    }
    Ok(plan)
}

struct Pass {
    names: Cell<usize>,
}

impl Pass {
    fn node(&self, plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                self.values(plan)
            }
            other => Ok(Transformed::no(other)),
        }
    }

    fn filter(&self, filter: Filter) -> PlanResult<Transformed<LogicalPlan>> {
        if !holds_subquery(&filter.predicate) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let mut input = filter.input.as_ref().clone();
        let mut changed = false;
        let mut rest = Vec::new();
        for condition in split_conjunction_owned(filter.predicate) {
            if let Some(joined) = self.semi(&condition, &input)? {
                input = joined;
                changed = true;
                continue;
            }
            let replaced = self.replace(condition, &mut input, false)?;
            changed |= replaced.transformed;
            rest.push(replaced.data);
        }
        let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
        let plan = LogicalPlanBuilder::from(input);
        let plan = if let Some(rest) = rest.into_iter().reduce(Expr::and) { plan.filter(rest)? } else { plan };
        let plan = if changed { plan.project(columns)? } else { plan };
        Ok(Transformed::new_transformed(plan.build()?, changed))
    }

    /// `input` where a condition that is [NOT] EXISTS or IN holds.
    fn semi(&self, condition: &Expr, input: &LogicalPlan) -> PlanResult<Option<LogicalPlan>> {
        let (subquery, value, negated) = match condition {
            Expr::Exists(exists) => (&exists.subquery, None, exists.negated),
            Expr::InSubquery(within) if !within.negated && !holds_subquery(&within.expr) => {
                (&within.subquery, Some(within.expr.as_ref()), false)
            }
            _ => return Ok(None),
        };
        if plain::exists(&subquery.subquery) {
            return Ok(None);
        }
        let Some(around) = Around::of(&subquery.subquery, input, &self.names) else { return Ok(None) };
        let pushed = around.push(&subquery.subquery)?;
        let mut on = matching(&around, &pushed);
        on.extend(
            value.zip(pushed.columns.first()).map(|(value, found)| value.clone().eq(Expr::Column(found.clone()))),
        );
        let ty = if negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        join(input.clone(), pushed.plan, ty, on).map(Some)
    }

    /// A node with columns in place of the sub-queries of its expressions, which its input has beside its own.
    fn values(&self, plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
        let Some(mut input) = plan.inputs().first().map(|input| (*input).clone()) else {
            return Ok(Transformed::no(plan));
        };
        // DataFusion takes them out of filters and projections alone.
        let all = !matches!(plan, LogicalPlan::Projection(_));
        let schema = Arc::clone(plan.schema());
        let names = NamePreserver::new(&plan);
        let replaced = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(self.replace(expr, &mut input, all)?.update_data(|expr| name.restore(expr)))
        })?;
        if !replaced.transformed {
            return Ok(replaced);
        }
        Ok(Transformed::yes(over_input(replaced.data, input, &schema)?))
    }

    /// Joins `input` with what the sub-queries in `expr` give, and puts columns into their places; `all`: even of plain ones.
    fn replace(&self, expr: Expr, input: &mut LogicalPlan, all: bool) -> PlanResult<Transformed<Expr>> {
        expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            if !all && plain::scalar(&subquery.subquery) {
                return Ok(Transformed::no(expr));
            }
            let plan = one_row(subquery)?;
            let rows = input.clone();
            let Some(around) = Around::of(&plan, &rows, &self.names) else { return Ok(Transformed::no(expr)) };
            let Some((joined, mut values)) = aggregated(&around, &plan)? else {
                return internal_err!("a sub-query that is a value is no aggregate");
            };
            *input = joined;
            Ok(Transformed::yes(values.swap_remove(0)))
        })
    }

    /// LATERAL, and sub-queries in ON.
    fn join(&self, node: Join) -> PlanResult<Transformed<LogicalPlan>> {
        if let Some(lateral) = lateral(&node, &self.names)? {
            return Ok(Transformed::yes(lateral));
        }
        let Some(condition) = node.filter.clone().filter(holds_subquery) else {
            return Ok(Transformed::no(LogicalPlan::Join(node)));
        };
        // What names rows of one side alone is there before the join.
        let (mut left, mut right) = (node.left.as_ref().clone(), node.right.as_ref().clone());
        let one = self.replace(condition, &mut left, true)?;
        let other = self.replace(one.data, &mut right, true)?;
        if !one.transformed && !other.transformed {
            return Ok(Transformed::no(LogicalPlan::Join(node)));
        }
        let columns: Vec<Expr> = node.schema.columns().into_iter().map(Expr::Column).collect();
        let joined = Join { left: Arc::new(left), right: Arc::new(right), filter: Some(other.data), ..node };
        let joined = LogicalPlan::Join(joined).recompute_schema()?;
        Ok(Transformed::yes(LogicalPlanBuilder::from(joined).project(columns)?.build()?))
    }
}

/// `FROM a, LATERAL (about a)` as a join; `None` if the right side names nothing of the left, or rows further out.
fn lateral(node: &Join, names: &Cell<usize>) -> PlanResult<Option<LogicalPlan>> {
    if !matches!(node.join_type, JoinType::Inner | JoinType::Left) || !node.on.is_empty() {
        return Ok(None);
    }
    let Some(around) = Around::of(&node.right, &node.left, names) else { return Ok(None) };
    let condition = node.filter.clone().filter(|condition| *condition != lit(true));
    let inner = node.join_type == JoinType::Inner;
    let both = node.left.schema().join(node.right.schema())?;
    let own: Vec<Expr> = node.left.schema().columns().into_iter().map(Expr::Column).collect();
    let over = |condition: &Expr, values: &[Expr]| around.beside(condition, &both, &[own.as_slice(), values].concat());
    let (plan, values) = if let Some((plan, values)) = aggregated(&around, &node.right)? {
        // There is a row for each row around: the condition says whether it counts.
        match condition.map(|condition| over(&condition, &values)).transpose()? {
            None => (plan, values),
            Some(condition) if inner => (LogicalPlanBuilder::from(plan).filter(condition)?.build()?, values),
            Some(condition) => {
                let padded = values.into_iter().map(|value| when(condition.clone(), value).end());
                (plan, padded.collect::<PlanResult<Vec<_>>>()?)
            }
        }
    } else {
        let (rows, mut on, values) = match filtered(&around, &node.right, inner)? {
            Some(filtered) => filtered,
            None => {
                let pushed = around.push(&node.right)?;
                let on = matching(&around, &pushed);
                (pushed.plan, on, pushed.columns.into_iter().map(Expr::Column).collect())
            }
        };
        on.extend(condition.map(|condition| over(&condition, &values)).transpose()?);
        (join(node.left.as_ref().clone(), rows, node.join_type, on)?, values)
    };
    let named = node.right.schema().iter().zip(values);
    let named = named.map(|((qualifier, field), value)| value.alias_qualified(qualifier.cloned(), field.name()));
    let shown: Vec<Expr> = own.into_iter().chain(named).collect();
    LogicalPlanBuilder::from(plan).project(shown)?.build().map(Some)
}

/// A sub-query of one value about the row around as an aggregate without GROUP BY, which has one row always.
fn one_row(subquery: &Subquery) -> PlanResult<LogicalPlan> {
    let plan = subquery.subquery.as_ref();
    if outward(plan).is_empty() || aggregate_of(plan).is_some() {
        return Ok(plan.clone());
    }
    let Some(column) = plan.schema().columns().into_iter().next() else {
        return internal_err!("a sub-query that is a value has no column");
    };
    let Some(gather) = aggregate_function("array_agg") else { return internal_err!("there is no array_agg()") };
    let (name, column) = (column.name.clone(), Expr::Column(column));
    let order = vec![column.clone().sort(true, false)];
    let all = AggregateFunction::new_udf(gather, vec![column], false, None, order, None);
    let single = |all: Expr| native_call("__single", vec![all]).alias(&name);
    LogicalPlanBuilder::from(plan.clone())
        .aggregate(Vec::<Expr>::new(), vec![Expr::AggregateFunction(all).alias("__all")])?
        .project(vec![single(datafusion::logical_expr::col("__all"))])?
        .build()
}

/// The aggregate without GROUP BY that a plan only shows columns of.
fn aggregate_of(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Projection(projection) => aggregate_of(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => aggregate_of(&alias.input),
        LogicalPlan::Subquery(subquery) => aggregate_of(&subquery.subquery),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => Some(aggregate),
        _ => None,
    }
}

/// The rows around with the one row beside each that `plan` is, which ends with an aggregate without GROUP BY; and its columns.
fn aggregated(around: &Around<'_>, plan: &LogicalPlan) -> PlanResult<Option<(LogicalPlan, Vec<Expr>)>> {
    let Some(aggregate) = aggregate_of(plan) else { return Ok(None) };
    let grouped = around.aggregate(aggregate)?;
    let on = matching(around, &grouped);
    let counted = counted(aggregate, &grouped.columns)?;
    let joined = join(around.rows.clone(), grouped.plan, JoinType::Left, on)?;
    let columns = above(around, plan, &counted, &|plan| matches!(plan, LogicalPlan::Aggregate(_)))?;
    Ok(Some((joined, columns)))
}

/// Rows, the conditions under which they stand beside a row around, and what is shown of them.
type Filtered = (LogicalPlan, Vec<Expr>, Vec<Expr>);

/// `plan` as [`Filtered`], if it only shows columns of rows under a condition about the row around.
/// Where a row may go missing (not `inner`), what it shows is NULL then.
fn filtered(around: &Around<'_>, plan: &LogicalPlan, inner: bool) -> PlanResult<Option<Filtered>> {
    let mut at = plan;
    let filter = loop {
        at = match at {
            LogicalPlan::Projection(projection)
                if inner || projection.expr.iter().all(|expr| matches!(expr.clone().unalias(), Expr::Column(_))) =>
            {
                &projection.input
            }
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Subquery(subquery) => &subquery.subquery,
            LogicalPlan::Filter(filter) => break filter,
            _ => return Ok(None),
        };
    };
    if holds_subquery(&filter.predicate) || !outward(&filter.input).is_empty() {
        return Ok(None);
    }
    // What is about the rows alone stays theirs: it may be about the clock.
    let scope = filter.input.schema();
    let parts = split_conjunction_owned(filter.predicate.clone());
    let (own, about): (Vec<Expr>, Vec<Expr>) = parts.into_iter().partition(|part| outward_of(part, scope).is_empty());
    let rows = LogicalPlanBuilder::from(filter.input.as_ref().clone());
    let rows = if let Some(own) = conjunction(own) { rows.filter(own)? } else { rows };
    let rows = around.fresh(&rows.build()?)?;
    let columns: Vec<Expr> = rows.columns.iter().cloned().map(Expr::Column).collect();
    let about = about.iter().map(|part| around.beside(part, scope, &columns)).collect::<PlanResult<Vec<_>>>()?;
    let values = above(around, plan, &columns, &|plan| matches!(plan, LogicalPlan::Filter(_)))?;
    Ok(Some((rows.plan, about, values)))
}

/// The columns of `plan` beside the rows around: what it shows of `columns`, those of the node that `is_base` says.
fn above(
    around: &Around<'_>,
    plan: &LogicalPlan,
    columns: &[Expr],
    is_base: &dyn Fn(&LogicalPlan) -> bool,
) -> PlanResult<Vec<Expr>> {
    match plan {
        base if is_base(base) => Ok(columns.to_vec()),
        LogicalPlan::SubqueryAlias(alias) => above(around, &alias.input, columns, is_base),
        LogicalPlan::Subquery(subquery) => above(around, &subquery.subquery, columns, is_base),
        LogicalPlan::Projection(projection) => {
            let beneath = above(around, &projection.input, columns, is_base)?;
            let scope = projection.input.schema();
            projection.expr.iter().map(|expr| around.beside(expr, scope, &beneath)).collect()
        }
        other => internal_err!("{} does not only show columns", other.display()),
    }
}
