//! Text: cutting, padding, joining.

use std::fmt::Write;

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;
use crate::functions::text::write_value;

const TEXT: Returns = Returns::Type(Kind::Text);
const INT: Returns = Returns::Type(Kind::Int);
use Kind::{Any, Big, Int, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    function("substring", &[Text, Int], TEXT, Run::Text(substring)),
    function("substring", &[Text, Int, Int], TEXT, Run::Text(substring)),
    function("substr", &[Text, Int], TEXT, Run::Text(substring)),
    function("substr", &[Text, Int, Int], TEXT, Run::Text(substring)),
    function("left", &[Text, Int], TEXT, Run::Text(left)),
    function("right", &[Text, Int], TEXT, Run::Text(right)),
    function("__varchar", &[Text, Int], TEXT, Run::Text(varchar)),
    function("strpos", &[Text, Text], INT, Run::Int(|row| Ok(Some(position(row))))),
    function("position", &[Text, Text], INT, Run::Int(|row| Ok(Some(position(row))))),
    function("overlay", &[Text, Text, Int], TEXT, Run::Text(overlay)),
    function("overlay", &[Text, Text, Int, Int], TEXT, Run::Text(overlay)),
    function("split_part", &[Text, Text, Int], TEXT, Run::Text(split_part)),
    function("lpad", &[Text, Int], TEXT, Run::Text(|row, out| pad(row, true, out))),
    function("lpad", &[Text, Int, Text], TEXT, Run::Text(|row, out| pad(row, true, out))),
    function("rpad", &[Text, Int], TEXT, Run::Text(|row, out| pad(row, false, out))),
    function("rpad", &[Text, Int, Text], TEXT, Run::Text(|row, out| pad(row, false, out))),
    function("repeat", &[Text, Int], TEXT, Run::Text(repeat)),
    function("chr", &[Int], TEXT, Run::Text(chr)),
    function(
        "ascii",
        &[Text],
        INT,
        Run::Int(|row| Ok(Some(row.text(0).chars().next().map_or(0, |c| i64::from(u32::from(c)))))),
    ),
    function("initcap", &[Text], TEXT, Run::Text(initcap)),
    function("upper", &[Text], TEXT, Run::Text(|row, out| cased(row, str::make_ascii_uppercase, upper, out))),
    function("lower", &[Text], TEXT, Run::Text(|row, out| cased(row, str::make_ascii_lowercase, lower, out))),
    function("length", &[Text], INT, Run::Int(|row| Ok(Some(row.text(0).chars().count() as i64)))),
    function("char_length", &[Text], INT, Run::Int(|row| Ok(Some(row.text(0).chars().count() as i64)))),
    function("character_length", &[Text], INT, Run::Int(|row| Ok(Some(row.text(0).chars().count() as i64)))),
    function("octet_length", &[Text], INT, Run::Int(|row| Ok(Some(row.text(0).len() as i64)))),
    function("bit_length", &[Text], INT, Run::Int(|row| Ok(Some(row.text(0).len() as i64 * 8)))),
    function("to_hex", &[Int], TEXT, Run::Text(|row, out| written(write!(out, "{:x}", row.int(0) as i32)))),
    function("to_hex", &[Big], TEXT, Run::Text(|row, out| written(write!(out, "{:x}", row.int(0))))),
    function("concat", &[Any], TEXT, Run::Text(|row, out| join(row, 0, "", out))).variadic().loose(),
    function("concat_ws", &[Text, Any], TEXT, Run::Text(concat_ws)).variadic().loose(),
    function("quote_literal", &[Text], TEXT, Run::Text(|row, out| quote_literal(row.text(0), out))),
    function("quote_ident", &[Text], TEXT, Run::Text(|row, out| quote_ident(row.text(0), out))),
    function("quote_nullable", &[Text], TEXT, Run::Text(quote_nullable)).loose(),
    function("btrim", &[Text], TEXT, Run::Text(|row, out| trim(row, true, true, out))),
    function("btrim", &[Text, Text], TEXT, Run::Text(|row, out| trim(row, true, true, out))),
    function("trim", &[Text], TEXT, Run::Text(|row, out| trim(row, true, true, out))),
    function("trim", &[Text, Text], TEXT, Run::Text(|row, out| trim(row, true, true, out))),
    function("ltrim", &[Text], TEXT, Run::Text(|row, out| trim(row, true, false, out))),
    function("ltrim", &[Text, Text], TEXT, Run::Text(|row, out| trim(row, true, false, out))),
    function("rtrim", &[Text], TEXT, Run::Text(|row, out| trim(row, false, true, out))),
    function("rtrim", &[Text, Text], TEXT, Run::Text(|row, out| trim(row, false, true, out))),
];

/// The longest text that a function makes.
const BYTES_MAX: usize = 64 << 20;

pub(super) fn written(result: std::fmt::Result) -> Made<()> {
    result.map(Some).map_err(|_| Reason::new(sqlstate::DATA_EXCEPTION, "value could not be written as text"))
}

pub(super) fn too_long() -> Reason {
    Reason::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

fn push(text: impl Iterator<Item = char>, out: &mut String) -> Made<()> {
    out.extend(text);
    Ok(Some(()))
}

fn substring(row: &Row<'_>, out: &mut String) -> Made<()> {
    let from = row.int(1);
    let end = match row.len() {
        2 => i64::MAX,
        _ if row.int(2) < 0 => {
            return Err(Reason::new(sqlstate::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        _ => from + row.int(2),
    };
    let skip = (from - 1).max(0);
    let take = (end - 1 - skip).max(0);
    push(row.text(0).chars().skip(skip as usize).take(take as usize), out)
}

fn left(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, count) = (row.text(0), row.int(1));
    let keep = if count >= 0 { count } else { text.chars().count() as i64 + count };
    push(text.chars().take(keep.max(0) as usize), out)
}

fn right(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, count) = (row.text(0), row.int(1));
    let skip = if count >= 0 { text.chars().count() as i64 - count } else { -count };
    push(text.chars().skip(skip.max(0) as usize), out)
}

fn position(row: &Row<'_>) -> i64 {
    let (text, found) = (row.text(0), row.finder(1).find(row.text(0).as_bytes()));
    found.map_or(0, |at| text.get(..at).unwrap_or_default().chars().count() as i64 + 1)
}

fn overlay(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, part, from) = (row.text(0), row.text(1), row.int(2));
    if from <= 0 {
        return Err(Reason::new(sqlstate::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let count = if row.len() > 3 { row.int(3) } else { part.chars().count() as i64 };
    out.extend(text.chars().take(from as usize - 1));
    out.push_str(part);
    push(text.chars().skip((from - 1 + count).max(0) as usize), out)
}

fn split_part(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, by, wanted) = (row.text(0), row.text(1), row.int(2));
    let place = wanted.unsigned_abs() as usize;
    if wanted == 0 {
        return Err(Reason::new(sqlstate::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    let part = if by.is_empty() {
        if place == 1 { Some(text) } else { None }
    } else if wanted > 0 {
        let (finder, mut rest) = (row.finder(1), Some(text));
        for _ in 1..place {
            rest = rest.and_then(|rest| rest.get(finder.find(rest.as_bytes())? + by.len()..));
        }
        rest.map(|rest| finder.find(rest.as_bytes()).and_then(|end| rest.get(..end)).unwrap_or(rest))
    } else {
        text.rsplit(by).nth(place - 1)
    };
    out.push_str(part.unwrap_or_default());
    Ok(Some(()))
}

fn pad(row: &Row<'_>, before: bool, out: &mut String) -> Made<()> {
    let (text, wanted) = (row.text(0), row.int(1).max(0) as usize);
    let fill = if row.len() > 2 { row.text(2) } else { " " };
    if wanted > BYTES_MAX / 4 {
        return Err(too_long());
    }
    let length = text.chars().count();
    if length >= wanted || fill.is_empty() {
        return push(text.chars().take(wanted), out);
    }
    let filling = fill.chars().cycle().take(wanted - length);
    if before {
        out.extend(filling);
        out.push_str(text);
    } else {
        out.push_str(text);
        out.extend(filling);
    }
    Ok(Some(()))
}

/// A text in a column of so many characters: blanks beyond them go, anything else does not fit.
fn varchar(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, length) = (row.text(0), row.int(1).max(0) as usize);
    let end = text.char_indices().nth(length).map_or(text.len(), |(end, _)| end);
    if text[end..].contains(|character| character != ' ') {
        let message = format!("value too long for type character varying({length})");
        return Err(Reason::new(sqlstate::STRING_DATA_RIGHT_TRUNCATION, message));
    }
    out.push_str(&text[..end]);
    Ok(Some(()))
}

fn repeat(row: &Row<'_>, out: &mut String) -> Made<()> {
    let (text, count) = (row.text(0), row.int(1).max(0) as usize);
    if text.len().saturating_mul(count) > BYTES_MAX {
        return Err(too_long());
    }
    (0..count).for_each(|_| out.push_str(text));
    Ok(Some(()))
}

fn chr(row: &Row<'_>, out: &mut String) -> Made<()> {
    let limit = |message: &'static str| Err(Reason::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    match row.int(0) {
        0 => limit("null character not permitted"),
        code if code < 0 => limit("character number must be positive"),
        code => match u32::try_from(code).ok().and_then(char::from_u32) {
            Some(character) => {
                out.push(character);
                Ok(Some(()))
            }
            None => limit("requested character not valid for encoding"),
        },
    }
}

/// The text in another case: all at once where it is ASCII.
fn cased(row: &Row<'_>, ascii: fn(&mut str), other: fn(char) -> char, out: &mut String) -> Made<()> {
    let (text, start) = (row.text(0), out.len());
    if !text.is_ascii() {
        return push(text.chars().map(other), out);
    }
    out.push_str(text);
    out.get_mut(start..).map(ascii);
    Ok(Some(()))
}

/// One character for one, as C's towupper; what would become two stays.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    upper.next().filter(|_| upper.next().is_none()).unwrap_or(c)
}

fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    lower.next().filter(|_| lower.next().is_none()).unwrap_or(c)
}

fn initcap(row: &Row<'_>, out: &mut String) -> Made<()> {
    let mut inside = false;
    for c in row.text(0).chars() {
        out.push(if inside { lower(c) } else { upper(c) });
        inside = c.is_alphanumeric();
    }
    Ok(Some(()))
}

/// Appends argument `index` as its type's output function writes it.
pub(super) fn show(row: &Row<'_>, index: usize, out: &mut String) -> Made<()> {
    let Some((array, at)) = row.value(index) else { return Ok(None) };
    match arrow::array::AsArray::as_boolean_opt(array) {
        Some(values) => {
            out.push(if values.value(at) { 't' } else { 'f' });
            Ok(Some(()))
        }
        None => written(write_value(array.as_ref(), at, out)),
    }
}

fn join(row: &Row<'_>, from: usize, between: &str, out: &mut String) -> Made<()> {
    let mut first = true;
    for index in (from..row.len()).filter(|&index| !row.is_null(index)) {
        if !first {
            out.push_str(between);
        }
        first = false;
        show(row, index, out)?;
    }
    Ok(Some(()))
}

fn concat_ws(row: &Row<'_>, out: &mut String) -> Made<()> {
    if row.is_null(0) { Ok(None) } else { join(row, 1, row.text(0), out) }
}

pub(super) fn quote_literal(text: &str, out: &mut String) -> Made<()> {
    if text.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    Ok(Some(()))
}

fn quote_nullable(row: &Row<'_>, out: &mut String) -> Made<()> {
    if row.is_null(0) {
        out.push_str("NULL");
        return Ok(Some(()));
    }
    quote_literal(row.text(0), out)
}

pub(super) fn quote_ident(text: &str, out: &mut String) -> Made<()> {
    const RESERVED: [&str; 24] = [
        "all", "and", "any", "as", "asc", "case", "cast", "desc", "distinct", "else", "end", "from", "group", "in",
        "not", "null", "or", "order", "select", "table", "then", "user", "when", "where",
    ];
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&text);
    if plain {
        out.push_str(text);
    } else {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    }
    Ok(Some(()))
}

fn trim(row: &Row<'_>, start: bool, end: bool, out: &mut String) -> Made<()> {
    let mut text = row.text(0);
    let among = if row.len() > 1 { row.text(1) } else { " " };
    if start {
        text = text.trim_start_matches(|c| among.contains(c));
    }
    if end {
        text = text.trim_end_matches(|c| among.contains(c));
    }
    out.push_str(text);
    Ok(Some(()))
}
