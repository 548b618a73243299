//! Sub-queries about the row around them that DataFusion's rules make joins of as well.

use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator};

use super::outward::{holds_subquery, outward, outward_of};

/// Whether a sub-query about the row around it, as `expr` asks for it, is left to DataFusion.
pub fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarSubquery(subquery) => scalar(&subquery.subquery),
        Expr::Exists(found) => exists(&found.subquery.subquery),
        Expr::InSubquery(within) => exists(&within.subquery.subquery),
        _ => true,
    }
}

/// A value: an aggregate without GROUP BY of rows where columns are equal to the row around. What names nothing around it
/// is plain too.
pub fn scalar(plan: &LogicalPlan) -> bool {
    if outward(plan).is_empty() {
        return true;
    }
    let LogicalPlan::Aggregate(aggregate) = shown(plan) else { return false };
    let own = aggregate.aggr_expr.iter().all(|expr| outward_of(expr, aggregate.input.schema()).is_empty());
    let LogicalPlan::Filter(filter) = aggregate.input.as_ref() else { return false };
    aggregate.group_expr.is_empty() && own && about(filter, is_equality)
}

/// Rows: those of a relation under a condition about the row around. What names nothing around it is plain too.
pub fn exists(plan: &LogicalPlan) -> bool {
    if outward(plan).is_empty() {
        return true;
    }
    let LogicalPlan::Filter(filter) = shown(plan) else { return false };
    about(filter, |part| !holds_subquery(part))
}

/// What is beneath steps that only show columns of their own.
fn shown(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection)
            if projection.expr.iter().all(|expr| outward_of(expr, projection.input.schema()).is_empty()) =>
        {
            shown(&projection.input)
        }
        other => other,
    }
}

/// Whether only the filter names the row around, in parts that are all `known`.
fn about(filter: &Filter, known: impl Fn(&Expr) -> bool) -> bool {
    let names = |part: &&Expr| !outward_of(part, filter.input.schema()).is_empty();
    outward(&filter.input).is_empty() && split_conjunction(&filter.predicate).into_iter().filter(names).all(known)
}

/// `outer column = something inside`: what DataFusion makes a join key of.
fn is_equality(part: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return false };
    let is_outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
    (is_outer(left) && !right.contains_outer()) || (is_outer(right) && !left.contains_outer())
}
