//! Text to values, as PostgreSQL reads them; what it does not read is a fault with its SQLSTATE.

use std::borrow::Cow;

use crate::base::sqlstate;
use crate::types::calendar::{DAY_US, days_from_civil, days_in_month};
use crate::types::digits::{bound, divide_rounded, power_of_ten};
use crate::types::{Reason, SqlType};

pub(crate) use super::interval::interval;
pub(crate) use super::uuid::uuid;

pub(super) type Parsed<T> = Result<T, Reason>;

/// `invalid input syntax for type ...`: 22P02, or 22007 for dates and times.
pub(crate) fn invalid(ty: &SqlType, text: &str) -> Reason {
    let (code, name): (_, Cow<'static, str>) = match ty {
        SqlType::Date => (sqlstate::INVALID_DATETIME_FORMAT, "date".into()),
        SqlType::Time => (sqlstate::INVALID_DATETIME_FORMAT, "time".into()),
        SqlType::Timestamp => (sqlstate::INVALID_DATETIME_FORMAT, "timestamp".into()),
        SqlType::TimestampTz => (sqlstate::INVALID_DATETIME_FORMAT, "timestamp with time zone".into()),
        SqlType::Interval => (sqlstate::INVALID_DATETIME_FORMAT, "interval".into()),
        SqlType::Decimal { .. } => (sqlstate::INVALID_TEXT_REPRESENTATION, "numeric".into()),
        other => (sqlstate::INVALID_TEXT_REPRESENTATION, other.to_string().into()),
    };
    let shown: String = text.chars().take(100).collect();
    Reason::new(code, format!("invalid input syntax for type {name}: \"{shown}\""))
}

fn too_large(ty: &SqlType, text: &str) -> Reason {
    Reason::new(
        sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
        format!("value \"{}\" is out of range for type {ty}", text.trim()),
    )
}

fn field_overflow(text: &str) -> Reason {
    Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}

/// A whole number that fits `ty` (smallint, integer or bigint).
pub(crate) fn integer<T: TryFrom<i64>>(text: &str, ty: &SqlType) -> Parsed<T> {
    let trimmed = trim(text);
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid(ty, text));
    }
    let value = trimmed.parse::<i64>().map_err(|_| too_large(ty, text))?;
    T::try_from(value).map_err(|_| too_large(ty, text))
}

/// C's isspace, which is what PostgreSQL skips.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c'])
}

/// A double precision or real; `T` parses plain decimal text.
pub(crate) fn float<T: std::str::FromStr + Into<f64> + Copy>(text: &str, ty: &SqlType) -> Parsed<T> {
    let trimmed = trim(text);
    let unsigned = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    let named = ["inf", "infinity", "nan"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
    let value: T = trimmed.parse().map_err(|_| invalid(ty, text))?;
    let wide: f64 = value.into();
    if !named && (!unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')) {
        return Err(invalid(ty, text));
    }
    let lost =
        wide == 0.0 && unsigned.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'));
    if !named && (wide.is_infinite() || lost) {
        return Err(Reason::new(
            sqlstate::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{trimmed}\" is out of range for type {ty}"),
        ));
    }
    Ok(value)
}

/// A numeric of the given precision and scale, rounded half away from zero.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Parsed<i128> {
    let ty = SqlType::Decimal { precision, scale };
    let trimmed = trim(text);
    let bytes = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed).as_bytes();
    let end = bytes.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(bytes.len());
    let exponent: i32 = match &bytes[end..] {
        [] => 0,
        [_, rest @ ..] => {
            let rest = std::str::from_utf8(rest).map_err(|_| invalid(&ty, text))?;
            rest.parse::<i32>().ok().filter(|e| e.abs() < 200_000).ok_or_else(|| invalid(&ty, text))?
        }
    };
    // Digits until 38 significant ones are there; then only whether a digit follows matters for rounding.
    let (mut digits, mut behind, mut point, mut seen, mut next) = (0i128, 0i32, false, false, None);
    for &byte in &bytes[..end] {
        match byte {
            b'.' if !point => point = true,
            b'0'..=b'9' => {
                seen = true;
                if next.is_none() && digits < power_of_ten(37) {
                    digits = digits * 10 + i128::from(byte - b'0');
                    behind += i32::from(point);
                } else {
                    next.get_or_insert(byte - b'0');
                    behind -= i32::from(!point);
                }
            }
            _ => return Err(invalid(&ty, text)),
        }
    }
    if !seen {
        return Err(invalid(&ty, text));
    }
    let shift = i32::from(scale) - behind + exponent;
    let overflow = || Reason::out_of_range(&ty);
    let moved = if digits == 0 {
        0
    } else if shift >= 0 {
        let power = u32::try_from(shift).ok().filter(|&s| s <= 38).map(power_of_ten).ok_or_else(overflow)?;
        let cut_up = i128::from(shift == 0 && next.is_some_and(|digit| digit >= 5));
        digits.checked_mul(power).ok_or_else(overflow)? + cut_up
    } else if shift < -38 {
        0
    } else {
        divide_rounded(digits, power_of_ten((-shift) as u32))
    };
    if moved >= bound(precision) {
        return Err(overflow());
    }
    Ok(if trimmed.starts_with('-') { -moved } else { moved })
}

/// A boolean: `t`, `true`, `y`, `yes`, `on`, `1` and their opposites, or a prefix that is unique.
pub(crate) fn boolean(text: &str) -> Parsed<bool> {
    let word = trim(text).to_ascii_lowercase();
    let prefix = |of: &str, least: usize| word.len() >= least && of.starts_with(&word);
    if prefix("true", 1) || prefix("yes", 1) || word == "on" || word == "1" {
        return Ok(true);
    }
    if prefix("false", 1) || prefix("no", 1) || prefix("off", 2) || word == "0" {
        return Ok(false);
    }
    Err(invalid(&SqlType::Boolean, text))
}

/// Bytes: `\x` and hex digits, or text with `\\` and `\ooo` escapes.
pub(crate) fn bytea(text: &str, out: &mut Vec<u8>) -> Parsed<()> {
    out.clear();
    let fault = || invalid(&SqlType::Bytea, text);
    if let Some(hex) = text.strip_prefix("\\x") {
        let hex: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        for pair in hex.chunks(2) {
            let wrong = |what: String| Reason::new(sqlstate::INVALID_PARAMETER_VALUE, what);
            let [high, low] = pair else { return Err(wrong("invalid hexadecimal data: odd number of digits".into())) };
            let digit = |b: u8| {
                let shown = char::from(b);
                shown.to_digit(16).ok_or_else(|| wrong(format!("invalid hexadecimal digit: \"{shown}\"")))
            };
            out.push((digit(*high)? * 16 + digit(*low)?) as u8);
        }
        return Ok(());
    }
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                tail
            }
            (b'\\', _) => return Err(fault()),
            _ => {
                out.push(byte);
                tail
            }
        };
    }
    Ok(())
}

/// Reads text from the left.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    pub(super) fn eat(&mut self, c: char) -> bool {
        let tail = self.rest.strip_prefix(c);
        self.rest = tail.unwrap_or(self.rest);
        tail.is_some()
    }

    fn digits(&mut self) -> &'a str {
        let end = self.rest.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }

    pub(super) fn number(&mut self, longest: usize) -> Option<i64> {
        let digits = self.digits();
        if digits.is_empty() || digits.len() > longest { None } else { digits.parse().ok() }
    }

    /// Digits behind a point as microseconds, rounded.
    pub(super) fn fraction(&mut self) -> i64 {
        let digits = self.digits();
        let mut us = 0;
        for place in 0..6 {
            us = us * 10 + digits.as_bytes().get(place).map_or(0, |b| i64::from(b - b'0'));
        }
        us + i64::from(digits.as_bytes().get(6).is_some_and(|&b| b >= b'5'))
    }
}

fn read_date(reader: &mut Reader<'_>, text: &str, ty: &SqlType) -> Parsed<i64> {
    let digits = reader.digits();
    let (year, month, day) = if digits.len() == 8 {
        let part = |from: usize, to: usize| digits[from..to].parse::<i64>().map_err(|_| invalid(ty, text));
        (part(0, 4)?, part(4, 6)?, part(6, 8)?)
    } else {
        if digits.len() < 4 || digits.len() > 6 {
            return Err(invalid(ty, text));
        }
        let year = digits.parse::<i64>().map_err(|_| invalid(ty, text))?;
        let separator = if reader.eat('-') {
            '-'
        } else if reader.eat('/') {
            '/'
        } else {
            return Err(invalid(ty, text));
        };
        let month = reader.number(2).ok_or_else(|| invalid(ty, text))?;
        if !reader.eat(separator) {
            return Err(invalid(ty, text));
        }
        (year, month, reader.number(2).ok_or_else(|| invalid(ty, text))?)
    };
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(field_overflow(text));
    }
    Ok(days_from_civil(year, month, day))
}

fn read_clock(reader: &mut Reader<'_>, text: &str, ty: &SqlType) -> Parsed<i64> {
    let hour = reader.number(2).ok_or_else(|| invalid(ty, text))?;
    let minute = if reader.eat(':') {
        reader.number(2).ok_or_else(|| invalid(ty, text))?
    } else {
        return Err(invalid(ty, text));
    };
    let second = if reader.eat(':') { reader.number(2).ok_or_else(|| invalid(ty, text))? } else { 0 };
    let us = if reader.eat('.') { reader.fraction() } else { 0 };
    let hour = match read_half(reader) {
        None => hour,
        // The twelfth hour is the first of each half.
        Some(half) if hour <= 12 => hour % 12 + half,
        Some(_) => return Err(field_overflow(text)),
    };
    let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + us;
    if hour > 24 || minute > 59 || second > 60 || total > DAY_US {
        return Err(field_overflow(text));
    }
    Ok(total)
}

/// AM or PM behind a time: the hours before its half of the day.
fn read_half(reader: &mut Reader<'_>) -> Option<i64> {
    let rest = reader.rest.trim_start();
    let half = match rest.get(..2) {
        Some(word) if word.eq_ignore_ascii_case("am") => 0,
        Some(word) if word.eq_ignore_ascii_case("pm") => 12,
        _ => return None,
    };
    reader.rest = &rest[2..];
    Some(half)
}

/// The zone behind a time, as microseconds east of UTC; `None` if there is none.
fn read_zone(reader: &mut Reader<'_>, text: &str, ty: &SqlType) -> Parsed<Option<i64>> {
    reader.skip_spaces();
    if reader.rest.is_empty() {
        return Ok(None);
    }
    if ["z", "utc", "gmt"].iter().any(|zone| reader.rest.eq_ignore_ascii_case(zone)) {
        reader.rest = "";
        return Ok(Some(0));
    }
    let sign = if reader.eat('+') {
        1
    } else if reader.eat('-') {
        -1
    } else {
        return Err(invalid(ty, text));
    };
    let digits = reader.digits();
    let number = |text: &str| text.parse::<i64>().ok();
    let (hours, minutes) = match digits.len() {
        1 | 2 => {
            let minutes = if reader.eat(':') { reader.number(2) } else { Some(0) };
            (number(digits), minutes)
        }
        4 => (number(&digits[..2]), number(&digits[2..])),
        _ => (None, None),
    };
    let (Some(hours), Some(minutes)) = (hours, minutes) else { return Err(invalid(ty, text)) };
    if hours > 15 || minutes > 59 || !reader.rest.is_empty() {
        return Err(invalid(ty, text));
    }
    Ok(Some(sign * (hours * 60 + minutes) * 60_000_000))
}

/// Days since 1970 of a date; a time behind it is read and left out.
pub(crate) fn date(text: &str) -> Parsed<i32> {
    let (days, ..) = date_and_time(text, &SqlType::Date)?;
    i32::try_from(days).map_err(|_| field_overflow(text))
}

/// Microseconds since 1970 of a timestamp; a zone behind it is read and left out, as in PostgreSQL.
pub(crate) fn timestamp(text: &str) -> Parsed<i64> {
    let (days, clock, _) = date_and_time(text, &SqlType::Timestamp)?;
    days.checked_mul(DAY_US).and_then(|us| us.checked_add(clock)).ok_or_else(|| field_overflow(text))
}

/// Microseconds since 1970 in UTC of a timestamp with zone; without one it is UTC.
pub(crate) fn timestamp_tz(text: &str) -> Parsed<i64> {
    let (days, clock, zone) = date_and_time(text, &SqlType::TimestampTz)?;
    let us = days.checked_mul(DAY_US).and_then(|us| us.checked_add(clock - zone.unwrap_or(0)));
    us.ok_or_else(|| field_overflow(text))
}

/// Days since 1970, microseconds of the day, and the zone.
fn date_and_time(text: &str, ty: &SqlType) -> Parsed<(i64, i64, Option<i64>)> {
    let mut reader = Reader { rest: trim(text) };
    let days = read_date(&mut reader, text, ty)?;
    if reader.rest.is_empty() {
        return Ok((days, 0, None));
    }
    if !reader.eat('T') && !reader.eat('t') && !reader.rest.starts_with(' ') {
        return Err(invalid(ty, text));
    }
    reader.skip_spaces();
    let timed = reader.rest.starts_with(|c: char| c.is_ascii_digit());
    let clock = if timed { read_clock(&mut reader, text, ty)? } else { 0 };
    let zone = read_zone(&mut reader, text, ty)?;
    Ok((days, clock, zone))
}

/// Microseconds since midnight of a time of day.
pub(crate) fn time(text: &str) -> Parsed<i64> {
    let mut reader = Reader { rest: trim(text) };
    let us = read_clock(&mut reader, text, &SqlType::Time)?;
    read_zone(&mut reader, text, &SqlType::Time)?;
    Ok(us)
}
