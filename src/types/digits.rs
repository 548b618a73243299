//! The unscaled digits of numerics: powers of ten, moving the point, rounding.

/// 10 to the power of `exponent`, for 0 to 38.
pub(crate) fn power_of_ten(exponent: u32) -> i128 {
    10i128.pow(exponent.min(38))
}

/// The first number of digits that does not fit `precision` digits.
pub(crate) fn bound(precision: u8) -> i128 {
    power_of_ten(precision.into())
}

/// `digits` moved from scale `from` to scale `to`, rounded half away from zero; `None` beyond `limit`.
#[inline]
pub(crate) fn rescale(digits: i128, from: i8, to: i8, limit: i128) -> Option<i128> {
    let moved = if to >= from {
        digits.checked_mul(power_of_ten((to - from) as u32))?
    } else {
        divide_rounded(digits, power_of_ten((from - to) as u32))
    };
    (moved > -limit && moved < limit).then_some(moved)
}

/// `digits / by`, rounded half away from zero; `by` is positive.
#[inline]
pub(crate) fn divide_rounded(digits: i128, by: i128) -> i128 {
    let (quotient, rest) = (digits / by, digits % by);
    // |rest| >= by - |rest| avoids doubling beyond 128 bits.
    if rest.unsigned_abs() >= by.unsigned_abs() - rest.unsigned_abs() { quotient + digits.signum() } else { quotient }
}
