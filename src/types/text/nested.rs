//! Arrays `{1,NULL,"a b"}` and rows `(1,,"a b")` as text.

use std::borrow::Cow;
use std::fmt::{self, Write};

use arrow::array::{Array, AsArray};

use super::write::write_value;
use crate::base::sqlstate;
use crate::types::Reason;

type Parts<'a> = Vec<Option<Cow<'a, str>>>;

fn malformed(kind: &str, text: &str) -> Reason {
    let shown: String = text.chars().take(100).collect();
    Reason::new(sqlstate::INVALID_TEXT_REPRESENTATION, format!("malformed {kind} literal: \"{shown}\""))
}

/// The elements of an array of one dimension.
pub fn read_array(text: &str) -> Result<Parts<'_>, Reason> {
    let wrong = || malformed("array", text);
    let trimmed = text.trim();
    let inner = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(wrong)?;
    if inner.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let mut rest = inner;
    loop {
        rest = rest.trim_start();
        let value = if let Some(quoted) = rest.strip_prefix('"') {
            let (value, after) = read_quoted(quoted, false).ok_or_else(wrong)?;
            rest = after.trim_start();
            Some(Cow::Owned(value))
        } else {
            let end = bare_end(rest);
            let (bare, after) = rest.split_at(end);
            rest = after;
            if bare.contains(['{', '}', '"']) {
                let nested = bare.starts_with('{');
                return Err(if nested {
                    Reason::new(sqlstate::FEATURE_NOT_SUPPORTED, "an array of arrays is not supported")
                } else {
                    wrong()
                });
            }
            let bare = bare.trim_end();
            if bare.is_empty() {
                return Err(wrong());
            }
            (!bare.eq_ignore_ascii_case("null")).then(|| unescaped(bare))
        };
        parts.push(value);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(parts),
            None => return Err(wrong()),
        }
    }
}

/// Where a bare element ends: at the next comma that no backslash hides.
fn bare_end(text: &str) -> usize {
    let mut hidden = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if hidden => hidden = false,
            b'\\' => hidden = true,
            b',' => return at,
            _ => {}
        }
    }
    text.len()
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    Cow::Owned(out)
}

/// What stands up to the closing quote, and what follows it; in rows a doubled quote stands for one.
fn read_quoted(text: &str, doubled: bool) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?.1),
            '"' if doubled && text.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) => {
                chars.next();
                out.push('"');
            }
            '"' => return Some((out, text.get(at + 1..)?)),
            c => out.push(c),
        }
    }
    None
}

/// The fields of a row: exactly `count`; nothing between commas is NULL.
pub fn read_row(text: &str, count: usize) -> Result<Parts<'_>, Reason> {
    let wrong = || malformed("record", text);
    let mut rest = text.trim_start().strip_prefix('(').ok_or_else(wrong)?;
    let mut parts: Parts<'_> = Vec::with_capacity(count);
    loop {
        let mut value: Option<String> = None;
        loop {
            match rest.chars().next() {
                None => return Err(wrong()),
                Some(',' | ')') => break,
                Some('"') => {
                    let (quoted, after) = read_quoted(&rest[1..], true).ok_or_else(wrong)?;
                    value.get_or_insert_default().push_str(&quoted);
                    rest = after;
                }
                Some('\\') => {
                    let mut chars = rest.chars();
                    chars.next();
                    value.get_or_insert_default().push(chars.next().ok_or_else(wrong)?);
                    rest = chars.as_str();
                }
                Some(c) => {
                    value.get_or_insert_default().push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        parts.push(value.map(Cow::Owned));
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    // A row without fields is `()`.
    if count == 0 && parts == [None] {
        parts.clear();
    }
    let ends = rest.strip_prefix(')').is_some_and(|rest| rest.trim().is_empty());
    if ends && parts.len() == count { Ok(parts) } else { Err(wrong()) }
}

/// Writes the array in row `row` of a list column.
pub(super) fn write_array(array: &dyn Array, row: usize, out: &mut dyn Write) -> fmt::Result {
    let values = array.as_list::<i32>().value(row);
    out.write_char('{')?;
    let mut text = String::new();
    for element in 0..values.len() {
        if element > 0 {
            out.write_char(',')?;
        }
        if values.is_null(element) {
            out.write_str("NULL")?;
            continue;
        }
        text.clear();
        write_short(values.as_ref(), element, &mut text)?;
        let quoted = text.is_empty()
            || text.eq_ignore_ascii_case("null")
            || text.contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || is_space(c));
        write_part(&text, quoted, "\\\"", out)?;
    }
    out.write_char('}')
}

/// Writes the row in row `row` of a struct column.
pub(super) fn write_row(array: &dyn Array, row: usize, out: &mut dyn Write) -> fmt::Result {
    out.write_char('(')?;
    let mut text = String::new();
    for (i, field) in array.as_struct().columns().iter().enumerate() {
        if i > 0 {
            out.write_char(',')?;
        }
        if field.is_null(row) {
            continue;
        }
        text.clear();
        write_short(field.as_ref(), row, &mut text)?;
        let quoted =
            text.is_empty() || text.contains(|c: char| matches!(c, '(' | ')' | ',' | '"' | '\\') || is_space(c));
        write_part(&text, quoted, "\"\"", out)?;
    }
    out.write_char(')')
}

/// As a type's output function writes it: booleans within arrays and rows are `t` and `f`.
fn write_short(array: &dyn Array, row: usize, out: &mut dyn Write) -> fmt::Result {
    match array.as_boolean_opt() {
        Some(values) => out.write_str(if values.value(row) { "t" } else { "f" }),
        None => write_value(array, row, out),
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

fn write_part(text: &str, quoted: bool, quote: &str, out: &mut dyn Write) -> fmt::Result {
    if !quoted {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str(quote)?,
            '\\' => out.write_str("\\\\")?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        let check = |text: &str, expected: Option<&[Option<&str>]>| {
            let found = read_array(text).ok();
            let found = found.as_ref().map(|parts| parts.iter().map(Option::as_deref).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("{}", Some(&[]));
        check(
            " { 1 , NULL,\"a b\" ,\"NULL\", x y } ",
            Some(&[Some("1"), None, Some("a b"), Some("NULL"), Some("x y")]),
        );
        check(r#"{"a\"b\\",a\,b}"#, Some(&[Some("a\"b\\"), Some("a,b")]));
        check("{1,}", None);
        check("{1", None);
        check("1,2", None);
        check("{\"a", None);
        check("{{1},{2}}", None);
    }

    #[test]
    fn rows() {
        let check = |text: &str, count, expected: Option<&[Option<&str>]>| {
            let found = read_row(text, count).ok();
            let found = found.as_ref().map(|parts| parts.iter().map(Option::as_deref).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("(1,,\"a,b\")", 3, Some(&[Some("1"), None, Some("a,b")]));
        check("()", 1, Some(&[None]));
        check("()", 0, Some(&[]));
        check(r#"("a""b\"c", d)"#, 2, Some(&[Some("a\"b\"c"), Some(" d")]));
        check("(1,2)", 3, None);
        check("(1", 1, None);
        check("1", 1, None);
    }
}
