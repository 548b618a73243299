//! `lag` and `lead` with IGNORE NULLS over more than one row, as the `nth_value` that they mean: DataFusion counts NULLs.
//!
//! ```text
//! lag(v, 2) IGNORE NULLS OVER (...)         nth_value(v, -2) IGNORE NULLS OVER (... ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
//! lead(v, 2, 0) IGNORE NULLS OVER (...)     coalesce(nth_value(v, 2) ... ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING, 0)
//! ```

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::nth_value::nth_value_udwf;
use datafusion::logical_expr::expr::{Alias, NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Projection, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, cast, lit,
};

/// `plan` without such functions.
pub(super) fn spell_shifts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|plan| {
        let done = match plan {
            LogicalPlan::Window(window) if window.window_expr.iter().any(|expr| distance(expr).is_some()) => {
                Transformed::yes(spelled(window)?)
            }
            other => Transformed::no(other),
        };
        changed |= done.transformed;
        if changed { Ok(Transformed::yes(done.data.recompute_schema()?)) } else { Ok(done) }
    })?;
    Ok(plan.data)
}

/// How many rows back such a function looks, the nearest being 1; below 0: ahead. `None`: it is none of these.
fn distance(expr: &Expr) -> Option<i64> {
    let function = match expr {
        Expr::Alias(alias) => return distance(&alias.expr),
        Expr::WindowFunction(function) => function,
        _ => return None,
    };
    let sign = match function.fun.name() {
        "lag" => 1,
        "lead" => -1,
        _ => return None,
    };
    if function.params.null_treatment != Some(NullTreatment::IgnoreNulls) {
        return None;
    }
    let by = whole(function.params.args.get(1)?)?.checked_mul(sign)?;
    (by.checked_abs()? > 1).then_some(by)
}

fn whole(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Negative(inner) => whole(inner)?.checked_neg(),
        Expr::Literal(ScalarValue::Int64(value), _) => *value,
        Expr::Literal(ScalarValue::Int32(value), _) => value.map(i64::from),
        Expr::Literal(ScalarValue::Int16(value), _) => value.map(i64::from),
        _ => None,
    }
}

fn spelled(window: Window) -> Result<LogicalPlan> {
    let schema = Arc::clone(window.input.schema());
    let mut shown: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    // Each by its own expression and the name of its column: DataFusion cannot plan one function twice in a node.
    let mut functions: Vec<(Expr, String)> = Vec::new();
    for expr in window.window_expr {
        let name = expr.schema_name().to_string();
        let (function, default) = match distance(&expr) {
            Some(by) => nth(expr, by),
            None => (expr.unalias(), None),
        };
        let ty = function.get_type(&schema)?;
        let column = match functions.iter().find(|(known, _)| *known == function) {
            Some((_, column)) => column.clone(),
            None => {
                functions.push((function, name.clone()));
                name.clone()
            }
        };
        let value = Expr::Column(Column::new_unqualified(column));
        shown.push(match default {
            Some(default) => coalesce(vec![value, cast(default, ty)]).alias(name),
            None => value.alias(name),
        });
    }
    let functions = functions.into_iter().map(|(function, name)| function.alias(name)).collect();
    let plan = LogicalPlan::Window(Window::try_new(functions, window.input)?);
    Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(plan))?))
}

/// The `nth_value` that looks `by` rows back, and what stands where there is no such row.
fn nth(expr: Expr, by: i64) -> (Expr, Option<Expr>) {
    match expr {
        Expr::Alias(Alias { expr, .. }) => nth(*expr, by),
        Expr::WindowFunction(function) => {
            let mut params = function.params;
            let default = (params.args.len() > 2).then(|| params.args.remove(2));
            params.args.truncate(1);
            params.args.push(lit(-by));
            let rows = ScalarValue::UInt64;
            let (start, end) = match by > 0 {
                true => (WindowFrameBound::Preceding(rows(None)), WindowFrameBound::Preceding(rows(Some(1)))),
                false => (WindowFrameBound::Following(rows(Some(1))), WindowFrameBound::Following(rows(None))),
            };
            params.window_frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, start, end);
            let fun = WindowFunctionDefinition::WindowUDF(nth_value_udwf());
            (Expr::WindowFunction(Box::new(WindowFunction { fun, params })), default)
        }
        other => (other, None),
    }
}
