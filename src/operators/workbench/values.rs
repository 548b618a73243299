//! Rows as text: `(1, 'a', NULL)`, read and written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::types::{Column, Schema, SqlType};

/// A schema from `name type` pairs: `a bigint, b varchar`.
pub(in crate::operators) fn schema(text: &str) -> Schema {
    let column = |part: &str| {
        let (name, ty) = part.trim().split_once(' ').unwrap_or_else(|| panic!("column without type: {part:?}"));
        Column::new(name, sql_type(ty.trim()))
    };
    Schema::new(text.split(',').filter(|part| !part.trim().is_empty()).map(column).collect())
}

fn sql_type(name: &str) -> SqlType {
    if let Some(element) = name.strip_suffix("[]") {
        return SqlType::Array(Box::new(sql_type(element)));
    }
    match name {
        "boolean" => SqlType::Boolean,
        "smallint" => SqlType::SmallInt,
        "int" => SqlType::Int,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "double" => SqlType::Double,
        "numeric" => SqlType::NUMERIC,
        "varchar" => SqlType::Varchar,
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "timestamp" => SqlType::Timestamp,
        "timestamptz" => SqlType::TimestampTz,
        "interval" => SqlType::Interval,
        "uuid" => SqlType::Uuid,
        "jsonb" => SqlType::Jsonb,
        other => panic!("no type {other:?} in scripts"),
    }
}

/// Row `row` as `(v, v, …)`; text and times in single quotes.
pub(in crate::operators) fn row_text(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let values: Vec<String> = rows
        .columns()
        .iter()
        .map(|column| {
            let text = ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string();
            let bare = column.is_null(row) || column.data_type().is_numeric() || text == "true" || text == "false";
            if bare { text } else { format!("'{}'", text.replace('\'', "''")) }
        })
        .collect();
    format!("({})", values.join(", "))
}

/// Rows of `schema` from `(v, v, …)` texts.
pub(in crate::operators) fn batch_of_text(schema: &Schema, rows: &[&str]) -> RecordBatch {
    let rows: Vec<Vec<Option<String>>> = rows.iter().map(|row| split_row(row)).collect();
    for row in &rows {
        assert_eq!(row.len(), schema.columns.len(), "row {row:?} is not of {:?}", schema.types());
    }
    let columns: Vec<ArrayRef> = (0..schema.columns.len())
        .map(|i| {
            let texts: ArrayRef = Arc::new(rows.iter().map(|row| row[i].as_deref()).collect::<StringArray>());
            let column = cast(&texts, &schema.columns[i].ty.arrow()).unwrap();
            assert_eq!(column.null_count(), texts.null_count(), "a value of {rows:?} is not of its type");
            column
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.arrow(), columns, &options).unwrap()
}

/// The values of `(v, 'v', NULL)`; `None` is NULL.
fn split_row(text: &str) -> Vec<Option<String>> {
    let inner = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')')).expect("a row in parentheses");
    let mut values = Vec::new();
    let mut value = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let mut end = |value: &mut String, was_quoted: &mut bool| {
        let text = if *was_quoted { std::mem::take(value) } else { std::mem::take(value).trim().to_owned() };
        values.push((*was_quoted || text != "NULL").then_some(text));
        *was_quoted = false;
    };
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' if quoted && chars.peek() == Some(&'\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => {
                if !quoted {
                    value.clear();
                }
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => end(&mut value, &mut was_quoted),
            c if was_quoted && !quoted => assert!(c.is_whitespace(), "text after a quoted value in {text:?}"),
            c => value.push(c),
        }
    }
    if !inner.trim().is_empty() {
        end(&mut value, &mut was_quoted);
    }
    values
}

/// `+1 (…) -2 (…)` as weights and row texts.
pub(super) fn split_deltas(text: &str) -> Vec<(i64, &str)> {
    let mut deltas = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (weight, row) = rest.split_at(rest.find('(').expect("a row in parentheses"));
        let (mut quoted, mut end) = (false, None);
        for (at, c) in row.char_indices() {
            match c {
                '\'' => quoted = !quoted,
                ')' if !quoted => {
                    end = Some(at + 1);
                    break;
                }
                _ => {}
            }
        }
        let (row, after) = row.split_at(end.expect("a row ends with a parenthesis"));
        deltas.push((weight.trim().parse().expect("a weight such as +1"), row));
        rest = after.trim_start();
    }
    deltas
}
