//! The analyzer rule `checked`: expressions that can fault are evaluated by us as a whole.
//!
//! DataFusion would evaluate `b <> 0 AND a / b > 1` or the branches of a CASE in an order that depends on the batch,
//! and its arithmetic wraps. So the largest expression that holds anything checked becomes one function over its
//! columns. Join conditions are taken apart at AND first, and at `=`, so that equalities stay to be seen.

use std::cell::Cell;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

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
    if let LogicalPlan::Join(mut join) = plan {
        let Some(filter) = join.filter.take() else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
        let filter = condition(filter, &schema)?;
        join.filter = Some(filter.data);
        return Ok(Transformed::new_transformed(LogicalPlan::Join(join), filter.transformed));
    }
    let names = NamePreserver::new(&plan);
    let named = |expr: Expr| {
        let name = names.save(&expr);
        Ok(wrap(expr, &schema)?.update_data(|expr| name.restore(expr)))
    };
    plan.map_expressions(|expr| match expr {
        // Grouping sets have no name; each of their columns has.
        Expr::GroupingSet(_) => expr.map_children(named),
        expr => named(expr),
    })
}

/// A join's condition: the conjuncts that cannot fault stay, the others are one.
fn condition(filter: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !is_checked(&filter, schema) {
        return Ok(Transformed::no(filter));
    }
    let (mut kept, mut checked) = (Vec::new(), Vec::new());
    let mut changed = false;
    for conjunct in split_conjunction_owned(filter) {
        match conjunct {
            Expr::BinaryExpr(binary) if binary.op == Operator::Eq => {
                let equal = Expr::BinaryExpr(binary).map_children(|side| wrap(side, schema))?;
                changed |= equal.transformed;
                kept.push(equal.data);
            }
            conjunct if is_checked(&conjunct, schema) => checked.push(conjunct),
            conjunct => kept.push(conjunct),
        }
    }
    if let Some(checked) = conjunction(checked) {
        let checked = wrap(checked, schema)?;
        changed |= checked.transformed;
        kept.push(checked.data);
    }
    match conjunction(kept) {
        Some(filter) => Ok(Transformed::new_transformed(filter, changed)),
        None => datafusion::common::internal_err!("a join condition lost its conjuncts"),
    }
}

fn wrap(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
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
