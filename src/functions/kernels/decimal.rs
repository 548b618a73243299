//! Arithmetic of numerics: 128-bit digits, 256 bits in between, never beyond the digits of the result's type.

use arrow::datatypes::{Decimal128Type, i256};

use super::arithmetic::not_arithmetic;
use super::{Col, zip};
use crate::base::Result;
use crate::functions::expr::BinaryOp;
use crate::functions::fault::Reason;
use crate::types::SqlType;
pub(crate) use crate::types::digits::{bound, divide_rounded, power_of_ten, rescale};
use crate::types::numeric::{self, Leading};

fn scale_of(ty: &SqlType) -> i8 {
    match ty {
        SqlType::Decimal { scale, .. } => *scale,
        _ => 0,
    }
}

fn precision_of(ty: &SqlType) -> u8 {
    match ty {
        SqlType::Decimal { precision, .. } => *precision,
        _ => 38,
    }
}

fn limit_of(ty: &SqlType) -> i128 {
    match ty {
        SqlType::Decimal { precision, .. } => bound(*precision),
        _ => bound(38),
    }
}

/// Evaluates `left op right` over numerics of the given types.
pub(crate) fn binary(op: BinaryOp, left: Col, right: Col, types: [&SqlType; 3], rows: usize) -> Result<Col> {
    type D = Decimal128Type;
    let [s1, s2, s3] = types.map(scale_of);
    let (ty, to, limit) = (types[2], types[2].arrow(), limit_of(types[2]));
    let checked = |value: Option<i128>| match value {
        Some(value) => (value, value > -limit && value < limit),
        None => (0, false),
    };
    let range = |_, _| Reason::out_of_range(ty);
    let division = |_, r: i128| if r == 0 { Reason::division_by_zero() } else { Reason::out_of_range(ty) };
    let (up1, up2) = (power_of_ten((s3 - s1).max(0) as u32), power_of_ten((s3 - s2).max(0) as u32));
    match op {
        BinaryOp::Add => zip::<D, D, D>(
            left,
            right,
            rows,
            &to,
            |l, r| checked(scaled(l, r, up1, up2).and_then(|(l, r)| l.checked_add(r))),
            range,
        ),
        BinaryOp::Subtract => zip::<D, D, D>(
            left,
            right,
            rows,
            &to,
            |l, r| checked(scaled(l, r, up1, up2).and_then(|(l, r)| l.checked_sub(r))),
            range,
        ),
        BinaryOp::Multiply => {
            let drop = s1 + s2 - s3; // positive only where 38 digits end
            zip::<D, D, D>(left, right, rows, &to, |l, r| checked(multiply(l, r, drop)), range)
        }
        BinaryOp::Divide => {
            let [left_type, right_type] = [types[0], types[1]].map(precision_of);
            let op = |l, r| checked(quotient((l, left_type, s1), (r, right_type, s2), s3));
            zip::<D, D, D>(left, right, rows, &to, op, division)
        }
        BinaryOp::Modulo => zip::<D, D, D>(left, right, rows, &to, |l, r| checked(modulo(l, r, up1, up2)), division),
        _ => Err(not_arithmetic(op)),
    }
}

fn multiply(left: i128, right: i128, drop: i8) -> Option<i128> {
    if drop <= 0 {
        return left.checked_mul(right);
    }
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    divide_wide(product, i256::from_i128(power_of_ten(drop as u32)))
}

/// The quotient of two numerics (digits, precision and scale) at a scale, rounded where PostgreSQL ends its quotients.
fn quotient(left: (i128, u8, i8), right: (i128, u8, i8), scale: i8) -> Option<i128> {
    let leading = |(digits, _, scale): (i128, u8, i8)| Leading::of(digits.unsigned_abs(), scale.into());
    let shown = |(digits, precision, scale): (i128, u8, i8)| i32::from(numeric::shown(digits, precision, scale));
    let kept = leading(left).divided_by(leading(right)).max(shown(left)).max(shown(right)).min(scale.into());
    let value = divide(left.0, right.0, kept as i8 - left.2 + right.2)?;
    value.checked_mul(power_of_ten((i32::from(scale) - kept) as u32))
}

/// `left * 10^shift / right`, rounded half away from zero; `None` for division by zero and beyond 128 bits.
pub(crate) fn divide(left: i128, right: i128, shift: i8) -> Option<i128> {
    if right == 0 {
        return None;
    }
    if shift >= 0 {
        if let Some(wide) = left.checked_mul(power_of_ten(shift.min(38) as u32)).filter(|_| shift <= 38) {
            let (magnitude, negative) = (right.checked_abs()?, right < 0);
            let quotient = divide_rounded(wide, magnitude);
            return if negative { quotient.checked_neg() } else { Some(quotient) };
        }
        let mut wide = i256::from_i128(left);
        let mut rest = shift as u32;
        while rest > 0 {
            let step = rest.min(38);
            wide = wide.checked_mul(i256::from_i128(power_of_ten(step)))?;
            rest -= step;
        }
        return divide_wide(wide, i256::from_i128(right));
    }
    let by = i256::from_i128(right).checked_mul(i256::from_i128(power_of_ten(u32::from(shift.unsigned_abs()))))?;
    divide_wide(i256::from_i128(left), by)
}

pub(crate) fn divide_wide(digits: i256, by: i256) -> Option<i128> {
    let quotient = digits.checked_div(by)?;
    let rest = digits.checked_rem(by)?.wrapping_abs();
    let rounded = if rest >= by.wrapping_abs().wrapping_sub(rest) {
        let away = if (digits < i256::ZERO) == (by < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
        quotient.checked_add(away)?
    } else {
        quotient
    };
    rounded.to_i128()
}

fn modulo(left: i128, right: i128, up_left: i128, up_right: i128) -> Option<i128> {
    if right == 0 {
        return None;
    }
    match (left.checked_mul(up_left), right.checked_mul(up_right)) {
        (Some(left), Some(right)) => Some(left.wrapping_rem(right)),
        _ => {
            let wide = |digits: i128, up: i128| i256::from_i128(digits).checked_mul(i256::from_i128(up));
            wide(left, up_left)?.checked_rem(wide(right, up_right)?)?.to_i128()
        }
    }
}

#[inline]
fn scaled(left: i128, right: i128, up_left: i128, up_right: i128) -> Option<(i128, i128)> {
    Some((left.checked_mul(up_left)?, right.checked_mul(up_right)?))
}
