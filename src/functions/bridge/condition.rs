//! Conditions of WHERE and JOIN for the rule `checked`: what can fault is evaluated as a whole, what cannot stays to be seen.
//!
//! ```text
//! a.k = b.k AND a.x <> 0 AND 6 / a.x > b.y      a.k = b.k AND a.x <> 0 AND whole(a.k = b.k AND a.x <> 0 AND 6 / a.x > b.y)
//! ```
//!
//! The conjuncts that cannot fault are conditions of their own, so that DataFusion finds the keys of joins and filters each
//! relation before it joins it. They also stand in the function over those that can: it is false, not a fault, where one of
//! them is false, in whatever order DataFusion evaluates the two. A function holds the conjuncts over its own relations alone,
//! so that a condition over one side of a join can be evaluated before the join.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Operator};

use super::lower::is_checked;
use super::rule::wrap;

type Relations = BTreeSet<Option<TableReference>>;

fn relations(expr: &Expr) -> Relations {
    expr.column_refs().into_iter().map(|column| column.relation.clone()).collect()
}

/// An equality of something of one side with something of another: the key of a join.
fn is_key(expr: &Expr) -> bool {
    let Expr::BinaryExpr(binary) = expr else { return false };
    let (left, right) = (relations(&binary.left), relations(&binary.right));
    binary.op == Operator::Eq && !left.is_empty() && !right.is_empty() && left.is_disjoint(&right)
}

/// The condition, with what can fault as functions of ours.
pub(super) fn condition(condition: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !is_checked(&condition, schema) {
        return Ok(Transformed::no(condition));
    }
    let all = relations(&condition);
    let conjuncts = split_conjunction_owned(condition.clone());
    if all.len() < 2 || conjuncts.len() < 2 {
        return wrap(condition, schema);
    }
    let conjuncts: Vec<(Expr, Relations)> =
        conjuncts.into_iter().map(|expr| (expr.clone(), relations(&expr))).collect();
    let mut kept = Vec::new();
    let mut whole: Vec<Relations> = Vec::new();
    for (expr, own) in &conjuncts {
        if !is_checked(expr, schema) {
            kept.push(expr.clone());
        } else if is_key(expr) {
            let Expr::BinaryExpr(binary) = expr.clone() else { continue };
            kept.push(Expr::BinaryExpr(binary).map_children(|side| wrap(side, schema))?.data);
        } else if !whole.contains(own) {
            whole.push(own.clone());
        }
    }
    for relations in whole {
        let held = conjuncts.iter().filter(|(_, own)| own.is_subset(&relations)).map(|(expr, _)| expr.clone());
        if let Some(held) = conjunction(held) {
            kept.push(wrap(held, schema)?.data);
        }
    }
    Ok(conjunction(kept).map_or_else(|| Transformed::no(condition), Transformed::yes))
}
