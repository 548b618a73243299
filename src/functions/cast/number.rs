//! Casts from numbers and booleans to numbers.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::*;

use super::no_cast;
use crate::base::Result;
use crate::functions::fault::Reason;
use crate::functions::kernels::decimal::{bound, divide_rounded, power_of_ten, rescale};
use crate::functions::kernels::{Col, map};
use crate::functions::parse;
use crate::types::SqlType;

fn fit<V: Default>(value: Option<V>) -> (V, bool) {
    match value {
        Some(value) => (value, true),
        None => (V::default(), false),
    }
}

/// From boolean to a whole number.
pub(super) fn from_boolean(column: Col, to: &SqlType) -> Result<Col> {
    if !matches!(to, SqlType::SmallInt | SqlType::Int | SqlType::BigInt) {
        return Err(no_cast(&SqlType::Boolean, to));
    }
    let values = arrow::compute::cast(&column.values, &to.arrow())?;
    Ok(Col { values, ..column })
}

/// From smallint, integer or bigint.
pub(super) fn from_integer(column: Col, from: &SqlType, to: &SqlType) -> Result<Col> {
    match from {
        SqlType::SmallInt => whole::<Int16Type>(column, from, to),
        SqlType::Int => whole::<Int32Type>(column, from, to),
        _ => whole::<Int64Type>(column, from, to),
    }
}

fn whole<T: ArrowPrimitiveType>(column: Col, from: &SqlType, to: &SqlType) -> Result<Col>
where
    T::Native: Into<i64>,
{
    let arrow = to.arrow();
    let range = |_| Reason::out_of_range(to);
    match to {
        SqlType::SmallInt => map::<T, Int16Type>(column, &arrow, |v| fit(v.into().try_into().ok()), range),
        SqlType::Int => map::<T, Int32Type>(column, &arrow, |v| fit(v.into().try_into().ok()), range),
        SqlType::BigInt => map::<T, Int64Type>(column, &arrow, |v| (v.into(), true), range),
        SqlType::Real => map::<T, Float32Type>(column, &arrow, |v| (v.into() as f32, true), range),
        SqlType::Double => map::<T, Float64Type>(column, &arrow, |v| (v.into() as f64, true), range),
        SqlType::Decimal { precision, scale } => {
            let limit = bound(*precision);
            map::<T, Decimal128Type>(column, &arrow, |v| fit(rescale(v.into().into(), 0, *scale, limit)), range)
        }
        SqlType::Boolean => {
            let values = column.values.as_primitive::<T>();
            let bits = BooleanBuffer::collect_bool(values.len(), |row| values.value(row).into() != 0);
            let values = BooleanArray::new(bits, values.nulls().cloned());
            Ok(Col { values: Arc::new(values), ..column })
        }
        _ => Err(no_cast(from, to)),
    }
}

/// From real or double precision to a number: half to even for whole numbers.
pub(super) fn from_float(column: Col, from: &SqlType, to: &SqlType) -> Result<Col> {
    match from {
        SqlType::Real => float::<Float32Type>(column, from, to, 6),
        _ => float::<Float64Type>(column, from, to, 15),
    }
}

fn float<T: ArrowPrimitiveType>(column: Col, from: &SqlType, to: &SqlType, digits: usize) -> Result<Col>
where
    T::Native: Into<f64>,
{
    let arrow = to.arrow();
    let range = |_| Reason::out_of_range(to);
    // The bounds are exact in binary: [-2^(bits - 1), 2^(bits - 1)).
    let rounded = |v: T::Native, bits: i32| {
        let v: f64 = v.into().round_ties_even();
        let end = 2f64.powi(bits - 1);
        (v >= -end && v < end).then_some(v)
    };
    match to {
        SqlType::SmallInt => map::<T, Int16Type>(column, &arrow, |v| fit(rounded(v, 16).map(|v| v as i16)), range),
        SqlType::Int => map::<T, Int32Type>(column, &arrow, |v| fit(rounded(v, 32).map(|v| v as i32)), range),
        SqlType::BigInt => map::<T, Int64Type>(column, &arrow, |v| fit(rounded(v, 64).map(|v| v as i64)), range),
        SqlType::Double => map::<T, Float64Type>(column, &arrow, |v| (v.into(), true), range),
        SqlType::Real => map::<T, Float32Type>(
            column,
            &arrow,
            |v| {
                let wide: f64 = v.into();
                let narrow = wide as f32;
                (narrow, narrow.is_finite() == wide.is_finite() && (narrow != 0.0 || wide == 0.0))
            },
            |v| {
                let small = v.into().abs() < 1.0;
                let what = if small { "value out of range: underflow" } else { "value out of range: overflow" };
                Reason::new(crate::base::sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, what)
            },
        ),
        SqlType::Decimal { precision, scale } => {
            let op = |v: T::Native| fit(float_digits(v.into(), digits, *precision, *scale));
            map::<T, Decimal128Type>(column, &arrow, op, range)
        }
        _ => Err(no_cast(from, to)),
    }
}

/// A float's digits as numeric: 15 significant ones of a double, 6 of a real, as PostgreSQL takes them.
fn float_digits(value: f64, significant: usize, precision: u8, scale: i8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    let mut text = Stack { bytes: [0; 40], length: 0 };
    write!(text, "{value:.*e}", significant - 1).ok()?;
    let text = std::str::from_utf8(text.bytes.get(..text.length)?).ok()?;
    parse::decimal(text, precision, scale).ok()
}

struct Stack {
    bytes: [u8; 40],
    length: usize,
}

impl Write for Stack {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// From numeric to a number: half away from zero for whole numbers.
pub(super) fn from_decimal(column: Col, from: &SqlType, to: &SqlType) -> Result<Col> {
    type D = Decimal128Type;
    let SqlType::Decimal { scale: from_scale, .. } = from else { return Err(no_cast(from, to)) };
    let from_scale = *from_scale;
    let arrow = to.arrow();
    let range = |_| Reason::out_of_range(to);
    let by = power_of_ten(from_scale.max(0) as u32);
    let whole = |v: i128| divide_rounded(v, by);
    match to {
        SqlType::SmallInt => map::<D, Int16Type>(column, &arrow, |v| fit(whole(v).try_into().ok()), range),
        SqlType::Int => map::<D, Int32Type>(column, &arrow, |v| fit(whole(v).try_into().ok()), range),
        SqlType::BigInt => map::<D, Int64Type>(column, &arrow, |v| fit(whole(v).try_into().ok()), range),
        SqlType::Double => map::<D, Float64Type>(column, &arrow, |v| (to_double(v, from_scale), true), range),
        SqlType::Real => map::<D, Float32Type>(column, &arrow, |v| (to_double(v, from_scale) as f32, true), range),
        SqlType::Decimal { precision, scale } => {
            let limit = bound(*precision);
            map::<D, D>(column, &arrow, |v| fit(rescale(v, from_scale, *scale, limit)), range)
        }
        _ => Err(no_cast(from, to)),
    }
}

/// The double nearest to `digits / 10^scale`.
pub(crate) fn to_double(digits: i128, scale: i8) -> f64 {
    const EXACT: u128 = 1 << 53;
    // Both sides exact: one rounding. 10^22 is the largest exact power of ten.
    if (0..=22).contains(&scale) && digits.unsigned_abs() <= EXACT {
        return digits as f64 / 10f64.powi(scale.into());
    }
    let mut text = Stack { bytes: [0; 40], length: 0 };
    let mut exponent = Stack { bytes: [0; 40], length: 0 };
    let written = write!(text, "{digits}").and_then(|()| write!(exponent, "e{}", -i32::from(scale)));
    let mut all = [0u8; 80];
    let end = text.length + exponent.length;
    all[..text.length].copy_from_slice(&text.bytes[..text.length]);
    all[text.length..end].copy_from_slice(&exponent.bytes[..exponent.length]);
    let parsed = std::str::from_utf8(&all[..end]).ok().and_then(|text| text.parse().ok());
    match (written, parsed) {
        (Ok(()), Some(value)) => value,
        _ => digits as f64 / 10f64.powi(scale.into()),
    }
}
