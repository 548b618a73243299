//! LIKE and ILIKE, with any escape character.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, Scalar, StringBuilder, new_null_array};
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
    let held: BooleanArray = match (text.scalar, pattern.scalar) {
        (false, true) => kernel(&text.values, &Scalar::new(patterns))?,
        (true, false) => {
            let text = text.spread(rows)?;
            kernel(&text.values, &patterns)?
        }
        (false, false) | (true, true) => kernel(&text.values as &dyn Datum, &patterns as &dyn Datum)?,
    };
    let held = if negated { not(&held)? } else { held };
    Ok(Col { values: Arc::new(held), scalar, faults })
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
