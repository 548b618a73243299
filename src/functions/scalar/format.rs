//! `format('%s %I %L', ...)`.

use super::{Function, Kind, Made, Returns, Row, Run, function};
use crate::base::sqlstate;
use crate::functions::fault::Reason;

pub(super) const FUNCTIONS: &[Function] =
    &[function("format", &[Kind::Text, Kind::Any], Returns::Type(Kind::Text), Run::Text(format)).variadic().loose()];

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Reason {
    Reason::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn number(rest: &mut &str) -> Option<i64> {
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    let number = digits.parse().ok()?;
    *rest = tail;
    Some(number)
}

/// Argument `index` as `kind` shows it.
fn shown(row: &Row<'_>, index: usize, kind: char) -> Result<String, Reason> {
    let (mut text, mut shown) = (String::new(), String::new());
    let null = row.is_null(index);
    if !null {
        super::text::show(row, index, &mut text)?;
    }
    match kind {
        's' => shown = text,
        'I' if null => return Err(Reason::new("22004", "null values cannot be formatted as an SQL identifier")),
        'I' => drop(super::text::quote_ident(&text, &mut shown)?),
        _ if null => shown.push_str("NULL"),
        _ => drop(super::text::quote_literal(&text, &mut shown)?),
    }
    Ok(shown)
}

fn format(row: &Row<'_>, out: &mut String) -> Made<()> {
    if row.is_null(0) {
        return Ok(None);
    }
    let (mut rest, mut next) = (row.text(0), 1);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let mut digits = rest;
        let first = number(&mut digits);
        let place = first.filter(|_| digits.starts_with('$'));
        if place.is_some() {
            rest = digits.get(1..).unwrap_or_default();
        }
        let mut left = false;
        while let Some(after) = rest.strip_prefix('-') {
            left = true;
            rest = after;
        }
        let mut width = number(&mut rest);
        if let Some(after) = rest.strip_prefix('*') {
            rest = after;
            width = Some(row.int(next));
            next += 1;
        }
        if width.is_some_and(|width| width < 0) {
            left = true;
        }
        let index = match place {
            Some(0) => return Err(wrong("format specifies argument 0, but arguments are numbered from 1")),
            Some(place) => place as usize,
            None => next,
        };
        next = index + 1;
        let kind = rest.chars().next().ok_or_else(|| wrong("unterminated format() type specifier"))?;
        rest = rest.get(kind.len_utf8()..).unwrap_or_default();
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(wrong(format!("unrecognized format() type specifier \"{kind}\"")));
        }
        if index >= row.len() {
            return Err(wrong("too few arguments for format()"));
        }
        let shown = shown(row, index, kind)?;
        let filling = (width.unwrap_or(0).unsigned_abs() as usize).saturating_sub(shown.chars().count());
        if filling > 1 << 20 {
            return Err(super::text::too_long());
        }
        if left {
            out.push_str(&shown);
        }
        (0..filling).for_each(|_| out.push(' '));
        if !left {
            out.push_str(&shown);
        }
    }
    out.push_str(rest);
    Ok(Some(()))
}
