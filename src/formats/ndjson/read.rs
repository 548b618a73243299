//! Columns out of JSON values.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::*;

use super::TimestampUnit;
use crate::types::json::{Raw, Scanner, Token};
use crate::types::schema::{element_field, row_fields};
use crate::types::text::read as parse;
use crate::types::{Reason, SqlType, jsonb};

/// A value: its kind and its text; none for NULL.
pub(super) type Cell<'a> = Option<(Token, &'a str)>;

/// The row that could not be read, and why.
type Misread = (usize, String);

/// Reads `cells` as a column of type `ty`; fails at the first that is none.
pub(super) fn read(ty: &SqlType, cells: &[Cell<'_>], unit: TimestampUnit) -> Result<ArrayRef, Misread> {
    let arrow = ty.arrow();
    match ty {
        SqlType::Boolean => booleans(cells),
        SqlType::SmallInt => primitive::<Int16Type>(cells, &arrow, |cell| whole(cell, ty)),
        SqlType::Int => primitive::<Int32Type>(cells, &arrow, |cell| whole(cell, ty)),
        SqlType::BigInt => primitive::<Int64Type>(cells, &arrow, |cell| whole(cell, ty)),
        SqlType::Real => {
            primitive::<Float32Type>(cells, &arrow, |cell| parse::float(&scalar(cell, ty)?, ty).map_err(said))
        }
        SqlType::Double => primitive::<Float64Type>(cells, &arrow, |cell| double(cell, ty)),
        SqlType::Decimal { precision, scale } => primitive::<Decimal128Type>(cells, &arrow, |cell| {
            parse::decimal(&scalar(cell, ty)?, *precision, *scale).map_err(said)
        }),
        SqlType::Varchar => texts(cells),
        SqlType::Bytea => bytes(cells, ty),
        SqlType::Date => primitive::<Date32Type>(cells, &arrow, |cell| parse::date(&text(cell, ty)?).map_err(said)),
        SqlType::Time => {
            primitive::<Time64MicrosecondType>(cells, &arrow, |cell| parse::time(&text(cell, ty)?).map_err(said))
        }
        SqlType::Timestamp | SqlType::TimestampTz => {
            primitive::<TimestampMicrosecondType>(cells, &arrow, |cell| point(cell, unit, ty))
        }
        SqlType::Interval => {
            primitive::<IntervalMonthDayNanoType>(cells, &arrow, |cell| parse::interval(&text(cell, ty)?).map_err(said))
        }
        SqlType::Uuid => uuids(cells, ty),
        SqlType::Jsonb => documents(cells),
        SqlType::Array(element) => arrays(element, cells, unit),
        SqlType::Row(fields) => rows(fields, cells, unit),
    }
}

fn said(reason: Reason) -> String {
    reason.message().to_owned()
}

fn kind(token: Token) -> &'static str {
    match token {
        Token::Null => "null",
        Token::True | Token::False => "a boolean",
        Token::Number => "a number",
        Token::String => "a string",
        Token::Array => "an array",
        Token::Object => "an object",
    }
}

fn misfit(token: Token, ty: &SqlType) -> String {
    format!("JSON has {} for a value of type {ty}", kind(token))
}

/// What a string says, given with its quotes.
fn unquoted(value: &str) -> Result<Cow<'_, str>, String> {
    let inner = value.get(1..value.len().saturating_sub(1)).unwrap_or_default();
    let raw = Raw { text: inner, escaped: memchr::memchr(b'\\', inner.as_bytes()).is_some() };
    if !raw.escaped {
        return Ok(Cow::Borrowed(inner));
    }
    let mut said_text = String::with_capacity(inner.len());
    raw.push_to(&mut said_text).map_err(said)?;
    Ok(Cow::Owned(said_text))
}

/// The text of a string, number or boolean.
fn scalar<'a>((token, value): (Token, &'a str), ty: &SqlType) -> Result<Cow<'a, str>, String> {
    match token {
        Token::String => unquoted(value),
        Token::Number | Token::True | Token::False => Ok(Cow::Borrowed(value)),
        Token::Null | Token::Array | Token::Object => Err(misfit(token, ty)),
    }
}

/// The text of a string.
fn text<'a>((token, value): (Token, &'a str), ty: &SqlType) -> Result<Cow<'a, str>, String> {
    if token == Token::String { unquoted(value) } else { Err(misfit(token, ty)) }
}

fn primitive<T: ArrowPrimitiveType>(
    cells: &[Cell<'_>],
    arrow: &DataType,
    read: impl Fn((Token, &str)) -> Result<T::Native, String>,
) -> Result<ArrayRef, Misread> {
    let mut values = PrimitiveBuilder::<T>::with_capacity(cells.len()).with_data_type(arrow.clone());
    for (row, cell) in cells.iter().enumerate() {
        match cell {
            Some(cell) => values.append_value(read(*cell).map_err(|reason| (row, reason))?),
            None => values.append_null(),
        }
    }
    Ok(Arc::new(values.finish()))
}

/// A whole number.
fn whole<T: TryFrom<i64>>(cell: (Token, &str), ty: &SqlType) -> Result<T, String> {
    if let (Token::Number, value) = cell
        && value.len() <= 18
    {
        let digits = value.strip_prefix('-').unwrap_or(value);
        let number = digits
            .bytes()
            .try_fold(0i64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')));
        let signed = number.map(|number| if digits.len() < value.len() { -number } else { number });
        if let Some(Ok(number)) = signed.map(T::try_from) {
            return Ok(number);
        }
    }
    parse::integer(&scalar(cell, ty)?, ty).map_err(said)
}

fn double(cell: (Token, &str), ty: &SqlType) -> Result<f64, String> {
    if let (Token::Number, value) = cell
        && let Ok(number) = value.parse::<f64>()
        && number.is_normal()
    {
        return Ok(number);
    }
    parse::float(&scalar(cell, ty)?, ty).map_err(said)
}

/// A point in time: text, or a number of `unit` since 1970.
fn point(cell: (Token, &str), unit: TimestampUnit, ty: &SqlType) -> Result<i64, String> {
    let (token, value) = cell;
    if token != Token::Number {
        if unit != TimestampUnit::Microseconds {
            return Err("expected a number".into());
        }
        let said_text = text(cell, ty)?;
        return match TimestampMicrosecondType::parse(&said_text) {
            Some(us) if us > 0 => Ok(us),
            // Before 1970, and what only PostgreSQL reads.
            Some(_) | None => parse::timestamp_tz(&said_text).map_err(said),
        };
    }
    let number: i64 = parse::integer(value, &SqlType::BigInt).map_err(said)?;
    let scaled = match unit {
        TimestampUnit::Seconds => number.checked_mul(1_000_000),
        TimestampUnit::Milliseconds => number.checked_mul(1_000),
        TimestampUnit::Microseconds => Some(number),
        TimestampUnit::Nanoseconds => Some(number.div_euclid(1_000)),
    };
    scaled.ok_or_else(|| format!("timestamp {number} is out of range"))
}

fn booleans(cells: &[Cell<'_>]) -> Result<ArrayRef, Misread> {
    let mut values = BooleanBuilder::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        values.append_option(match cell {
            None => None,
            Some((Token::True, _)) => Some(true),
            Some((Token::False, _)) => Some(false),
            Some(cell) => {
                let read = scalar(*cell, &SqlType::Boolean).and_then(|text| parse::boolean(&text).map_err(said));
                Some(read.map_err(|reason| (row, reason))?)
            }
        });
    }
    Ok(Arc::new(values.finish()))
}

fn texts(cells: &[Cell<'_>]) -> Result<ArrayRef, Misread> {
    let bytes = cells.iter().flatten().map(|(_, value)| value.len()).sum();
    let mut values = StringBuilder::with_capacity(cells.len(), bytes);
    for (row, cell) in cells.iter().enumerate() {
        match cell {
            None => values.append_null(),
            Some((Token::String, value)) => values.append_value(unquoted(value).map_err(|reason| (row, reason))?),
            Some((_, value)) => values.append_value(value),
        }
    }
    Ok(Arc::new(values.finish()))
}

fn bytes(cells: &[Cell<'_>], ty: &SqlType) -> Result<ArrayRef, Misread> {
    let mut values = BinaryBuilder::new();
    let mut buffer = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        let Some(cell) = cell else {
            values.append_null();
            continue;
        };
        let read = text(*cell, ty).and_then(|text| parse::bytea(&text, &mut buffer).map_err(said));
        read.map_err(|reason| (row, reason))?;
        values.append_value(&buffer);
    }
    Ok(Arc::new(values.finish()))
}

fn uuids(cells: &[Cell<'_>], ty: &SqlType) -> Result<ArrayRef, Misread> {
    let mut values = FixedSizeBinaryBuilder::with_capacity(cells.len(), 16);
    for (row, cell) in cells.iter().enumerate() {
        let Some(cell) = cell else {
            values.append_null();
            continue;
        };
        let read = text(*cell, ty).and_then(|text| parse::uuid(&text).map_err(said));
        let read = read.map_err(|reason| (row, reason))?;
        values.append_value(read).map_err(|error| (row, error.to_string()))?;
    }
    Ok(Arc::new(values.finish()))
}

fn documents(cells: &[Cell<'_>]) -> Result<ArrayRef, Misread> {
    let mut values = LargeBinaryBuilder::new();
    let mut buffer = Vec::new();
    for (row, cell) in cells.iter().enumerate() {
        let Some((_, value)) = cell else {
            values.append_null();
            continue;
        };
        buffer.clear();
        jsonb::from_text(value, &mut buffer).map_err(|reason| (row, said(reason)))?;
        values.append_value(&buffer);
    }
    Ok(Arc::new(values.finish()))
}

fn arrays(element: &SqlType, cells: &[Cell<'_>], unit: TimestampUnit) -> Result<ArrayRef, Misread> {
    let (mut elements, mut owners) = (Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let before = elements.len();
        match cell {
            None => {}
            Some((Token::Array, value)) => {
                let mut scanner = Scanner::new(value);
                scanner.take(b'[');
                let mut more = !scanner.take(b']');
                while more {
                    // The record was scanned before: nothing is malformed.
                    let Ok((token, value)) = scanner.value() else { break };
                    elements.push((token != Token::Null).then_some((token, value)));
                    more = scanner.more(b']').unwrap_or(false);
                }
            }
            Some((token, _)) => {
                return Err((row, misfit(*token, &SqlType::Array(Box::new(element.clone())))));
            }
        }
        lengths.push(elements.len() - before);
        owners.resize(elements.len(), row);
    }
    let own = |(at, reason): Misread| (owners.get(at).copied().unwrap_or_default(), reason);
    let values = read(element, &elements, unit).map_err(own)?;
    let nulls = cells.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let ends = OffsetBuffer::from_lengths(lengths);
    let array = ListArray::try_new(element_field(element), ends, values, Some(nulls));
    array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| (0, error.to_string()))
}

fn rows(fields: &[(String, SqlType)], cells: &[Cell<'_>], unit: TimestampUnit) -> Result<ArrayRef, Misread> {
    let mut parts: Vec<Vec<Cell<'_>>> = vec![vec![None; cells.len()]; fields.len()];
    for (row, cell) in cells.iter().enumerate() {
        match cell {
            None => {}
            Some((Token::Object, value)) => {
                let mut scanner = Scanner::new(value);
                scanner.take(b'{');
                let mut more = !scanner.take(b'}');
                while more {
                    let (Ok(key), Ok((token, value))) = (scanner.key(), scanner.value()) else { break };
                    let place = fields.iter().position(|(name, _)| key.is(name));
                    if let Some(cell) = place.and_then(|place| parts.get_mut(place)?.get_mut(row)) {
                        *cell = (token != Token::Null).then_some((token, value));
                    }
                    more = scanner.more(b'}').unwrap_or(false);
                }
            }
            Some((token, _)) => return Err((row, misfit(*token, &SqlType::Row(fields.to_vec())))),
        }
    }
    let mut columns = Vec::with_capacity(fields.len());
    for (part, (name, ty)) in parts.iter().zip(fields) {
        columns.push(read(ty, part, unit).map_err(|(row, reason)| (row, format!("\"{name}\": {reason}")))?);
    }
    let nulls = cells.iter().map(Option::is_some).collect::<Vec<_>>().into();
    let rows = StructArray::try_new_with_length(row_fields(fields), columns, Some(nulls), cells.len());
    rows.map(|rows| Arc::new(rows) as ArrayRef).map_err(|error| (0, error.to_string()))
}
