//! The expression planner: operators get PostgreSQL's types while SQL is planned.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::udf::{IrUdf, Template, external, operator};
use crate::functions::cast;
use crate::functions::expr::{BinaryOp, no_operator};
use crate::functions::kernels::Col;
use crate::functions::typing;
use crate::types::SqlType;

/// Plans operators as ours; see the room's head.
#[derive(Debug)]
pub(crate) struct PostgresOperators;

fn arithmetic(op: &BinaryOperator) -> Option<BinaryOp> {
    Some(match op {
        BinaryOperator::Plus => BinaryOp::Add,
        BinaryOperator::Minus => BinaryOp::Subtract,
        BinaryOperator::Multiply => BinaryOp::Multiply,
        BinaryOperator::Divide => BinaryOp::Divide,
        BinaryOperator::Modulo => BinaryOp::Modulo,
        _ => return None,
    })
}

fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// The function that `||` and `-` are for arrays and JSONB.
fn of_container(op: &BinaryOperator, left: &DataType, right: &DataType) -> Option<&'static str> {
    let holds = |ty: &DataType| matches!(ty, DataType::List(_) | DataType::LargeBinary);
    match op {
        BinaryOperator::StringConcat if holds(left) || holds(right) => Some("__concat"),
        BinaryOperator::Minus if *left == DataType::LargeBinary => Some("__minus"),
        _ => None,
    }
}

/// The type of an operand; `None` while it is not known (parameters).
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    if matches!(expr, Expr::Placeholder(_)) { None } else { expr.get_type(schema).ok() }
}

/// A string literal beside a value of another type is read as that type.
fn adopt(literal: Expr, other: &DataType) -> Result<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(_)), metadata) = &literal else { return Ok(literal) };
    let Ok(ty) = SqlType::from_arrow(other) else { return Ok(literal) };
    if ty == SqlType::Varchar || other.is_null() {
        return Ok(literal);
    }
    let Expr::Literal(text, _) = &literal else { return Ok(literal) };
    let read = cast::cast(Col::scalar(text.to_array()?), &SqlType::Varchar, &ty).map_err(external)?;
    match read.faults.first() {
        Some(fault) => Err(external(fault.reason.to_error())),
        None => Ok(Expr::Literal(ScalarValue::try_from_array(&read.values, 0)?, metadata.clone())),
    }
}

/// An integer literal that fits 32 bits is an `integer`, as in PostgreSQL.
fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
        },
        other => other,
    }
}

/// An exact number cast to NUMERIC without digits keeps those of its type as an operand: what is computed of it then has
/// the digits that PostgreSQL gives it.
fn with_own_digits(expr: Expr, schema: &DFSchema) -> Expr {
    let Expr::Cast(cast) = &expr else { return expr };
    if *cast.field.data_type() != SqlType::NUMERIC.arrow() {
        return expr;
    }
    let inner = narrow((*cast.expr).clone());
    let ty = inner.get_type(schema).ok().and_then(|ty| SqlType::from_arrow(&ty).ok());
    match ty.and_then(|ty| typing::as_decimal(&ty)) {
        Some((precision, scale)) => {
            let to = SqlType::Decimal { precision, scale }.arrow();
            Expr::Cast(Cast::new(Box::new(inner), to))
        }
        None => expr,
    }
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Some(left), Some(right)) = (type_of(&raw.left, schema), type_of(&raw.right, schema)) else {
            return Ok(PlannerResult::Original(raw));
        };
        if let Some(op) = comparison(&raw.op) {
            let is_text = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Utf8(Some(_)), _));
            if is_text(&raw.left) == is_text(&raw.right) {
                let whole = |ty: &DataType| matches!(ty, DataType::Int16 | DataType::Int32);
                if whole(&left) == whole(&right) {
                    return Ok(PlannerResult::Original(raw));
                }
                let binary = BinaryExpr::new(Box::new(narrow(raw.left)), op, Box::new(narrow(raw.right)));
                return Ok(PlannerResult::Planned(Expr::BinaryExpr(binary)));
            }
            let (left, right) = (adopt(raw.left, &right)?, adopt(raw.right, &left)?);
            let binary = BinaryExpr::new(Box::new(left), op, Box::new(right));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(binary)));
        }
        if let Some(name) = of_container(&raw.op, &left, &right) {
            let call: Arc<_> = IrUdf::new(name, Template::Native(name.to_owned())).into_udf();
            let documents = raw.op == BinaryOperator::StringConcat;
            let read = |operand, other: &DataType| match documents && *other == DataType::LargeBinary {
                true => adopt(operand, other),
                false => Ok(operand),
            };
            return Ok(PlannerResult::Planned(call.call(vec![read(raw.left, &right)?, read(raw.right, &left)?])));
        }
        let Some(op) = arithmetic(&raw.op) else { return Ok(PlannerResult::Original(raw)) };
        let number = |ty: &DataType| SqlType::from_arrow(ty).is_ok_and(|ty| ty.is_numeric());
        let operand = |expr| with_own_digits(narrow(expr), schema);
        let (mut l, mut r) = (operand(raw.left), operand(raw.right));
        if number(&right) {
            l = adopt(l, &right)?;
        }
        if number(&left) {
            r = adopt(r, &left)?;
        }
        let (Ok(left), Ok(right)) = (l.get_type(schema), r.get_type(schema)) else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left: l, right: r }));
        };
        let known = |ty: &DataType, other: &DataType| if ty.is_null() { other.clone() } else { ty.clone() };
        let (lt, rt) = (known(&left, &right), known(&right, &left));
        let (Ok(lt), Ok(rt)) = (SqlType::from_arrow(&lt), SqlType::from_arrow(&rt)) else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left: l, right: r }));
        };
        if lt == rt && left.is_null() && right.is_null() {
            return Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left: l, right: r }));
        }
        if typing::arithmetic(op, &lt, &rt).is_none() {
            return Err(external(no_operator(op.symbol(), &[&lt, &rt])));
        }
        Ok(PlannerResult::Planned(operator(op, l, r)))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let extract: Arc<_> = IrUdf::new("extract", Template::Native("extract".to_owned())).into_udf();
        Ok(PlannerResult::Planned(extract.call(args)))
    }
}
