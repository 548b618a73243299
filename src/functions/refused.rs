//! Functions that DataFusion has under a PostgreSQL name but with another meaning, and volatile ones.

use crate::base::{Error, sqlstate};

/// Functions whose patterns are chrono's, not PostgreSQL's: a wrong answer without a word.
pub(crate) const OTHER_PATTERNS: &[&str] = &["to_time"];

/// Functions of DataFusion that are meant for its own types and tests.
const INTERNAL: &[&str] =
    &["arrow_cast", "arrow_typeof", "arrow_metadata", "arrow_try_cast", "version", "union_extract"];

/// All refused names.
pub(crate) const NAMES: &[&str] =
    &["to_time", "arrow_cast", "arrow_typeof", "arrow_metadata", "arrow_try_cast", "version", "union_extract"];

/// Why the function `name` is refused, if it is.
pub fn why(name: &str) -> Option<Error> {
    let name = name.to_ascii_lowercase();
    if OTHER_PATTERNS.contains(&name.as_str()) {
        return Some(
            Error::unsupported(format!("function {name} is not supported yet"))
                .with_detail("Its format patterns would mean something else here than in PostgreSQL.")
                .with_hint("Use CAST, EXTRACT or date_trunc."),
        );
    }
    INTERNAL
        .contains(&name.as_str())
        .then(|| Error::invalid(format!("function {name} does not exist")).with_code(sqlstate::UNDEFINED_FUNCTION))
}

/// A volatile function in a stored query.
pub fn volatile(name: &str) -> Error {
    Error::unsupported(format!("volatile function {name} cannot stand in a stored query"))
        .with_detail("Its result would differ each time the query is replayed.")
        .with_hint("Compute the value when the row is inserted and store it in a column.")
}
