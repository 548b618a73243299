//! CAST among all SQL types, with PostgreSQL's rounding, spelling and faults.

mod nested;
pub(crate) mod number;
mod string;
mod time;

use super::kernels::Col;
use crate::base::{Error, Result, sqlstate};
use crate::types::SqlType;

/// Whether there is a cast between the types.
pub fn exists(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    if from == to || *from == Varchar || *to == Varchar || (from.is_numeric() && to.is_numeric()) {
        return true;
    }
    match (from, to) {
        (Jsonb, Boolean) => return true,
        (Jsonb, number) => return number.is_numeric(),
        (Array(from), Array(to)) => return exists(from, to),
        (Row(from), Row(to)) => {
            return from.len() == to.len() && from.iter().zip(to).all(|((_, from), (_, to))| exists(from, to));
        }
        _ => {}
    }
    matches!(
        (from, to),
        (Boolean, SmallInt | Int | BigInt)
            | (SmallInt | Int | BigInt, Boolean)
            | (Date | Timestamp | TimestampTz, Date | Timestamp | TimestampTz)
            | (Timestamp | TimestampTz, Time)
            | (Time, Interval)
            | (Interval, Time)
    )
}

/// Whether no value of `from` can fault when cast to `to`, and Arrow's cast means the same as PostgreSQL's.
pub(crate) fn is_plain(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    if from == to {
        return true;
    }
    match (from, to) {
        (SmallInt, Int | BigInt) | (Int, BigInt) => true,
        (SmallInt | Int | BigInt | Real, Double) | (SmallInt, Real) => true,
        (SmallInt | Int | BigInt, Decimal { precision, scale }) => super::typing::as_decimal(from)
            .is_some_and(|(digits, _)| i16::from(*precision) - i16::from(*scale) >= digits.into()),
        (Decimal { precision: p1, scale: s1 }, Decimal { precision: p2, scale: s2 }) => {
            s2 >= s1 && i16::from(*p2) - i16::from(*s2) >= i16::from(*p1) - i16::from(*s1)
        }
        _ => false,
    }
}

/// Casts a column. Fails when there is no such cast.
pub(crate) fn cast(column: Col, from: &SqlType, to: &SqlType) -> Result<Col> {
    use SqlType::*;
    if from == to {
        return Ok(column);
    }
    match (from, to) {
        (_, Varchar) => string::to_text(column),
        (Varchar, _) => string::from_text(column, to),
        (Jsonb, _) if exists(from, to) => nested::from_jsonb(column, to),
        (Array(from), Array(to)) => nested::array(column, from, to),
        (Row(from), Row(to)) if from.len() == to.len() => nested::row(column, from, to),
        (Boolean, _) => number::from_boolean(column, to),
        (SmallInt | Int | BigInt, _) => number::from_integer(column, from, to),
        (Real | Double, _) if to.is_numeric() => number::from_float(column, from, to),
        (Decimal { .. }, _) if to.is_numeric() => number::from_decimal(column, from, to),
        (Date | Time | Timestamp | TimestampTz | Interval, _) => time::cast(column, from, to),
        _ => Err(no_cast(from, to)),
    }
}

/// `cannot cast type ... to ...`.
pub(crate) fn no_cast(from: &SqlType, to: &SqlType) -> Error {
    Error::invalid(format!("cannot cast type {from} to {to}"))
        .with_code(sqlstate::DATATYPE_MISMATCH)
        .with_hint("Cast through character varying if its text is what you mean.")
}
