//! Numbers: roots and powers with PostgreSQL's domains, whole-number arithmetic, bits.

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;
use crate::types::SqlType;

use Kind::{Big, Double, Int, Numeric};
const DOUBLE: Returns = Returns::Type(Kind::Double);
const BIG: Returns = Returns::Type(Kind::Big);
const INT: Returns = Returns::Type(Kind::Int);

pub(super) const FUNCTIONS: &[Function] = &[
    function("sqrt", &[Double], DOUBLE, Run::Double(sqrt)),
    function("cbrt", &[Double], DOUBLE, Run::Double(|row| finite(row.double(0).cbrt(), row))),
    function("exp", &[Double], DOUBLE, Run::Double(|row| finite(row.double(0).exp(), row))),
    function("ln", &[Double], DOUBLE, Run::Double(|row| logarithm(row.double(0)).map(|v| Some(v.ln())))),
    function("log", &[Double], DOUBLE, Run::Double(|row| logarithm(row.double(0)).map(|v| Some(v.log10())))),
    function("log10", &[Double], DOUBLE, Run::Double(|row| logarithm(row.double(0)).map(|v| Some(v.log10())))),
    function("log", &[Numeric, Numeric], DOUBLE, Run::Double(log)),
    function("power", &[Double, Double], DOUBLE, Run::Double(power)),
    function("pow", &[Double, Double], DOUBLE, Run::Double(power)),
    function("div", &[Numeric, Numeric], Returns::Of(whole_numeric), Run::Decimal(div)),
    function("gcd", &[Int, Int], INT, Run::Int(|row| Ok(Some(gcd(row)? as i64)))),
    function("gcd", &[Big, Big], BIG, Run::Int(|row| Ok(Some(in_big(gcd(row)?)?)))),
    function("lcm", &[Int, Int], INT, Run::Int(|row| lcm(row).map(Some))),
    function("lcm", &[Big, Big], BIG, Run::Int(|row| lcm(row).map(Some))),
    function("width_bucket", &[Double, Double, Double, Int], INT, Run::Int(width_bucket)),
    function("__bit_and", &[Int, Int], INT, Run::Int(|row| Ok(Some(row.int(0) & row.int(1))))),
    function("__bit_and", &[Big, Big], BIG, Run::Int(|row| Ok(Some(row.int(0) & row.int(1))))),
    function("__bit_or", &[Int, Int], INT, Run::Int(|row| Ok(Some(row.int(0) | row.int(1))))),
    function("__bit_or", &[Big, Big], BIG, Run::Int(|row| Ok(Some(row.int(0) | row.int(1))))),
    function("__bit_xor", &[Int, Int], INT, Run::Int(|row| Ok(Some(row.int(0) ^ row.int(1))))),
    function("__bit_xor", &[Big, Big], BIG, Run::Int(|row| Ok(Some(row.int(0) ^ row.int(1))))),
    function("__bit_not", &[Int], INT, Run::Int(|row| Ok(Some(!row.int(0))))),
    function("__bit_not", &[Big], BIG, Run::Int(|row| Ok(Some(!row.int(0))))),
    function(
        "__shift_left",
        &[Int, Int],
        INT,
        Run::Int(|row| Ok(Some(i64::from((row.int(0) as i32).wrapping_shl(row.int(1) as u32))))),
    ),
    function("__shift_left", &[Big, Int], BIG, Run::Int(|row| Ok(Some(row.int(0).wrapping_shl(row.int(1) as u32))))),
    function(
        "__shift_right",
        &[Int, Int],
        INT,
        Run::Int(|row| Ok(Some(i64::from((row.int(0) as i32).wrapping_shr(row.int(1) as u32))))),
    ),
    function("__shift_right", &[Big, Int], BIG, Run::Int(|row| Ok(Some(row.int(0).wrapping_shr(row.int(1) as u32))))),
];

fn whole_numeric(_: &[SqlType], _: &[Option<arrow::array::ArrayRef>]) -> Option<SqlType> {
    Some(SqlType::Decimal { precision: 38, scale: 0 })
}

fn finite(value: f64, row: &Row<'_>) -> Made<f64> {
    let over = value.is_infinite() && (0..row.len()).all(|index| row.double(index).is_finite());
    let under = value == 0.0 && (0..row.len()).any(|index| row.double(index) != 0.0);
    if over {
        return Err(Reason::out_of_range(&SqlType::Double));
    }
    if under && (0..row.len()).all(|index| row.double(index).is_finite()) && row.double(0) != 0.0 {
        return Err(Reason::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    Ok(Some(value))
}

fn sqrt(row: &Row<'_>) -> Made<f64> {
    let value = row.double(0);
    if value < 0.0 {
        return Err(Reason::new(sqlstate::INVALID_POWER_ARGUMENT, "cannot take square root of a negative number"));
    }
    Ok(Some(value.sqrt()))
}

fn logarithm(value: f64) -> Result<f64, Reason> {
    let wrong = |message: &'static str| Err(Reason::new(sqlstate::INVALID_LOG_ARGUMENT, message));
    if value == 0.0 {
        return wrong("cannot take logarithm of zero");
    }
    if value < 0.0 { wrong("cannot take logarithm of a negative number") } else { Ok(value) }
}

fn log(row: &Row<'_>) -> Made<f64> {
    let value = |index: usize| {
        let (digits, scale) = row.decimal(index);
        logarithm(crate::functions::cast::number::to_double(digits, scale))
    };
    let (base, value) = (value(0)?.ln(), value(1)?.ln());
    if base == 0.0 { Err(Reason::division_by_zero()) } else { Ok(Some(value / base)) }
}

fn power(row: &Row<'_>) -> Made<f64> {
    let (base, exponent) = (row.double(0), row.double(1));
    let wrong = |message: &'static str| Err(Reason::new(sqlstate::INVALID_POWER_ARGUMENT, message));
    if base == 0.0 && exponent < 0.0 {
        return wrong("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return wrong("a negative number raised to a non-integer power yields a complex result");
    }
    let value = base.powf(exponent);
    if value.is_infinite() && base.is_finite() && exponent.is_finite() {
        return Err(Reason::out_of_range(&SqlType::Double));
    }
    if value == 0.0 && base != 0.0 && base.is_finite() && exponent.is_finite() {
        return Err(Reason::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    Ok(Some(value))
}

fn div(row: &Row<'_>, _scale: i8) -> Made<i128> {
    let ((left, s1), (right, s2)) = (row.decimal(0), row.decimal(1));
    if right == 0 {
        return Err(Reason::division_by_zero());
    }
    let range = || Reason::out_of_range(&SqlType::NUMERIC);
    let up = |digits: i128, by: i8| digits.checked_mul(crate::types::digits::power_of_ten(by.max(0) as u32));
    let (left, right) = (up(left, s2 - s1).ok_or_else(range)?, up(right, s1 - s2).ok_or_else(range)?);
    Ok(Some(left / right))
}

fn gcd(row: &Row<'_>) -> Result<u64, Reason> {
    let (mut a, mut b) = (row.int(0).unsigned_abs(), row.int(1).unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Ok(a)
}

fn in_big(value: u64) -> Result<i64, Reason> {
    i64::try_from(value).map_err(|_| Reason::out_of_range(&SqlType::BigInt))
}

fn lcm(row: &Row<'_>) -> Result<i64, Reason> {
    let (a, b) = (row.int(0).unsigned_abs(), row.int(1).unsigned_abs());
    if a == 0 || b == 0 {
        return Ok(0);
    }
    let range = || Reason::out_of_range(&SqlType::BigInt);
    in_big((a / gcd(row)?).checked_mul(b).ok_or_else(range)?)
}

fn width_bucket(row: &Row<'_>) -> Made<i64> {
    let (value, low, high, count) = (row.double(0), row.double(1), row.double(2), row.int(3));
    let wrong = |message: &'static str| Err(Reason::new(sqlstate::INVALID_WIDTH_BUCKET, message));
    if count <= 0 {
        return wrong("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return wrong("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return wrong("lower and upper bounds must be finite");
    }
    if low == high {
        return wrong("lower bound cannot equal upper bound");
    }
    let (value, low, high) = if low < high { (value, low, high) } else { (-value, -low, -high) };
    Ok(Some(if value < low {
        0
    } else if value >= high {
        count + 1
    } else {
        ((value - low) / (high - low) * count as f64) as i64 + 1
    }))
}
