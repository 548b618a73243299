//! DataFusion's planning errors as ours: SQLSTATE, position, the nearest name.

use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};

use crate::base::{Error, Result, did_you_mean, sqlstate};

/// Carries one of our errors through DataFusion.
pub(super) fn carry(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A planning result as ours.
pub(super) fn planned<T>(result: Result<T, DataFusionError>) -> Result<T> {
    result.map_err(|error| translate(error, None))
}

/// `error` as ours; `position` is used when the error knows no closer one.
pub(super) fn translate(error: DataFusionError, position: Option<usize>) -> Error {
    let translated = match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let at = diagnostic_position(&diagnostic).or(position);
            return translate(*inner, at);
        }
        DataFusionError::Context(_, inner) => return translate(*inner, position),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => {
            return translate(errors.swap_remove(0), position);
        }
        DataFusionError::Shared(inner) => from_text(&inner.strip_backtrace()),
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => from_text(&other.to_string()),
        },
        DataFusionError::SchemaError(inner, _) => schema_error(*inner),
        DataFusionError::SQL(inner, _) => Error::syntax(inner.to_string()),
        DataFusionError::NotImplemented(text) => {
            Error::unsupported(lowercase(&format!("this is not supported: {}", first_line(&text))))
        }
        DataFusionError::ArrowError(inner, _) => {
            Error::fault(lowercase(&inner.to_string())).with_code(sqlstate::DATA_EXCEPTION)
        }
        other => from_text(&other.strip_backtrace()),
    };
    match position {
        Some(at) => translated.at(at),
        None => translated,
    }
}

fn diagnostic_position(diagnostic: &Diagnostic) -> Option<usize> {
    diagnostic.span.map(|span| span.start.column as usize).filter(|&at| at > 0)
}

fn schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => column_not_found(&field, &valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Error::invalid(format!("column reference \"{}\" is ambiguous", field.name))
                .with_code(sqlstate::AMBIGUOUS_COLUMN)
                .with_hint(format!("Say of which relation: relation.{}.", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("column \"{name}\" stands twice"))
                .with_code(sqlstate::DUPLICATE_COLUMN)
                .with_hint("Rename one of them with AS.")
        }
    }
}

/// 42703, or 42P01 when it is the relation before the point that is not there.
pub(super) fn column_not_found(field: &Column, valid: &[Column]) -> Error {
    if let Some(relation) = &field.relation
        && !valid.iter().any(|column| column.relation.as_ref().is_some_and(|known| known.table() == relation.table()))
    {
        let known = valid.iter().filter_map(|column| column.relation.as_ref().map(|relation| relation.table()));
        let error = Error::invalid(format!("missing FROM-clause entry for table \"{}\"", relation.table()))
            .with_code(sqlstate::UNDEFINED_TABLE);
        return hinted(error, did_you_mean(relation.table(), known));
    }
    let candidates = valid
        .iter()
        .filter(|column| field.relation.is_none() || column.relation == field.relation)
        .map(|column| column.name.as_str())
        .filter(|name| !name.starts_with("__"));
    let shown = match &field.relation {
        Some(relation) => format!("{}.{}", relation.table(), field.name),
        None => format!("\"{}\"", field.name),
    };
    let error = Error::invalid(format!("column {shown} does not exist")).with_code(sqlstate::UNDEFINED_COLUMN);
    hinted(error, did_you_mean(&field.name, candidates))
}

pub(super) fn hinted(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What DataFusion only says in words.
fn from_text(text: &str) -> Error {
    let text = first_line(text);
    let text = ["Error during planning: ", "Execution error: ", "External error: ", "Internal error: "]
        .iter()
        .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    if let Some((column, _)) = text
        .strip_prefix(
            "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"",
        )
        .and_then(|rest| rest.split_once('"'))
    {
        return Error::invalid(format!(
            "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
        ))
        .with_code(sqlstate::GROUPING_ERROR)
        .with_hint("Add it to GROUP BY, or wrap it in min() or max().");
    }
    let lower = text.to_lowercase();
    let code = if lower.contains("group by") {
        sqlstate::GROUPING_ERROR
    } else if lower.contains("coerce") || lower.contains("common type") || lower.contains("cast") {
        sqlstate::DATATYPE_MISMATCH
    } else if lower.contains("function") || lower.contains("signature") {
        sqlstate::UNDEFINED_FUNCTION
    } else {
        sqlstate::SYNTAX_ERROR
    };
    let error = Error::invalid(lowercase(text)).with_code(code);
    if code == sqlstate::DATATYPE_MISMATCH {
        error.with_hint("Add casts so that both sides have one type.")
    } else {
        error
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn lowercase(text: &str) -> String {
    let text = text.trim_end_matches('.');
    // A keyword stays as it is.
    if text.chars().nth(1).is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
