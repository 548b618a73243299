//! How PostgreSQL writes values as text: one function per type, each appending to a writer.

use std::fmt::{self, Write};

/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const MARCH_0000_DAYS: i64 = 719_468;
const DAY_US: i64 = 86_400_000_000;

/// Year, month and day of a number of days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, u8, u8) {
    let days = days + MARCH_0000_DAYS;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

/// `2013-01-31`; years before 1 as `0044-03-15 BC`. `behind` writes what stands between the day and `BC`.
fn date_then<W: Write>(days: i64, out: &mut W, behind: impl FnOnce(&mut W) -> fmt::Result) -> fmt::Result {
    let (year, month, day) = civil(days);
    let (shown, before_christ) = if year <= 0 { (1 - year, true) } else { (year, false) };
    write!(out, "{shown:04}-{month:02}-{day:02}")?;
    behind(out)?;
    if before_christ { out.write_str(" BC") } else { Ok(()) }
}

/// DATE, in days since 1970.
pub fn date(days: i32, out: &mut impl Write) -> fmt::Result {
    date_then(i64::from(days), out, |_| Ok(()))
}

/// TIME, in microseconds since midnight: `04:05:06.7`, without trailing zeros.
pub fn time(us: i64, out: &mut impl Write) -> fmt::Result {
    let seconds = us.div_euclid(1_000_000);
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    fraction(us.rem_euclid(1_000_000), out)
}

/// Millionths as `.5`, without trailing zeros; nothing for none.
fn fraction(millionths: i64, out: &mut impl Write) -> fmt::Result {
    if millionths == 0 {
        return Ok(());
    }
    let (mut number, mut digits) = (millionths, 6);
    while number % 10 == 0 {
        number /= 10;
        digits -= 1;
    }
    write!(out, ".{number:0digits$}")
}

/// TIMESTAMP, or TIMESTAMPTZ in UTC when `with_zone`, in microseconds since 1970.
/// The ends of the range stand for the infinities, as in PostgreSQL.
pub fn timestamp(us: i64, with_zone: bool, out: &mut impl Write) -> fmt::Result {
    match us {
        i64::MAX => return out.write_str("infinity"),
        i64::MIN => return out.write_str("-infinity"),
        _ => {}
    }
    date_then(us.div_euclid(DAY_US), out, |out| {
        out.write_char(' ')?;
        time(us.rem_euclid(DAY_US), out)?;
        if with_zone { out.write_str("+00") } else { Ok(()) }
    })
}

/// INTERVAL in PostgreSQL's style: `1 year 2 mons -3 days +04:05:06.7`. A part after a negative one carries its sign.
pub fn interval(months: i32, days: i32, nanoseconds: i64, out: &mut impl Write) -> fmt::Result {
    let (mut first, mut after_negative) = (true, false);
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if first { "" } else { " " };
        let sign = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, "{space}{sign}{value} {unit}{plural}")?;
        first = false;
        after_negative = value < 0;
    }
    let us = nanoseconds / 1_000;
    if us == 0 && !first {
        return Ok(());
    }
    let space = if first { "" } else { " " };
    let sign = match (us < 0, after_negative) {
        (true, _) => "-",
        (false, true) => "+",
        (false, false) => "",
    };
    write!(out, "{space}{sign}")?;
    let us = us.unsigned_abs();
    let seconds = us / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    fraction((us % 1_000_000) as i64, out)
}

/// NUMERIC: `value` × 10^-`scale`, with exactly `scale` digits behind the point.
pub fn decimal(value: i128, scale: i8, out: &mut impl Write) -> fmt::Result {
    if value < 0 {
        out.write_char('-')?;
    }
    let magnitude = value.unsigned_abs();
    if scale <= 0 {
        write!(out, "{magnitude}")?;
        if magnitude != 0 {
            for _ in 0..scale.unsigned_abs() {
                out.write_char('0')?;
            }
        }
        return Ok(());
    }
    let digits = usize::from(scale.unsigned_abs());
    match 10u128.checked_pow(u32::from(scale.unsigned_abs())) {
        Some(power) => write!(out, "{}.{:0digits$}", magnitude / power, magnitude % power),
        None => write!(out, "0.{magnitude:0digits$}"),
    }
}

/// DOUBLE PRECISION: the fewest digits that read back the same.
pub fn double(value: f64, out: &mut impl Write) -> fmt::Result {
    if !value.is_finite() || value == 0.0 {
        return special(value, out);
    }
    shortest(format_args!("{value:e}"), 15, out)
}

/// REAL: the fewest digits that read back the same.
pub fn real(value: f32, out: &mut impl Write) -> fmt::Result {
    if !value.is_finite() || value == 0.0 {
        return special(f64::from(value), out);
    }
    shortest(format_args!("{value:e}"), 6, out)
}

fn special(value: f64, out: &mut impl Write) -> fmt::Result {
    out.write_str(match value {
        _ if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ if value.is_sign_negative() => "-0",
        _ => "0",
    })
}

/// A short buffer on the stack: the digits of a float never need more than 32 bytes.
struct Scratch {
    bytes: [u8; 32],
    length: usize,
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// `d.ddde±x` as PostgreSQL lays it out: plain from 1e-4 up to 10^`plain_below`, otherwise `d.ddde+XX`.
fn shortest(scientific: fmt::Arguments<'_>, plain_below: i32, out: &mut impl Write) -> fmt::Result {
    let mut scratch = Scratch { bytes: [0; 32], length: 0 };
    scratch.write_fmt(scientific)?;
    let written = scratch.bytes.get(..scratch.length).unwrap_or_default();
    let written = std::str::from_utf8(written).map_err(|_| fmt::Error)?;
    let (mantissa, exponent) = written.split_once('e').ok_or(fmt::Error)?;
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    if !(-4..plain_below).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
    }
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if unsigned.len() < mantissa.len() {
        out.write_char('-')?;
    }
    let (whole, behind) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if exponent < 0 {
        out.write_str("0.")?;
        for _ in 1..-exponent {
            out.write_char('0')?;
        }
        return write!(out, "{whole}{behind}");
    }
    let shift = exponent.unsigned_abs() as usize;
    out.write_str(whole)?;
    out.write_str(behind.get(..shift).unwrap_or(behind))?;
    for _ in behind.len()..shift {
        out.write_char('0')?;
    }
    match behind.get(shift..) {
        Some(rest) if !rest.is_empty() => write!(out, ".{rest}"),
        Some(_) | None => Ok(()),
    }
}

/// BYTEA: `\x` and two hex digits per byte.
pub fn bytea(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    out.write_str("\\x")?;
    for byte in bytes {
        write!(out, "{byte:02x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    #[test]
    fn dates_and_times() {
        let check = |us: i64, expected: &str| assert_eq!(shown(|out| timestamp(us, false, out)), expected);
        check(0, "1970-01-01 00:00:00");
        check(1_500_000, "1970-01-01 00:00:01.5");
        check(-1, "1969-12-31 23:59:59.999999");
        check(1_709_164_800_000_000, "2024-02-29 00:00:00");
        check(-62_135_596_800_000_000, "0001-01-01 00:00:00");
        check(-62_135_596_800_000_001, "0001-12-31 23:59:59.999999 BC");
        check(i64::MAX, "infinity");
        check(i64::MAX - 1, "294247-01-10 04:00:54.775806");
        check(i64::MIN, "-infinity");
        check(i64::MIN + 1, "290309-12-21 19:59:05.224193 BC");
        assert_eq!(shown(|out| timestamp(1, true, out)), "1970-01-01 00:00:00.000001+00");
        assert_eq!(shown(|out| date(i32::MIN, out)).len(), "5877642-06-23 BC".len());
        assert_eq!(shown(|out| date(11_016, out)), "2000-02-29");
        assert_eq!(shown(|out| time(86_399_120_000, out)), "23:59:59.12");
    }

    #[test]
    fn intervals() {
        let check = |months: i32, days: i32, us: i64, expected: &str| {
            assert_eq!(shown(|out| interval(months, days, us * 1_000, out)), expected);
        };
        check(0, 0, 0, "00:00:00");
        check(14, 3, 14_706_700_000, "1 year 2 mons 3 days 04:05:06.7");
        check(-14, 3, -14_706_000_000, "-1 years -2 mons +3 days -04:05:06");
        check(0, -1, 1_000_000, "-1 days +00:00:01");
        check(1, 1, 0, "1 mon 1 day");
        check(0, 0, 360_000_000_000, "100:00:00");
        check(12, 0, -1, "1 year -00:00:00.000001");
    }

    #[test]
    fn numbers() {
        assert_eq!(shown(|out| decimal(12_345, 2, out)), "123.45");
        assert_eq!(shown(|out| decimal(-5, 3, out)), "-0.005");
        assert_eq!(shown(|out| decimal(7, -2, out)), "700");
        assert_eq!(shown(|out| decimal(i128::MAX, 38, out)), "1.70141183460469231731687303715884105727");
        let check = |value: f64, expected: &str| assert_eq!(shown(|out| double(value, out)), expected);
        check(0.1, "0.1");
        check(-1.5, "-1.5");
        check(100_000_000_000_000.0, "100000000000000");
        check(1e15, "1e+15");
        check(123_456_789_012_345_680.0, "1.2345678901234568e+17");
        check(0.0001, "0.0001");
        check(0.000_012, "1.2e-05");
        check(1e300, "1e+300");
        check(f64::MIN_POSITIVE, "2.2250738585072014e-308");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Infinity");
        check(-0.0, "-0");
        check(1234.5678, "1234.5678");
        assert_eq!(shown(|out| real(1e6, out)), "1e+06");
        assert_eq!(shown(|out| real(123_456.0, out)), "123456");
        assert_eq!(shown(|out| real(0.3, out)), "0.3");
        assert_eq!(shown(|out| bytea(&[0, 255], out)), "\\x00ff");
    }
}
