//! What a plan names of the rows around it, scope by scope: a sub-query within it may name its rows or those further out.

use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result as PlanResult};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

/// A column of a row around.
pub type Outer = (FieldRef, Column);

/// Gives what stands for a column of a row around; `None`: it stays.
pub type Replace<'a> = dyn FnMut(&FieldRef, &Column) -> Option<Expr> + 'a;

/// [`outward`], without what is known of the columns.
pub fn columns_around(plan: &LogicalPlan) -> Vec<Column> {
    outward(plan).into_iter().map(|(_, column)| column).collect()
}

/// The columns of the rows around that `plan` names, each once.
pub fn outward(plan: &LogicalPlan) -> Vec<Outer> {
    let mut found = Vec::new();
    for (i, child) in plan.inputs().into_iter().enumerate() {
        let beside = match plan {
            LogicalPlan::Join(join) if i == 1 => Some(join.left.schema()),
            _ => None,
        };
        let further = outward(child).into_iter();
        add(&mut found, further.filter(|(_, column)| beside.is_none_or(|left| !left.has_column(column))));
    }
    let scope = merge_schema(&plan.inputs());
    for expr in plan.expressions() {
        add(&mut found, outward_of(&expr, &scope).into_iter());
    }
    found
}

/// The same of an expression over rows of `scope`.
pub fn outward_of(expr: &Expr, scope: &DFSchema) -> Vec<Outer> {
    let mut found = Vec::new();
    let _ = expr.apply(|expr| {
        match expr {
            Expr::OuterReferenceColumn(field, column) => {
                add(&mut found, [(Arc::clone(field), column.clone())].into_iter());
            }
            other => {
                if let Some(subquery) = subquery_in(other) {
                    let further = outward(&subquery.subquery).into_iter();
                    add(&mut found, further.filter(|(_, column)| !scope.has_column(column)));
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn add(found: &mut Vec<Outer>, more: impl Iterator<Item = Outer>) {
    for outer in more {
        if !found.iter().any(|(_, column)| *column == outer.1) {
            found.push(outer);
        }
    }
}

/// The sub-query that an expression is, not one beneath it.
pub fn subquery_in(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(within) => Some(&within.subquery),
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        _ => None,
    }
}

/// Whether an expression holds a sub-query.
pub fn holds_subquery(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(subquery_in(expr).is_some())).unwrap_or(true)
}

/// `plan` with `replace` of the columns of the rows around that it names.
pub fn map_outward(plan: LogicalPlan, replace: &mut Replace<'_>) -> PlanResult<LogicalPlan> {
    let left = match &plan {
        LogicalPlan::Join(join) => Some(Arc::clone(join.left.schema())),
        _ => None,
    };
    let mut child = 0;
    let plan = plan.map_children(|input| {
        let beside = left.as_ref().filter(|_| child == 1);
        child += 1;
        let mapped = map_outward(input, &mut |field, column| match beside {
            Some(left) if left.has_column(column) => None,
            _ => replace(field, column),
        })?;
        Ok(Transformed::yes(mapped))
    })?;
    let scope = merge_schema(&plan.data.inputs());
    let names = NamePreserver::new(&plan.data);
    let mapped = plan.data.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(Transformed::yes(name.restore(map_outward_of(expr, &scope, replace)?)))
    })?;
    match mapped.data {
        LogicalPlan::Subquery(subquery) => Ok(LogicalPlan::Subquery(told(subquery.subquery, &subquery.spans))),
        other => other.recompute_schema(),
    }
}

/// The same of an expression over rows of `scope`.
pub fn map_outward_of(expr: Expr, scope: &DFSchema, replace: &mut Replace<'_>) -> PlanResult<Expr> {
    expr.transform_up(|expr| {
        let mut within = |subquery: Subquery| -> PlanResult<Subquery> {
            let plan = map_outward(Arc::unwrap_or_clone(subquery.subquery), &mut |field, column| {
                if scope.has_column(column) { None } else { replace(field, column) }
            })?;
            Ok(told(Arc::new(plan), &subquery.spans))
        };
        Ok(Transformed::yes(match expr {
            Expr::OuterReferenceColumn(field, column) => {
                replace(&field, &column).unwrap_or(Expr::OuterReferenceColumn(field, column))
            }
            Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(within(subquery)?),
            Expr::Exists(exists) => {
                Expr::Exists(Exists { subquery: within(exists.subquery)?, negated: exists.negated })
            }
            Expr::InSubquery(found) => {
                Expr::InSubquery(InSubquery::new(found.expr, within(found.subquery)?, found.negated))
            }
            Expr::SetComparison(compared) => {
                let SetComparison { expr, subquery, op, quantifier } = compared;
                Expr::SetComparison(SetComparison { expr, subquery: within(subquery)?, op, quantifier })
            }
            other => return Ok(Transformed::no(other)),
        }))
    })
    .data()
}

/// The columns that sub-queries of `expr` name of its rows, of `scope`, replaced.
pub fn map_inward_of(expr: Expr, scope: &DFSchema, replace: &mut Replace<'_>) -> PlanResult<Expr> {
    let nothing = DFSchema::empty();
    map_outward_of(expr, &nothing, &mut |field, column| {
        if scope.has_column(column) { replace(field, column) } else { None }
    })
}

fn told(plan: Arc<LogicalPlan>, spans: &datafusion::common::Spans) -> Subquery {
    Subquery { outer_ref_columns: plan.all_out_ref_exprs(), subquery: plan, spans: spans.clone() }
}
