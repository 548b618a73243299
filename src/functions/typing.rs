//! Which types operators take and give: PostgreSQL's rules, within numerics of 38 digits.
//!
//! | left, right | result |
//! |---|---|
//! | two integers | the wider one; `/` truncates |
//! | numeric(p1,s1) `+ -` numeric(p2,s2) | scale max(s1,s2), one digit more in front |
//! | numeric `*` numeric | scale s1+s2 |
//! | numeric `/` numeric | as many digits as `types/numeric.rs` says: 16 significant ones at least |
//! | numeric `%` numeric | scale max(s1,s2) |
//! | real with real | real; real or double with any other number: double |
//! | date - date, date ± integer | integer days, date |
//! | date or timestamp(tz) ± interval, differences of those | timestamp(tz), interval |
//! | interval `*` `/` number | interval |

use super::expr::{BinaryOp, Expr};
use crate::base::{Error, Result, sqlstate};
use crate::types::numeric::{self, Shows};
use crate::types::{Schema, SqlType};

/// The types that the operands of an arithmetic operator are cast to, and that of its result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arithmetic {
    pub left: SqlType,
    pub right: SqlType,
    pub result: SqlType,
}

const MAX_PRECISION: u8 = 38;

/// The numeric type that holds every value of a whole-number or numeric type.
pub(crate) fn as_decimal(ty: &SqlType) -> Option<(u8, i8)> {
    match ty {
        SqlType::SmallInt => Some((5, 0)),
        SqlType::Int => Some((10, 0)),
        SqlType::BigInt => Some((19, 0)),
        SqlType::Decimal { precision, scale } => Some((*precision, *scale)),
        _ => None,
    }
}

fn integer_rank(ty: &SqlType) -> Option<u8> {
    match ty {
        SqlType::SmallInt => Some(1),
        SqlType::Int => Some(2),
        SqlType::BigInt => Some(3),
        _ => None,
    }
}

fn is_float(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Real | SqlType::Double)
}

/// What decides how many digits a number of the type shows.
fn shows(ty: &SqlType) -> Shows {
    match ty {
        SqlType::Decimal { precision, scale } => Shows::of(*precision, *scale),
        _ => Shows::Scale,
    }
}

/// The type of sums of numerics of a type.
pub(crate) fn widest(precision: u8, scale: i8) -> SqlType {
    Shows::of(precision, scale).decimal(i16::from(MAX_PRECISION) - i16::from(scale), scale.into())
}

/// The type of averages of a type: integers and numerics; `doubled` for variances, which have twice the digits in front.
pub(crate) fn average(of: &SqlType, doubled: bool) -> SqlType {
    let (precision, scale) = as_decimal(of).unwrap_or((MAX_PRECISION, 0));
    let front = i16::from(precision) - i16::from(scale);
    numeric::quotient_type(if doubled { 2 * front } else { front }, scale.into())
}

/// The type of standard deviations of a type: integers and numerics.
pub(crate) fn deviation(of: &SqlType) -> SqlType {
    let (precision, scale) = as_decimal(of).unwrap_or((MAX_PRECISION, 0));
    numeric::deviation_type(i16::from(precision) - i16::from(scale))
}

/// The types of `left op right` for `+ - * / %`; `None` when there is no such operator.
pub(crate) fn arithmetic(op: BinaryOp, left: &SqlType, right: &SqlType) -> Option<Arithmetic> {
    if left.is_numeric() && right.is_numeric() {
        return Some(numbers(op, left, right));
    }
    let types =
        |left: &SqlType, right: SqlType, result: SqlType| Some(Arithmetic { left: left.clone(), right, result });
    use SqlType::*;
    match (op, left, right) {
        (BinaryOp::Add | BinaryOp::Subtract, Date, SmallInt | Int) => types(&Date, Int, Date),
        (BinaryOp::Add, SmallInt | Int, Date) => types(&Int, Date, Date),
        (BinaryOp::Subtract, Date, Date) => types(&Date, Date, Int),
        (BinaryOp::Add | BinaryOp::Subtract, Date, Interval) => types(&Timestamp, Interval, Timestamp),
        (BinaryOp::Add, Interval, Date) => types(&Interval, Timestamp, Timestamp),
        (BinaryOp::Add, Date, Time) => types(&Timestamp, Interval, Timestamp),
        (BinaryOp::Add, Time, Date) => types(&Interval, Timestamp, Timestamp),
        (BinaryOp::Add | BinaryOp::Subtract, Timestamp | TimestampTz | Time | Interval, Interval) => {
            types(left, Interval, left.clone())
        }
        (BinaryOp::Add, Interval, Timestamp | TimestampTz | Time) => types(&Interval, right.clone(), right.clone()),
        (BinaryOp::Add | BinaryOp::Subtract, Timestamp | TimestampTz, Time) => types(left, Interval, left.clone()),
        (BinaryOp::Subtract, Time, Time) => types(&Time, Time, Interval),
        (BinaryOp::Subtract, Timestamp | TimestampTz | Date, Timestamp | TimestampTz | Date) => {
            let common = if *left == TimestampTz || *right == TimestampTz { TimestampTz } else { Timestamp };
            types(&common, common.clone(), Interval)
        }
        (BinaryOp::Multiply | BinaryOp::Divide, Interval, number) if number.is_numeric() => {
            types(&Interval, Double, Interval)
        }
        (BinaryOp::Multiply, number, Interval) if number.is_numeric() => types(&Double, Interval, Interval),
        _ => None,
    }
}

fn numbers(op: BinaryOp, left: &SqlType, right: &SqlType) -> Arithmetic {
    let same = |ty: SqlType| Arithmetic { left: ty.clone(), right: ty.clone(), result: ty };
    if is_float(left) || is_float(right) {
        let both_real = *left == SqlType::Real && *right == SqlType::Real;
        return same(if both_real { SqlType::Real } else { SqlType::Double });
    }
    if let (Some(l), Some(r)) = (integer_rank(left), integer_rank(right)) {
        return same(if l >= r { left.clone() } else { right.clone() });
    }
    let (p1, s1) = as_decimal(left).unwrap_or((MAX_PRECISION, 0));
    let (p2, s2) = as_decimal(right).unwrap_or((MAX_PRECISION, 0));
    let (p1, s1, p2, s2) = (i16::from(p1), i16::from(s1), i16::from(p2), i16::from(s2));
    let scale = s1.max(s2);
    let front = (p1 - s1).max(p2 - s2);
    let shown = shows(left).with(shows(right));
    let result = match op {
        BinaryOp::Multiply => shown.decimal(p1 - s1 + p2 - s2, s1 + s2),
        BinaryOp::Divide => numeric::quotient_type(p1 - s1 + s2, scale),
        BinaryOp::Modulo => shown.decimal(front, scale),
        _ => shown.decimal(front + 1, scale),
    };
    let operand = |precision: i16, scale: i16| SqlType::Decimal { precision: precision as u8, scale: scale as i8 };
    Arithmetic { left: operand(p1, s1), right: operand(p2, s2), result }
}

/// The type to which values of both types are cast to be compared or to stand in one column; `None` when there is
/// none without an explicit cast.
pub(crate) fn common(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    use SqlType::*;
    if left == right {
        return Some(left.clone());
    }
    if left.is_numeric() && right.is_numeric() {
        if is_float(left) || is_float(right) {
            return Some(Double);
        }
        if let (Some(l), Some(r)) = (integer_rank(left), integer_rank(right)) {
            return Some(if l >= r { left.clone() } else { right.clone() });
        }
        let ((p1, s1), (p2, s2)) = (as_decimal(left)?, as_decimal(right)?);
        let front = (i16::from(p1) - i16::from(s1)).max(i16::from(p2) - i16::from(s2));
        return Some(shows(left).with(shows(right)).decimal(front, i16::from(s1.max(s2))));
    }
    match (left, right) {
        (Array(l), Array(r)) => Some(Array(Box::new(common(l, r)?))),
        (Row(l), Row(r)) if l.len() == r.len() => {
            let field =
                |((name, l), (_, r)): (&(String, SqlType), &(String, SqlType))| Some((name.clone(), common(l, r)?));
            Some(Row(l.iter().zip(r).map(field).collect::<Option<_>>()?))
        }
        (Date, Timestamp) | (Timestamp, Date) => Some(Timestamp),
        (Date | Timestamp, TimestampTz) | (TimestampTz, Date | Timestamp) => Some(TimestampTz),
        _ => None,
    }
}

/// The common type of all expressions; NULL literals take the type of the others.
pub(crate) fn common_of<'a>(exprs: impl Iterator<Item = &'a Expr>, input: &Schema, construct: &str) -> Result<SqlType> {
    let mut found: Option<SqlType> = None;
    let mut null: Option<SqlType> = None;
    for expr in exprs {
        let ty = expr.ty(input)?;
        if matches!(expr, Expr::Literal(literal) if literal.value == super::literal::Value::Null) {
            null = Some(ty);
            continue;
        }
        found = Some(match found {
            None => ty,
            Some(before) => common(&before, &ty).ok_or_else(|| {
                Error::invalid(format!("{construct} types {before} and {ty} cannot be matched"))
                    .with_code(sqlstate::DATATYPE_MISMATCH)
                    .with_hint("Cast all of them to one type.")
            })?,
        });
    }
    found.or(null).ok_or_else(|| Error::invalid(format!("{construct} needs at least one argument")))
}
