//! Functions of several rows in expressions: `SELECT id, unnest(tags)` becomes a projection of an [`Unnest`].
//!
//! As in PostgreSQL they stand in the list of a SELECT, or in GROUP BY; several of one SELECT go side by side, the shorter ones
//! padded with NULL.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, internal_err, plan_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::errors::carry;
use crate::base::Error;
use crate::plan::{Unnest, apply_to_rows};

/// The function around an array whose elements are rows, until its plan is made.
pub(super) const ROWS: &str = "__rows";

/// The function of that name: it is gone before anything could call it.
pub(super) fn rows_udf() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Rows { signature: Signature::any(1, Volatility::Volatile) }))
    });
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rows {
    signature: Signature,
}

impl ScalarUDFImpl for Rows {
    fn name(&self) -> &str {
        ROWS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::List(element)] => Ok(element.data_type().clone()),
            _ => Err(carry(
                Error::invalid("unnest takes an array")
                    .with_code(crate::base::sqlstate::UNDEFINED_FUNCTION)
                    .with_hint("Cast the argument to an array, or use jsonb_array_elements for JSONB."),
            )),
        }
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("a function of several rows was not taken out")
    }
}

/// `plan` without `__rows`, and with every lateral function of several rows applied to the rows that it reads.
pub(super) fn spread(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut count = 0;
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let done = match plan {
            LogicalPlan::Projection(projection) if projection.expr.iter().any(has_rows) => {
                Transformed::yes(selected(projection, &mut count)?)
            }
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(has_rows) => {
                Transformed::yes(grouped(aggregate, &mut count)?)
            }
            other => Transformed::no(other),
        };
        if let Some(place) = forbidden(&done.data)? {
            return Err(carry(
                Error::unsupported(format!("functions of several rows are not allowed in {place}"))
                    .with_hint("Write the function in FROM: FROM t, unnest(t.items) AS u(item), and use its column."),
            ));
        }
        changed |= done.transformed;
        if changed { Ok(Transformed::yes(done.data.recompute_schema()?)) } else { Ok(done) }
    })?;
    apply_to_rows(plan.data)
}

fn has_rows(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(list_of(expr).is_some())).unwrap_or(false)
}

fn list_of(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == ROWS => call.args.first(),
        _ => None,
    }
}

/// Where a function of several rows still stands.
fn forbidden(plan: &LogicalPlan) -> Result<Option<&'static str>> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= has_rows(expr);
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(found.then_some(match plan {
        LogicalPlan::Filter(_) => "WHERE and HAVING",
        LogicalPlan::Join(_) => "the condition of a JOIN",
        LogicalPlan::Aggregate(_) => "the arguments of aggregates",
        LogicalPlan::Window(_) => "window functions",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::Sort(_) => "ORDER BY, unless the list of the SELECT has it too",
        _ => "this place",
    }))
}

/// Takes the functions out of `exprs`; gives their arrays, each with the column of its elements.
fn take_out(exprs: Vec<Expr>, lists: &mut Vec<(String, Expr)>, count: &mut usize) -> Result<Vec<Expr>> {
    let take = |expr: Expr, lists: &mut Vec<(String, Expr)>, count: &mut usize| {
        let name = NamePreserver::new_for_projection().save(&expr);
        let taken = expr.transform_up(|expr| {
            let Some(list) = list_of(&expr) else { return Ok(Transformed::no(expr)) };
            if list.exists(|expr| Ok(matches!(expr, Expr::Column(column) if column.name.starts_with(ELEMENT))))? {
                return plan_err!("functions of several rows inside one another: write the inner one in FROM");
            }
            let column = match lists.iter().find(|(_, known)| known == list) {
                Some((name, _)) => name.clone(),
                None => {
                    *count += 1;
                    let name = format!("{ELEMENT}{count}");
                    lists.push((name.clone(), list.clone()));
                    name
                }
            };
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column))))
        })?;
        Ok(name.restore(taken.data))
    };
    exprs.into_iter().map(|expr| take(expr, lists, count)).collect()
}

const ELEMENT: &str = "__element_";

fn selected(projection: Projection, count: &mut usize) -> Result<LogicalPlan> {
    let mut lists = Vec::new();
    let exprs = take_out(projection.expr, &mut lists, count)?;
    let unnest = Unnest::new(Arc::unwrap_or_clone(projection.input), lists)?.into_plan();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(unnest))?))
}

fn grouped(aggregate: Aggregate, count: &mut usize) -> Result<LogicalPlan> {
    let mut lists = Vec::new();
    let groups = take_out(aggregate.group_expr, &mut lists, count)?;
    let unnest = Unnest::new(Arc::unwrap_or_clone(aggregate.input), lists)?.into_plan();
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(unnest), groups, aggregate.aggr_expr)?))
}
