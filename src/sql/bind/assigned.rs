//! Values as those of a column: of its type, and of its length.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast, lit};

use super::errors::planned;
use super::spellings::length_of;
use crate::base::{Error, Result, sqlstate};
use crate::functions::{can_cast, native_call};
use crate::sql::statement::ColumnDeclaration;
use crate::types::SqlType;

/// `value` as an assignment to the column `declared` of type `ty` makes it.
pub(super) fn assigned(value: Expr, input: &LogicalPlan, ty: &SqlType, declared: &ColumnDeclaration) -> Result<Expr> {
    let value = of_type(value, input, ty, declared)?;
    let length = declared.data_type.as_ref().and_then(length_of);
    Ok(match length {
        Some(length) => native_call("__varchar", vec![value, lit(length)]),
        None => value,
    })
}

fn of_type(value: Expr, input: &LogicalPlan, ty: &SqlType, declared: &ColumnDeclaration) -> Result<Expr> {
    let target = ty.arrow();
    let found = planned(value.get_type(input.schema()))?;
    if found == target {
        return Ok(value);
    }
    let castable = found.is_null() || SqlType::from_arrow(&found).is_ok_and(|from| can_cast(&from, ty));
    if !castable {
        let shown = SqlType::from_arrow(&found).map_or_else(|_| found.to_string(), |ty| ty.to_string());
        return Err(Error::invalid(format!(
            "column \"{}\" is of type {ty} but expression is of type {shown}",
            declared.name.name
        ))
        .with_code(sqlstate::DATATYPE_MISMATCH)
        .with_hint("Cast the expression."));
    }
    if let Expr::Literal(ScalarValue::Null, _) = value {
        return planned(ScalarValue::try_from(&target)).map(|null| Expr::Literal(null, None));
    }
    Ok(cast(value, target))
}
