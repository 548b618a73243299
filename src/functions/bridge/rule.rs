//! The analyzer rule `checked`: expressions that can fault are evaluated by us as a whole.
//!
//! DataFusion would evaluate `b <> 0 AND a / b > 1` or the branches of a CASE in an order that depends on the batch,
//! and its arithmetic wraps. So the largest expression that holds anything checked becomes one function over its
//! columns. Conditions are taken apart at AND first (`condition.rs`), so that equalities stay to be seen.

use std::cell::Cell;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::condition::condition;
use super::lower::{from_datafusion, is_checked, sql_schema};
use super::udf::{IrUdf, Template};
use crate::types::SqlType;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Checked;

impl AnalyzerRule for Checked {
    fn name(&self) -> &str {
        "checked"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        everywhere(plan, rewrite)
    }
}

/// Rewrites every node of `plan`, from the scans up; schemas follow.
fn everywhere(
    plan: LogicalPlan,
    rewrite: impl Fn(LogicalPlan) -> Result<Transformed<LogicalPlan>>,
) -> Result<LogicalPlan> {
    let changed = Cell::new(false);
    let plan = plan.transform_up_with_subqueries(|plan| {
        let rewritten = rewrite(plan)?;
        changed.set(changed.get() || rewritten.transformed);
        if !changed.get() {
            return Ok(rewritten);
        }
        Ok(Transformed::yes(rewritten.data.recompute_schema()?))
    })?;
    Ok(plan.data)
}

/// Hides from DataFusion's simplifier every cast of which Arrow's meaning is not ours: it would fold `2.5::int` to 2, and
/// refuse texts that PostgreSQL reads. Constants are given to it as one function of ours. For plans that are lowered to the IR afterwards, where the cast is seen again.
pub fn with_own_casts(plan: LogicalPlan) -> Result<LogicalPlan> {
    everywhere(plan, |plan| {
        let schema = match plan.inputs().is_empty() {
            true => DFSchema::clone(plan.schema()),
            false => merge_schema(&plan.inputs()),
        };
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| own_cast(expr, &schema))?;
            Ok(expr
                .transform_data(|expr| expr.transform_down(|expr| own_constant(expr, &schema)))?
                .update_data(|expr| name.restore(expr)))
        })
    })
}

/// A constant whose value DataFusion might see otherwise, as one function.
fn own_constant(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if matches!(expr, Expr::Literal(..)) || is_wrapped(&expr) {
        return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
    }
    if expr.any_column_refs() || !is_checked(&expr, schema) {
        return Ok(Transformed::no(expr));
    }
    match whole(&expr, schema)? {
        Some(whole) => Ok(Transformed::new(whole, true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(expr)),
    }
}

fn own_cast(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Cast(cast) = &expr else { return Ok(Transformed::no(expr)) };
    let to = SqlType::from_arrow(cast.field.data_type());
    let from = cast.expr.get_type(schema).ok().filter(|from| !from.is_null());
    let (Ok(to), Some(Ok(from))) = (to, from.map(|from| SqlType::from_arrow(&from))) else {
        return Ok(Transformed::no(expr));
    };
    let points = |ty: &SqlType| ty.is_timestamp() || *ty == SqlType::Date;
    let exact = crate::functions::cast::is_plain(&from, &to) || (points(&from) && points(&to));
    if exact || to.arrow() != *cast.field.data_type() || !crate::functions::cast::exists(&from, &to) {
        return Ok(Transformed::no(expr));
    }
    let template = Template::Whole(crate::functions::Expr::Column(0).cast(to));
    let hidden = IrUdf::new("ms_cast", template).into_udf().call(vec![(*cast.expr).clone()]);
    Ok(Transformed::yes(hidden))
}

fn rewrite(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = match plan.inputs().is_empty() {
        true => DFSchema::clone(plan.schema()),
        false => merge_schema(&plan.inputs()),
    };
    let folded = fold_constants(plan, &schema)?;
    let changed = folded.transformed;
    let wrapped = wrap_all(folded.data, &schema)?;
    Ok(Transformed::new_transformed(wrapped.data, changed || wrapped.transformed))
}

/// Constants that DataFusion would compute otherwise, or take for something that may fault, as what they are worth.
fn fold_constants(plan: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        if matches!(expr, Expr::GroupingSet(_)) {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        let folded = expr.transform_down(|expr| match constant(&expr, schema) {
            Some(value) => Ok(Transformed::new(Expr::Literal(value, None), true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(expr)),
        })?;
        Ok(folded.update_data(|expr| name.restore(expr)))
    })
}

/// The value of an expression without columns; `None` if it is not known beforehand, or faults.
fn constant(expr: &Expr, schema: &DFSchema) -> Option<ScalarValue> {
    if matches!(expr, Expr::Literal(..) | Expr::Alias(_)) || expr.any_column_refs() || !is_checked(expr, schema) {
        return None;
    }
    let wanted = expr.get_type(schema).ok()?;
    let ir = from_datafusion(expr, schema).ok()?;
    let to = SqlType::from_arrow(&wanted).ok().filter(|to| to.arrow() == wanted)?;
    if matches!(to, SqlType::Array(_) | SqlType::Row(_)) {
        return None;
    }
    super::udf::constant_value(&ir.cast(to)).ok()?
}

fn wrap_all(plan: LogicalPlan, schema: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    if let LogicalPlan::Join(mut join) = plan {
        let Some(filter) = join.filter.take() else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        let filter = condition(filter, schema)?;
        join.filter = Some(filter.data);
        return Ok(Transformed::new_transformed(LogicalPlan::Join(join), filter.transformed));
    }
    if let LogicalPlan::Filter(mut filter) = plan {
        let predicate = condition(filter.predicate, schema)?;
        filter.predicate = predicate.data;
        return Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), predicate.transformed));
    }
    let names = NamePreserver::new(&plan);
    let named = |expr: Expr| {
        let name = names.save(&expr);
        Ok(wrap(expr, schema)?.update_data(|expr| name.restore(expr)))
    };
    plan.map_expressions(|expr| match expr {
        // Grouping sets have no name; each of their columns has.
        Expr::GroupingSet(_) => expr.map_children(named),
        expr => named(expr),
    })
}

pub(super) fn wrap(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !is_checked(&expr, schema) || is_wrapped(&expr) {
        return Ok(Transformed::no(expr));
    }
    if let Some(whole) = whole(&expr, schema)? {
        return Ok(Transformed::yes(whole));
    }
    expr.map_children(|child| wrap(child, schema))
}

/// Whether it is one function of ours over columns and constants already.
fn is_wrapped(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_wrapped(&alias.expr),
        Expr::ScalarFunction(call) => {
            IrUdf::of(&call.func).is_some()
                && call.args.iter().all(|arg| matches!(arg, Expr::Column(_) | Expr::Literal(..)))
        }
        _ => false,
    }
}

/// The whole expression as one function; `None` when the IR has no word for a part of it.
fn whole(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    if matches!(expr, Expr::Alias(_)) {
        return Ok(None);
    }
    let Ok(mut ir) = from_datafusion(expr, schema) else { return Ok(None) };
    let wanted = expr.get_type(schema)?;
    let (Ok(found), Ok(to)) = (ir.ty(&sql_schema(schema)), SqlType::from_arrow(&wanted)) else { return Ok(None) };
    if to.arrow() != wanted {
        return Ok(None);
    }
    if found != to {
        ir = ir.cast(to);
    }
    let columns: Vec<usize> = ir.columns().into_iter().collect();
    ir.map_columns(&mut |column| columns.binary_search(&column).unwrap_or(column));
    let args = columns.iter().map(|&column| Expr::Column(Column::from(schema.qualified_field(column)))).collect();
    Ok(Some(IrUdf::new("ms_expr", Template::Whole(ir)).into_udf().call(args)))
}
