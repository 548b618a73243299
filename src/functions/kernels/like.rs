//! LIKE and ILIKE, with any escape character.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar, StringArray, StringBuilder, new_null_array};
use arrow::compute::{ilike, like, not};
use arrow::datatypes::DataType;

use super::{Col, align, operand_faults};
use crate::base::Result;

/// Evaluates `text [NOT] LIKE pattern`.
pub(crate) fn matches(
    text: Col,
    pattern: Col,
    escape: Option<char>,
    [negated, insensitive]: [bool; 2],
    rows: usize,
) -> Result<Col> {
    let mut columns = [text, pattern];
    let (rows, scalar) = align(&mut columns, rows)?;
    let faults = operand_faults(&mut columns);
    let [text, pattern] = columns;
    if text.is_null_scalar() || pattern.is_null_scalar() {
        return Ok(Col { values: new_null_array(&DataType::Boolean, rows), scalar, faults });
    }
    let patterns = match escape {
        None | Some('\\') => Arc::clone(&pattern.values),
        Some(escape) => with_backslash(&pattern.values, escape),
    };
    let kernel = if insensitive { ilike } else { like };
    let held: BooleanArray = if pattern.scalar && is_plain(patterns.as_string::<i32>().value(0)) {
        match text.scalar {
            false => kernel(&text.values, &Scalar::new(patterns))?,
            true => kernel(&text.values as &dyn Datum, &patterns as &dyn Datum)?,
        }
    } else {
        let texts = Side { values: text.values.as_string::<i32>(), scalar: text.scalar };
        let patterns = Side { values: patterns.as_string::<i32>(), scalar: pattern.scalar };
        row_by_row(&texts, &patterns, insensitive, rows)
    };
    let held = if negated { not(&held)? } else { held };
    Ok(Col { values: Arc::new(held), scalar, faults })
}

/// Whether Arrow's kernel takes the pattern as PostgreSQL does: it makes a regular expression of it, whose size is bounded, and
/// knows a backslash only before what it makes plain.
fn is_plain(pattern: &str) -> bool {
    pattern.len() <= 4096 && !pattern.contains('\\')
}

/// Texts of rows, or one for all.
struct Side<'a> {
    values: &'a StringArray,
    scalar: bool,
}

impl<'a> Side<'a> {
    fn at(&self, row: usize) -> Option<&'a str> {
        let row = if self.scalar { 0 } else { row };
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

fn row_by_row(texts: &Side<'_>, patterns: &Side<'_>, insensitive: bool, rows: usize) -> BooleanArray {
    let (mut text_lower, mut pattern_lower) = (String::new(), String::new());
    let held = (0..rows).map(|row| {
        let (text, pattern) = (texts.at(row)?, patterns.at(row)?);
        if !insensitive {
            return Some(is_like(text.as_bytes(), pattern.as_bytes()));
        }
        for (lower, from) in [(&mut text_lower, text), (&mut pattern_lower, pattern)] {
            lower.clear();
            lower.extend(from.chars().flat_map(char::to_lowercase));
        }
        Some(is_like(text_lower.as_bytes(), pattern_lower.as_bytes()))
    });
    held.collect()
}

/// Whether UTF-8 `text` is like `pattern`: `%` any characters, `_` one, a backslash makes plain what follows. After the last `%`
/// that was met, each place is tried in turn.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut any: Option<(usize, usize)> = None;
    while at < text.len() {
        let step = match pattern.get(next) {
            Some(b'%') => {
                next += 1;
                any = Some((at, next));
                continue;
            }
            Some(b'_') => Some((character(text, at), 1)),
            Some(b'\\') if next + 1 < pattern.len() => (pattern[next + 1] == text[at]).then_some((1, 2)),
            Some(&byte) => (byte == text[at]).then_some((1, 1)),
            None => None,
        };
        match (step, any) {
            (Some((bytes, words)), _) => (at, next) = (at + bytes, next + words),
            (None, Some((from, behind))) => {
                let from = from + character(text, from);
                (at, next) = (from, behind);
                any = Some((from, behind));
            }
            (None, None) => return false,
        }
    }
    pattern[next..].iter().all(|byte| *byte == b'%')
}

/// The bytes of the character that begins at `at`.
fn character(text: &[u8], at: usize) -> usize {
    1 + text[at + 1..].iter().take_while(|byte| **byte & 0xc0 == 0x80).count()
}

/// Patterns written for the escape character `escape`, rewritten for backslash.
fn with_backslash(patterns: &ArrayRef, escape: char) -> ArrayRef {
    let patterns = patterns.as_string::<i32>();
    let mut rewritten = StringBuilder::with_capacity(patterns.len(), patterns.value_data().len());
    let mut text = String::new();
    for pattern in patterns {
        let Some(pattern) = pattern else {
            rewritten.append_null();
            continue;
        };
        text.clear();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let escaped = c == escape;
            let c = if escaped { chars.next().unwrap_or(c) } else { c };
            if c == '\\' || (escaped && matches!(c, '%' | '_')) {
                text.push('\\');
            }
            text.push(c);
        }
        rewritten.append_value(&text);
    }
    Arc::new(rewritten.finish())
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns() {
        let like = |text: &str, pattern: &str| is_like(text.as_bytes(), pattern.as_bytes());
        for (text, pattern) in [
            ("", ""),
            ("", "%%"),
            ("abc", "abc"),
            ("abc", "a%"),
            ("abc", "%c"),
            ("abc", "%b%"),
            ("abc", "___"),
            ("äöü", "_ö_"),
            ("äöü", "%ü"),
            ("a%c", "a\\%c"),
            ("a_c", "a\\_c"),
            ("a\\c", "a\\\\c"),
            ("axc", "a\\xc"),
            ("aab", "%a_"),
            ("mississippi", "m%iss%ip_i"),
            ("☃☃", "%_☃"),
            ("a\\", "a\\"),
            ("xaxbxc", "%a%b%c"),
        ] {
            assert!(like(text, pattern), "{text:?} LIKE {pattern:?}");
        }
        for (text, pattern) in [
            ("", "_"),
            ("a", ""),
            ("abc", "ab"),
            ("abc", "%d%"),
            ("abc", "____"),
            ("äöü", "__"),
            ("abc", "a\\%c"),
            ("mississippi", "m%iss%ipp"),
            ("xaxbx", "%a%b%c"),
            ("aXc", "a\\_c"),
        ] {
            assert!(!like(text, pattern), "{text:?} LIKE {pattern:?}");
        }
        let long = "x".repeat(1_000_000);
        assert!(like(&long, &format!("_{}%", &long[2..])));
    }
}
