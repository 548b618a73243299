//! What a read shows of numbers of objects: names for `regclass` and its kin, wherever in the query they were made, and to clients the
//! numbers of PostgreSQL's types.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as PlanResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator};

use super::names::REGS;
use crate::catalog::postgres::{as_type, type_told, types_told};
use crate::types::Told;

/// Functions whose arguments are text to PostgreSQL.
const OF_TEXT: [&str; 6] = ["ms_concat", "concat", "concat_ws", "format", "quote_ident", "__concat"];

/// `plan` with names in the place of `reg...` values where they become text: in its answer and in casts. Beside it, what clients are
/// told of its columns. `names`: whether it may hold such values at all.
pub(in crate::sql) fn tell(
    plan: LogicalPlan,
    names: bool,
    functions: &dyn ContextProvider,
) -> PlanResult<(LogicalPlan, Told)> {
    let plan = if names { shown(cast(plan, functions)?, functions)? } else { plan };
    let told = types_told(plan.schema().as_arrow());
    Ok((plan, told))
}

/// The `reg...` type of a field.
fn reg_of(field: &Field) -> Option<&'static str> {
    let told = type_told(field)?;
    REGS.iter().map(|(reg, _)| *reg).find(|reg| *reg == told)
}

fn name_of(reg: &str, value: Expr, functions: &dyn ContextProvider) -> PlanResult<Expr> {
    let name = format!("__{reg}_name");
    let function = functions.get_function_meta(&name);
    let function = function.ok_or_else(|| DataFusionError::Internal(format!("function {name} is not there")))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![value])))
}

/// Names in the columns of the answer.
fn shown(plan: LogicalPlan, functions: &dyn ContextProvider) -> PlanResult<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    if !schema.fields().iter().any(|field| reg_of(field).is_some()) {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().enumerate().map(|(place, column)| {
        let (qualifier, field) = schema.qualified_field(place);
        match reg_of(field) {
            None => Ok(Expr::Column(column)),
            Some(reg) => {
                Ok(name_of(reg, Expr::Column(column), functions)?.alias_qualified(qualifier.cloned(), field.name()))
            }
        }
    });
    let columns = columns.collect::<PlanResult<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// Names in casts to text and beside text.
fn cast(plan: LogicalPlan, functions: &dyn ContextProvider) -> PlanResult<LogicalPlan> {
    let cast = plan.transform_up_with_subqueries(|plan| {
        let schema = match plan.inputs().is_empty() {
            true => DFSchema::clone(plan.schema()),
            false => merge_schema(&plan.inputs()),
        };
        let names = NamePreserver::new(&plan);
        let cast = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let cast = expr.transform_up(|expr| as_text(expr, &schema, functions))?;
            Ok(cast.update_data(|expr| name.restore(expr)))
        })?;
        if cast.transformed { cast.map_data(LogicalPlan::recompute_schema) } else { Ok(cast) }
    });
    Ok(cast?.data)
}

fn as_text(mut expr: Expr, schema: &DFSchema, functions: &dyn ContextProvider) -> PlanResult<Transformed<Expr>> {
    let mut changed = false;
    let mut name = |value: &mut Expr| -> PlanResult<()> {
        let field = value.to_field(schema).ok();
        if let Some(reg) = field.and_then(|(_, field)| reg_of(&field)) {
            *value = name_of(reg, std::mem::take(value), functions)?;
            changed = true;
        }
        Ok(())
    };
    match &mut expr {
        Expr::Cast(to) if *to.field.data_type() == DataType::Utf8 => {
            name(&mut to.expr)?;
            // A cast would keep what its argument says of itself: a `name` cast to text is text.
            to.field = Arc::new(as_type(Field::new("", DataType::Utf8, true), "text"));
            changed = true;
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            name(left)?;
            name(right)?;
        }
        Expr::ScalarFunction(call) if OF_TEXT.contains(&call.func.name()) => {
            call.args.iter_mut().try_for_each(&mut name)?;
        }
        _ => {}
    }
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}
