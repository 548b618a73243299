//! Scalar functions that are ours, because DataFusion's differ from PostgreSQL's or cannot fault per row.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;

use super::extract::{self, TimeField};
use super::fault::Reason;
use super::kernels::decimal::{bound, divide_rounded, power_of_ten};
use super::kernels::{Col, map};
use super::scalar::{self, Scalar};
use crate::base::{Error, Result, sqlstate};
use crate::types::SqlType;

/// Names of all native functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied().chain(scalar::names())
}

/// Whether the function `name` is native.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name) || scalar::exists(name)
}

/// Names of those whose result's type hangs on constants.
const NAMES: &[&str] =
    &["abs", "ceil", "ceiling", "floor", "round", "trunc", "sign", "extract", "date_part", "date_trunc"];

/// A native function resolved for its argument types.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    /// The types that the arguments are cast to.
    pub args: Vec<SqlType>,
    /// The type of the result.
    pub ty: SqlType,
    kernel: Kernel,
}

#[derive(Clone, Debug)]
enum Kernel {
    Scalar(Scalar),
    Abs,
    Sign,
    /// To `places` digits behind the point.
    Round(Rounding, i32),
    Extract(TimeField),
    DatePart(TimeField),
    DateTrunc(TimeField),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rounding {
    Nearest,
    Truncate,
    Up,
    Down,
}

impl Native {
    /// The native function `name` for arguments of these types; `constants` are the arguments known beforehand.
    /// `None` when the name is not native; an error when no native function takes these types.
    pub fn find(name: &str, types: &[SqlType], constants: &[Option<ArrayRef>]) -> Result<Option<Native>> {
        let narrowed = scalar::narrowed(name, types, constants);
        let types = &narrowed[..];
        let native = match (name, types) {
            ("abs", [ty]) if ty.is_numeric() => Native { args: vec![ty.clone()], ty: ty.clone(), kernel: Kernel::Abs },
            ("sign", [ty]) if ty.is_numeric() => {
                let (of, ty) = match ty {
                    SqlType::Decimal { .. } => (ty.clone(), SqlType::Decimal { precision: 1, scale: 0 }),
                    _ => (SqlType::Double, SqlType::Double),
                };
                Native { args: vec![of], ty, kernel: Kernel::Sign }
            }
            ("ceil" | "ceiling", [ty]) if ty.is_numeric() => rounding(Rounding::Up, ty, 0),
            ("floor", [ty]) if ty.is_numeric() => rounding(Rounding::Down, ty, 0),
            ("round", [ty]) if ty.is_numeric() => rounding(Rounding::Nearest, ty, 0),
            ("trunc", [ty]) if ty.is_numeric() => rounding(Rounding::Truncate, ty, 0),
            ("round" | "trunc", [ty, places]) if exact(ty) && exact(places) => {
                let kind = if name == "round" { Rounding::Nearest } else { Rounding::Truncate };
                let Some((precision, scale)) = super::typing::as_decimal(ty) else { return Err(missing(name, types)) };
                let decimal = SqlType::Decimal { precision, scale };
                let mut native = rounding(kind, &decimal, constant_places(name, constants.get(1))?);
                native.args.push(SqlType::Int);
                native
            }
            ("extract" | "date_part", [field, ty]) if *field == SqlType::Varchar => {
                let field = constant_field(constants.first(), ty)?;
                let (ty, kernel) = match name {
                    "extract" => (field.numeric_type(), Kernel::Extract(field)),
                    _ => (SqlType::Double, Kernel::DatePart(field)),
                };
                Native { args: vec![SqlType::Varchar, types[1].clone()], ty, kernel }
            }
            ("date_trunc", [field, ty]) if *field == SqlType::Varchar => {
                let ty = match ty {
                    SqlType::Date => SqlType::TimestampTz,
                    SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => ty.clone(),
                    _ => return Err(missing(name, types)),
                };
                let field = constant_field(constants.first(), &ty)?;
                if !field.truncates() {
                    return Err(Error::unsupported(format!("unit not supported for date_trunc of {ty}")).with_hint(
                        "Use millennium, century, decade, year, quarter, month, week, day, hour, minute or second.",
                    ));
                }
                Native { args: vec![SqlType::Varchar, ty.clone()], ty, kernel: Kernel::DateTrunc(field) }
            }
            (name, types) if NAMES.contains(&name) => return Err(missing(name, types)),
            (name, types) if scalar::exists(name) => {
                let found = scalar::find(name, types, constants)?;
                Native { args: found.args, ty: found.ty, kernel: Kernel::Scalar(found.scalar) }
            }
            _ => return Ok(None),
        };
        Ok(Some(native))
    }

    /// Evaluates it over arguments of `self.args`, for `rows` rows.
    pub fn evaluate(&self, args: Vec<Col>, rows: usize) -> Result<Col> {
        let arity = Error::internal("native function was given another number of arguments");
        if let Kernel::Scalar(scalar) = &self.kernel {
            return scalar.evaluate(args, &self.ty, rows);
        }
        let mut args = args.into_iter();
        match self.kernel {
            Kernel::Scalar(_) => Err(arity),
            Kernel::Abs => abs(args.next().ok_or(arity)?, &self.ty),
            Kernel::Sign => sign(args.next().ok_or(arity)?, &self.ty),
            Kernel::Round(kind, places) => {
                let value = args.next().ok_or(arity)?;
                let scale = match &self.args[..] {
                    [SqlType::Decimal { scale, .. }, ..] => *scale,
                    _ => 0,
                };
                round(value, kind, scale, places, &self.ty)
            }
            Kernel::Extract(field) => extract::numeric(args.nth(1).ok_or(arity)?, field, &self.args[1], &self.ty),
            Kernel::DatePart(field) => extract::double(args.nth(1).ok_or(arity)?, field, &self.args[1]),
            Kernel::DateTrunc(field) => extract::truncate(args.nth(1).ok_or(arity)?, field, &self.ty),
        }
    }
}

fn exact(ty: &SqlType) -> bool {
    super::typing::as_decimal(ty).is_some()
}

/// `function ... does not exist`.
pub(crate) fn missing(name: &str, types: &[SqlType]) -> Error {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    Error::invalid(format!("function {name}({}) does not exist", types.join(", ")))
        .with_code(sqlstate::UNDEFINED_FUNCTION)
        .with_hint("No function has this name and these argument types. Add explicit casts.")
}

fn needs_constant(name: &str, what: &str) -> Error {
    Error::unsupported(format!("{name} needs a constant {what}")).with_hint("Write the value as a literal.")
}

fn constant_places(name: &str, constant: Option<&Option<ArrayRef>>) -> Result<i32> {
    let Some(Some(value)) = constant else { return Err(needs_constant(name, "number of digits")) };
    let value = arrow::compute::cast(value, &DataType::Int32)?;
    let places = value.as_primitive::<Int32Type>();
    if places.is_null(0) {
        return Err(needs_constant(name, "number of digits"));
    }
    Ok(places.value(0).clamp(-38, 38))
}

fn constant_field(constant: Option<&Option<ArrayRef>>, ty: &SqlType) -> Result<TimeField> {
    match constant {
        Some(Some(name)) if name.is_valid(0) => TimeField::parse(name.as_string::<i32>().value(0), ty),
        _ => Err(needs_constant("extract", "field name")),
    }
}

fn rounding(kind: Rounding, ty: &SqlType, places: i32) -> Native {
    let SqlType::Decimal { precision, scale } = *ty else {
        return Native { args: vec![SqlType::Double], ty: SqlType::Double, kernel: Kernel::Round(kind, 0) };
    };
    let kept = places.clamp(0, 38);
    let front = i32::from(precision) - i32::from(scale) + 1;
    let result = SqlType::Decimal { precision: (front + kept).clamp(1, 38) as u8, scale: kept as i8 };
    Native { args: vec![ty.clone()], ty: result, kernel: Kernel::Round(kind, places) }
}

fn abs(column: Col, ty: &SqlType) -> Result<Col> {
    let to = ty.arrow();
    let range = || Reason::out_of_range(ty);
    match ty {
        SqlType::SmallInt => {
            map::<Int16Type, Int16Type>(column, &to, |v| (v.wrapping_abs(), v != i16::MIN), |_| range())
        }
        SqlType::Int => map::<Int32Type, Int32Type>(column, &to, |v| (v.wrapping_abs(), v != i32::MIN), |_| range()),
        SqlType::BigInt => map::<Int64Type, Int64Type>(column, &to, |v| (v.wrapping_abs(), v != i64::MIN), |_| range()),
        SqlType::Real => map::<Float32Type, Float32Type>(column, &to, |v| (v.abs(), true), |_| range()),
        SqlType::Double => map::<Float64Type, Float64Type>(column, &to, |v| (v.abs(), true), |_| range()),
        _ => map::<Decimal128Type, Decimal128Type>(column, &to, |v| (v.wrapping_abs(), true), |_| range()),
    }
}

fn sign(column: Col, ty: &SqlType) -> Result<Col> {
    let to = ty.arrow();
    if let SqlType::Decimal { scale, .. } = ty {
        let one = power_of_ten(scale.unsigned_abs().into());
        return map::<Decimal128Type, Decimal128Type>(
            column,
            &to,
            |v| (v.signum() * one, true),
            |_| Reason::out_of_range(ty),
        );
    }
    let sign = |v: f64| {
        if v > 0.0 {
            1.0
        } else if v < 0.0 {
            -1.0
        } else {
            v
        }
    };
    map::<Float64Type, Float64Type>(column, &to, |v| (sign(v), true), |_| Reason::out_of_range(ty))
}

fn round(column: Col, kind: Rounding, scale: i8, places: i32, ty: &SqlType) -> Result<Col> {
    let to = ty.arrow();
    let range = |_| Reason::out_of_range(ty);
    let SqlType::Decimal { precision, scale: kept } = *ty else {
        let op: fn(f64) -> f64 = match kind {
            Rounding::Nearest => f64::round_ties_even,
            Rounding::Truncate => f64::trunc,
            Rounding::Up => f64::ceil,
            Rounding::Down => f64::floor,
        };
        return map::<Float64Type, Float64Type>(column, &to, |v| (op(v), true), |_| Reason::out_of_range(ty));
    };
    // Digits to drop, and zeros to add again (places < 0 or beyond the scale).
    let drop = i32::from(scale) - places;
    let by = power_of_ten(drop.clamp(0, 38) as u32);
    let up = power_of_ten((i32::from(kept) - places.min(scale.into())).clamp(0, 38) as u32);
    let limit = bound(precision);
    let op = |v: i128| {
        let whole = match kind {
            _ if drop <= 0 => v,
            _ if drop > 38 => 0,
            Rounding::Nearest => divide_rounded(v, by),
            Rounding::Truncate => v / by,
            Rounding::Up => v.div_euclid(by) + i128::from(v.rem_euclid(by) != 0),
            Rounding::Down => v.div_euclid(by),
        };
        match whole.checked_mul(up).filter(|v| *v > -limit && *v < limit) {
            Some(value) => (value, true),
            None => (0, false),
        }
    };
    map::<Decimal128Type, Decimal128Type>(column, &to, op, range)
}
