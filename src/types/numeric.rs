//! How many digits behind the point a numeric has and shows.
//!
//! PostgreSQL keeps with every numeric how many digits it shows; here all values of a column have one scale. What a
//! declared scale, sums, differences and products show hangs on the types alone. For the others the type says what
//! decides, by a precision that nobody declares, and the digits themselves say the rest:
//!
//! | type | is | shows |
//! |---|---|---|
//! | numeric(38,10), numeric(36,s) | NUMERIC without digits, and what is computed of it | no zeros at the end |
//! | numeric(37,s), s ≥ 16 | quotients, averages, variances | 16 significant digits, in groups of four |
//! | numeric(35,s), s ≥ 16 | standard deviations | as many as the variance |
//! | any other | | its scale |
//!
//! The rule of quotients is `select_div_scale` of PostgreSQL's `numeric.c`. It looks at the operands; what it would say
//! is read off the quotient again. That may say another number of zeros, never of other digits, where the leading groups
//! of four digits of both operands are equal: `1.75 / 1` shows 16 digits here, 20 there.

use super::digits::power_of_ten;
use super::schema::SqlType;

/// Digits that a quotient has at least, of PostgreSQL's `NUMERIC_MIN_SIG_DIGITS`.
const SIGNIFICANT: i32 = 16;
/// Digits of a group in PostgreSQL's numerics (`DEC_DIGITS`).
const GROUP: i32 = 4;
/// The least scale of quotients.
const QUOTIENT_SCALE_MIN: i8 = 16;
/// The scale of quotients that leave room for it: 16 digits of a quotient below one, in groups of four.
const QUOTIENT_SCALE_MAX: i8 = 20;
const PRECISION_MAX: u8 = 38;
const ENTERED: u8 = 36;
const QUOTIENT: u8 = 37;
const DEVIATION: u8 = 35;

/// What decides how many digits behind the point are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The type's scale.
    Scale,
    /// The value, without zeros at the end.
    Entered,
    /// The size of the value: a quotient.
    Quotient,
    /// The size of its square: the root of a quotient.
    Deviation,
}

impl Shows {
    /// What decides for a type.
    pub fn of(precision: u8, scale: i8) -> Shows {
        match (precision, scale) {
            (ENTERED, _) => Shows::Entered,
            (QUOTIENT, QUOTIENT_SCALE_MIN..) => Shows::Quotient,
            (DEVIATION, QUOTIENT_SCALE_MIN..) => Shows::Deviation,
            _ if (SqlType::Decimal { precision, scale }) == SqlType::NUMERIC => Shows::Entered,
            _ => Shows::Scale,
        }
    }

    /// What decides for what is computed of two operands, other than their quotient.
    pub fn with(self, other: Shows) -> Shows {
        match (self, other) {
            (Shows::Quotient | Shows::Deviation, _) | (_, Shows::Quotient | Shows::Deviation) => Shows::Quotient,
            (Shows::Entered, _) | (_, Shows::Entered) => Shows::Entered,
            (Shows::Scale, Shows::Scale) => Shows::Scale,
        }
    }

    /// The type with so many digits before and behind the point, as far as 38 digits go; behind it they go first.
    pub fn decimal(self, front: i16, scale: i16) -> SqlType {
        let scale = scale.clamp(0, i16::from(PRECISION_MAX));
        let precision = (front.max(0) + scale).clamp(1, i16::from(PRECISION_MAX));
        let (mut precision, mut scale) = (precision as u8, scale as i8);
        match self {
            Shows::Scale if Shows::of(precision, scale) != Shows::Scale => {
                precision = if precision == PRECISION_MAX { QUOTIENT } else { PRECISION_MAX };
            }
            Shows::Entered if SqlType::NUMERIC == (SqlType::Decimal { precision: PRECISION_MAX, scale }) => {
                precision = PRECISION_MAX;
            }
            Shows::Scale => {}
            Shows::Entered => (precision, scale) = (ENTERED, scale.min(ENTERED as i8)),
            Shows::Quotient => (precision, scale) = (QUOTIENT, scale.clamp(QUOTIENT_SCALE_MIN, QUOTIENT as i8)),
            Shows::Deviation => (precision, scale) = (DEVIATION, scale.clamp(QUOTIENT_SCALE_MIN, DEVIATION as i8)),
        }
        SqlType::Decimal { precision, scale }
    }
}

/// The type of quotients with `front` digits before the point, of operands with at most `scale` digits behind it.
pub(crate) fn quotient_type(front: i16, scale: i16) -> SqlType {
    Shows::Quotient.decimal(front, room(QUOTIENT, front).max(scale))
}

/// The type of standard deviations with `front` digits before the point.
pub(crate) fn deviation_type(front: i16) -> SqlType {
    Shows::Deviation.decimal(front, room(DEVIATION, front))
}

fn room(precision: u8, front: i16) -> i16 {
    (i16::from(precision) - front).clamp(QUOTIENT_SCALE_MIN.into(), QUOTIENT_SCALE_MAX.into())
}

/// Where a number begins: the place of its first group of four digits (0 before the point) and those digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leading {
    weight: i32,
    first: u32,
}

impl Leading {
    /// Of `magnitude` × 10^-`scale`.
    pub fn of(magnitude: u128, scale: i32) -> Leading {
        if magnitude == 0 {
            return Leading { weight: 0, first: 0 };
        }
        let length = match u64::try_from(magnitude) {
            Ok(small) => small.ilog10(),
            Err(_) => magnitude.ilog10(),
        };
        let weight = (length as i32 - scale).div_euclid(GROUP);
        let drop = GROUP * weight + scale;
        let power = power_of_ten(drop.unsigned_abs()).unsigned_abs();
        let first = if drop >= 0 { magnitude / power } else { magnitude * power };
        Leading { weight, first: first as u32 }
    }

    /// Of a whole number written in decimal digits, × 10^-`scale`.
    pub fn of_text(digits: &str, scale: i32) -> Leading {
        // 38 digits hold the first group wherever the groups begin.
        let kept = digits.get(..digits.len().min(30)).unwrap_or(digits);
        let dropped = (digits.len() - kept.len()) as i32;
        Leading::of(kept.parse().unwrap_or(0), scale - dropped)
    }

    /// The digits behind the point of the quotient `self / by`, before those of the operands count
    /// (`select_div_scale`).
    pub fn divided_by(self, by: Leading) -> i32 {
        let weight = self.weight - by.weight - i32::from(self.first <= by.first);
        (SIGNIFICANT - GROUP * weight).max(0)
    }
}

/// The digits behind the point that `digits` × 10^-`scale`, of the type numeric(`precision`, `scale`), shows.
pub(crate) fn shown(digits: i128, precision: u8, scale: i8) -> i8 {
    let least = match Shows::of(precision, scale) {
        Shows::Scale => return scale,
        Shows::Entered => 0,
        Shows::Quotient => quotient_digits(digits, scale),
        Shows::Deviation if digits == 0 => 0,
        Shows::Deviation => deviation_digits(digits, scale),
    };
    let least = least.min(scale.into());
    let (mut rest, mut needed) = (digits, i32::from(scale));
    while needed > least && rest % 10 == 0 {
        rest /= 10;
        needed -= 1;
    }
    needed as i8
}

/// The value as it is shown: digits and how many of them stand behind the point.
pub(crate) fn as_shown(digits: i128, precision: u8, scale: i8) -> (i128, i8) {
    let shown = shown(digits, precision, scale);
    let dropped = i32::from(scale) - i32::from(shown);
    (digits / power_of_ten(dropped.max(0) as u32), shown)
}

/// What `select_div_scale` said of the operands, read off the quotient: of 1, 10,000 and so on they began alike.
fn quotient_digits(digits: i128, scale: i8) -> i32 {
    let magnitude = digits.unsigned_abs();
    let Leading { weight, first } = Leading::of(magnitude, scale.into());
    let power = power_of_ten((GROUP * weight + i32::from(scale)).max(0) as u32).unsigned_abs();
    // Sums of fewer than a hundred rows that average a little more than 10,000 begin as their count does.
    let begins_alike = first == 1 && (magnitude == power || (weight > 0 && magnitude - power < power / 100));
    let weight = if begins_alike || digits == 0 { weight - 1 } else { weight };
    (SIGNIFICANT - GROUP * weight).max(0)
}

fn deviation_digits(digits: i128, scale: i8) -> i32 {
    // A square begins in the group that twice the number's own digits reach.
    let length = digits.unsigned_abs().ilog10() as i32 - i32::from(scale);
    let lead = digits.unsigned_abs() as f64 / 10f64.powi(length + i32::from(scale));
    let square = 2 * length + i32::from(lead * lead >= 10.0);
    (SIGNIFICANT - GROUP * square.div_euclid(GROUP)).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_the_digits_of_postgres() {
        // Operands as digits and scale; what PostgreSQL 15 shows behind the point.
        let check = |left: (i128, i32), right: (i128, i32), expected: i32| {
            let leading = |(digits, scale): (i128, i32)| Leading::of(digits.unsigned_abs(), scale);
            assert_eq!(leading(left).divided_by(leading(right)), expected, "{left:?} / {right:?}");
        };
        check((10, 0), (3, 0), 16);
        check((1, 0), (3, 0), 20);
        check((3, 0), (3, 0), 20);
        check((100_000_000, 0), (3, 0), 12);
        check((1, 0), (30_000, 0), 24);
        check((0, 0), (5, 0), 20);
        check((175, 2), (1, 0), 20);
        check((10_i128.pow(30), 0), (1, 0), 0);
        assert_eq!(Leading::of_text(&format!("12345{}", "0".repeat(60)), 20), Leading { weight: 11, first: 1 });
    }

    #[test]
    fn what_is_shown() {
        let check = |digits: i128, precision: u8, scale: i8, expected: i8| {
            assert_eq!(shown(digits, precision, scale), expected, "{digits} of numeric({precision},{scale})");
        };
        check(150, 10, 2, 2);
        check(15_000_000_000, 38, 10, 1);
        check(0, 38, 10, 0);
        check(15 * 10_i128.pow(19), 36, 20, 1);
        check(25 * 10_i128.pow(19), 37, 20, 16);
        check(10_i128.pow(20), 37, 20, 20);
        check(10_i128.pow(19) * 5, 37, 20, 20);
        check(123_456 * 10_i128.pow(20), 37, 20, 12);
        check(0, 37, 20, 20);
        check(100_025 * 10_i128.pow(19), 37, 20, 16);
        check(2 * 10_i128.pow(20), 35, 20, 16);
        check(200 * 10_i128.pow(20), 35, 20, 12);
        check(0, 35, 20, 0);
    }

    #[test]
    fn types_that_only_show_their_scale_are_no_others() {
        assert_eq!(Shows::Scale.decimal(28, 10), SqlType::Decimal { precision: 37, scale: 10 });
        assert_eq!(Shows::Scale.decimal(20, 17), SqlType::Decimal { precision: 38, scale: 17 });
        assert_eq!(Shows::Entered.decimal(29, 10), SqlType::NUMERIC);
        assert_eq!(quotient_type(10, 0), SqlType::Decimal { precision: 37, scale: 20 });
        assert_eq!(quotient_type(19, 0), SqlType::Decimal { precision: 37, scale: 18 });
        assert_eq!(deviation_type(19), SqlType::Decimal { precision: 35, scale: 16 });
    }
}
