//! Values as text, spelled as PostgreSQL spells them (`DateStyle = ISO`, `IntervalStyle = postgres`, time zone UTC).

use std::fmt::{self, Write};

use arrow::array::{Array, AsArray};
use arrow::datatypes::*;

use super::nested;
use crate::types::calendar::{DAY_US, civil_from_days};
use crate::types::{jsonb, numeric};

/// Writes the value in row `row` of `array`, one of the SQL types; nothing for NULL.
pub fn write_value(array: &dyn Array, row: usize, out: &mut dyn Write) -> fmt::Result {
    if array.is_null(row) {
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => out.write_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int16 => write!(out, "{}", array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write!(out, "{}", array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write!(out, "{}", array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => write_real(array.as_primitive::<Float32Type>().value(row), out),
        DataType::Float64 => write_double(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Decimal128(precision, scale) => {
            write_numeric(array.as_primitive::<Decimal128Type>().value(row), *precision, *scale, out)
        }
        DataType::Utf8 => out.write_str(array.as_string::<i32>().value(row)),
        DataType::Binary => write_bytea(array.as_binary::<i32>().value(row), out),
        DataType::Date32 => write_date(array.as_primitive::<Date32Type>().value(row).into(), out),
        DataType::Time64(_) => write_time(array.as_primitive::<Time64MicrosecondType>().value(row), out),
        DataType::Timestamp(_, zone) => {
            let us = array.as_primitive::<TimestampMicrosecondType>().value(row);
            write_timestamp(us, zone.is_some(), out)
        }
        DataType::Interval(_) => write_interval(array.as_primitive::<IntervalMonthDayNanoType>().value(row), out),
        DataType::FixedSizeBinary(_) => write_uuid(array.as_fixed_size_binary().value(row), out),
        DataType::LargeBinary => jsonb::to_text(array.as_binary::<i64>().value(row), out),
        DataType::List(_) => nested::write_array(array, row, out),
        DataType::Struct(_) => nested::write_row(array, row, out),
        _ => Err(fmt::Error),
    }
}

/// Writes a double precision: the shortest digits that read back the same.
pub fn write_double(value: f64, out: &mut dyn Write) -> fmt::Result {
    write_float(
        value.is_nan(),
        value.is_infinite(),
        value < 0.0,
        out,
        15,
        |out| write!(out, "{value:e}"),
        |out| write!(out, "{value}"),
    )
}

/// Writes a real: the shortest digits that read back the same.
pub fn write_real(value: f32, out: &mut dyn Write) -> fmt::Result {
    write_float(
        value.is_nan(),
        value.is_infinite(),
        value < 0.0,
        out,
        6,
        |out| write!(out, "{value:e}"),
        |out| write!(out, "{value}"),
    )
}

/// A short text on the stack.
struct Buffer {
    bytes: [u8; 48],
    length: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// PostgreSQL shows exponents below -4 and from `digits` on as `1e+20`.
fn write_float(
    nan: bool,
    infinite: bool,
    negative: bool,
    out: &mut dyn Write,
    digits: i32,
    scientific: impl Fn(&mut dyn Write) -> fmt::Result,
    plain: impl Fn(&mut dyn Write) -> fmt::Result,
) -> fmt::Result {
    if nan {
        return out.write_str("NaN");
    }
    if infinite {
        return out.write_str(if negative { "-Infinity" } else { "Infinity" });
    }
    let mut buffer = Buffer { bytes: [0; 48], length: 0 };
    scientific(&mut buffer)?;
    let text = std::str::from_utf8(&buffer.bytes[..buffer.length]).map_err(|_| fmt::Error)?;
    let (mantissa, exponent) = text.split_once('e').ok_or(fmt::Error)?;
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    if exponent < -4 || exponent >= digits {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{mantissa}e{sign}{:02}", exponent.abs());
    }
    plain(out)
}

/// Writes a numeric with `scale` digits behind the point.
pub fn write_decimal(digits: i128, scale: i8, out: &mut dyn Write) -> fmt::Result {
    if scale <= 0 {
        write!(out, "{digits}")?;
        return (0..-scale).filter(|_| digits != 0).try_for_each(|_| out.write_char('0'));
    }
    let power = 10u128.pow(u32::from(scale.unsigned_abs()).min(38));
    let magnitude = digits.unsigned_abs();
    let sign = if digits < 0 { "-" } else { "" };
    write!(out, "{sign}{}.{:0width$}", magnitude / power, magnitude % power, width = scale as usize)
}

/// Writes a value of numeric(precision, scale) with the digits that it shows.
pub fn write_numeric(digits: i128, precision: u8, scale: i8, out: &mut dyn Write) -> fmt::Result {
    let (digits, scale) = numeric::as_shown(digits, precision, scale);
    write_decimal(digits, scale, out)
}

/// Writes bytea in hex: `\x00ff`.
pub fn write_bytea(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    out.write_str("\\x")?;
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// Writes a UUID: 8, 4, 4, 4 and 12 hex digits.
pub fn write_uuid(bytes: &[u8], out: &mut dyn Write) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        let hyphen = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(out, "{hyphen}{byte:02x}")?;
    }
    Ok(())
}

/// Writes a date: `2020-01-31`; years before 1 end in ` BC`.
pub fn write_date(days: i64, out: &mut dyn Write) -> fmt::Result {
    let (year, month, day) = civil_from_days(days);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    write!(out, "{shown:04}-{month:02}-{day:02}{era}")
}

/// Writes a time of day: `03:04:05.678`.
pub fn write_time(us: i64, out: &mut dyn Write) -> fmt::Result {
    let seconds = us / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    write_fraction(us % 1_000_000, out)
}

fn write_fraction(us: i64, out: &mut dyn Write) -> fmt::Result {
    if us == 0 {
        return Ok(());
    }
    let (mut digits, mut width) = (us, 6);
    while digits % 10 == 0 {
        digits /= 10;
        width -= 1;
    }
    write!(out, ".{digits:0width$}")
}

/// Writes a timestamp: `2020-01-31 03:04:05.678`, with `+00` behind it if it has a zone.
pub fn write_timestamp(us: i64, zone: bool, out: &mut dyn Write) -> fmt::Result {
    let (days, time) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (year, month, day) = civil_from_days(days);
    let (shown, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    write!(out, "{shown:04}-{month:02}-{day:02} ")?;
    write_time(time, out)?;
    out.write_str(if zone { "+00" } else { "" })?;
    out.write_str(era)
}

/// Writes an interval: `1 year 2 mons 3 days 04:05:06.789`.
pub fn write_interval(span: IntervalMonthDayNano, out: &mut dyn Write) -> fmt::Result {
    let us = span.nanoseconds / 1000;
    let parts =
        [(i64::from(span.months / 12), "year"), (i64::from(span.months % 12), "mon"), (i64::from(span.days), "day")];
    let (mut first, mut before_negative) = (true, false);
    for (count, unit) in parts.into_iter().filter(|(count, _)| *count != 0) {
        let space = if first { "" } else { " " };
        let plus = if before_negative && count > 0 { "+" } else { "" };
        write!(out, "{space}{plus}{count} {unit}{}", if count == 1 { "" } else { "s" })?;
        before_negative = count < 0;
        first = false;
    }
    if us == 0 && !first {
        return Ok(());
    }
    let sign = match (us < 0, before_negative) {
        (true, _) => "-",
        (false, true) => "+",
        (false, false) => "",
    };
    write!(out, "{}{sign}", if first { "" } else { " " })?;
    let magnitude = us.unsigned_abs() as i64;
    let seconds = magnitude / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    write_fraction(magnitude % 1_000_000, out)
}
