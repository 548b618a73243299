//! DataFusion's errors as ours: what the reader must do about them.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

use crate::base::{Error, sqlstate};
use crate::functions::SEVERAL_ROWS;

/// `error` as one of ours. An error of ours that travelled through DataFusion comes out as it was.
pub fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::fault(other.to_string()).caused_by(other),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Shared(inner) => copy(&inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => from_datafusion(errors.swap_remove(0)),
        DataFusionError::ArrowError(inner, _) => from_arrow(*inner),
        other => described(&other),
    }
}

fn from_arrow(error: ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => match other.downcast::<DataFusionError>() {
                Ok(datafusion) => from_datafusion(*datafusion),
                Err(other) => Error::fault(other.to_string()).caused_by(other),
            },
        },
        other => described_arrow(&other),
    }
}

fn described_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::fault("division by zero").with_code(sqlstate::DIVISION_BY_ZERO),
        ArrowError::ArithmeticOverflow(what) => {
            Error::fault(format!("value out of range: {what}")).with_code(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE)
        }
        ArrowError::ParseError(what) | ArrowError::CastError(what) => {
            Error::fault(what.clone()).with_code(sqlstate::INVALID_TEXT_REPRESENTATION)
        }
        ArrowError::ComputeError(what) | ArrowError::InvalidArgumentError(what) => Error::fault(what.clone()),
        ArrowError::MemoryError(what) => memory(what),
        other => Error::internal(format!("query stopped in an Arrow kernel: {other}")),
    }
}

/// An error shared by several parts of a plan, which cannot be moved out.
fn copy(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => copy_ours(ours),
            None => Error::fault(inner.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::ExternalError(inner) => match inner.downcast_ref::<Error>() {
                Some(ours) => copy_ours(ours),
                None => Error::fault(inner.to_string()),
            },
            other => described_arrow(other),
        },
        other => described(other),
    }
}

fn copy_ours(ours: &Error) -> Error {
    let mut copy = Error::new(ours.kind(), ours.message()).with_code(ours.sqlstate());
    if let Some(detail) = ours.detail() {
        copy = copy.with_detail(detail);
    }
    if let Some(hint) = ours.hint() {
        copy = copy.with_hint(hint);
    }
    if let Some(position) = ours.position() {
        copy = copy.at(position);
    }
    ours.contexts().iter().fold(copy, |copy, line| copy.context(line.clone()))
}

fn described(error: &DataFusionError) -> Error {
    let text = message(error);
    match error {
        DataFusionError::ResourcesExhausted(what) => memory(what),
        DataFusionError::NotImplemented(_) => Error::unsupported(text),
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::Configuration(_) => {
            Error::invalid(text)
        }
        DataFusionError::Execution(_) if text == "Scalar subquery returned more than one row" => {
            Error::fault(SEVERAL_ROWS).with_code("21000")
        }
        DataFusionError::Execution(_) => Error::fault(text),
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => {
            Error::unavailable(text).with_code(sqlstate::IO_ERROR)
        }
        _ => Error::internal(format!("query stopped: {text}")),
    }
}

fn memory(what: &str) -> Error {
    Error::limit("query does not fit into the memory of all queries")
        .with_code(sqlstate::INSUFFICIENT_RESOURCES)
        .with_detail(format!("{}.", what.trim_end_matches('.')))
        .with_hint("Raise the setting query_memory_limit, or let the query sort, group or join fewer rows.")
}

/// The first line, without the prefix of DataFusion's layer.
fn message(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let prefixes =
        ["Execution error: ", "Error during planning: ", "Schema error: ", "This feature is not implemented: "];
    let tail = prefixes.iter().fold(text.as_str(), |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    tail.lines().next().unwrap_or(tail).trim_end_matches('.').to_owned()
}
