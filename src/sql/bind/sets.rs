//! INTERSECT and EXCEPT, with and without ALL, as SQL means them: how often a row is on either side is counted.
//!
//! ```text
//!  Projection ─ Filter or Repeat ─ Aggregate: all columns, count(left), count(right) ─ Union ALL ┬ left,  (1, NULL)
//!                                                                                                └ right, (NULL, 1)
//! ```
//!
//! DataFusion plans them as semi and anti joins, which are wrong for ALL (the weights of the right side are lost) and
//! give the types of the left side instead of the types that both sides have in common.

use std::collections::HashSet;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{JoinType, NullEquality, Result, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Distinct, Expr, Join, LogicalPlan, LogicalPlanBuilder, lit, when};

use crate::plan::Repeat;

/// `plan` with every INTERSECT and EXCEPT as counts of both sides.
pub(super) fn count_both_sides(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        if let LogicalPlan::Join(join) = &plan
            && let Some(operation) = Operation::of(join)
        {
            changed = true;
            return Ok(Transformed::yes(expand(join, operation)?));
        }
        if changed { Ok(Transformed::yes(plan.recompute_schema()?)) } else { Ok(Transformed::no(plan)) }
    })?;
    Ok(plan.data)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Intersect,
    Except,
}

/// A set operation. `(SELECT DISTINCT ..) INTERSECT ALL ..` counts as without ALL, which is the same.
#[derive(Clone, Copy)]
struct Operation {
    kind: Kind,
    all: bool,
}

impl Operation {
    /// The set operation that a join stands for: no SQL but these makes a semi or anti join on all columns in which
    /// NULL equals NULL.
    fn of(join: &Join) -> Option<Operation> {
        let kind = match join.join_type {
            JoinType::LeftSemi => Kind::Intersect,
            JoinType::LeftAnti => Kind::Except,
            _ => return None,
        };
        let whole = join.null_equality == NullEquality::NullEqualsNull
            && join.filter.is_none()
            && join.on.len() == join.left.schema().fields().len();
        whole.then_some(Operation { kind, all: !matches!(&*join.left, LogicalPlan::Distinct(Distinct::All(_))) })
    }
}

fn expand(join: &Join, operation: Operation) -> Result<LogicalPlan> {
    let left = match &*join.left {
        LogicalPlan::Distinct(Distinct::All(input)) => input,
        _ => &join.left,
    };
    let names = names(join);
    let side = |input: &LogicalPlan, left: bool| {
        let columns = input.schema().columns().into_iter().zip(&names);
        let mark = |there: bool| Expr::Literal(ScalarValue::Int64(there.then_some(1)), None);
        let marks = [mark(left).alias("__left"), mark(!left).alias("__right")];
        let columns = columns.map(|(column, name)| Expr::Column(column).alias(name)).chain(marks);
        LogicalPlanBuilder::from(input.clone()).project(columns.collect::<Vec<_>>())?.build()
    };
    let both = LogicalPlanBuilder::from(side(left, true)?).union(side(&join.right, false)?)?.build()?;
    let mut columns: Vec<Expr> = both.schema().columns().into_iter().map(Expr::Column).collect();
    let marks = columns.split_off(names.len());
    let counted = LogicalPlanBuilder::from(both).aggregate(columns, marks.into_iter().map(count))?.build()?;
    let columns: Vec<Expr> = counted.schema().columns().into_iter().map(Expr::Column).collect();
    let (columns, counts) = columns.split_at(names.len());
    let (left, right) = (counts[0].clone(), counts[1].clone());
    let kept = match (operation.kind, operation.all) {
        (Kind::Intersect, false) => {
            LogicalPlanBuilder::from(counted).filter(left.gt(lit(0i64)).and(right.gt(lit(0i64))))?.build()?
        }
        (Kind::Except, false) => {
            LogicalPlanBuilder::from(counted).filter(left.gt(lit(0i64)).and(right.eq(lit(0i64))))?.build()?
        }
        (Kind::Intersect, true) => {
            let times = when(left.clone().lt(right.clone()), left).otherwise(right)?;
            Repeat { input: counted, times }.into_plan()
        }
        (Kind::Except, true) => {
            let times = when(left.clone().gt(right.clone()), left - right).otherwise(lit(0i64))?;
            Repeat { input: counted, times }.into_plan()
        }
    };
    let named = columns.iter().zip(join.schema.iter());
    let named =
        named.map(|(column, (qualifier, field))| column.clone().alias_qualified(qualifier.cloned(), field.name()));
    LogicalPlanBuilder::from(kept).project(named.collect::<Vec<_>>())?.build()
}

/// Names for the columns while they are counted: their own where these differ.
fn names(join: &Join) -> Vec<String> {
    let mut seen = HashSet::new();
    let fields = join.left.schema().fields().iter().enumerate();
    fields
        .map(|(i, field)| {
            let name = field.name().clone();
            if seen.insert(name.clone()) { name } else { format!("{name}__{i}") }
        })
        .collect()
}
