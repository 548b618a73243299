//! Script files: read, and errors placed in them.

use std::path::Path;

use crate::base::{Error, Result, sqlstate};

/// The text of `file`.
pub fn read(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|error| {
        Error::invalid(format!("script \"{}\" does not open: {error}", file.display()))
            .with_code(sqlstate::UNDEFINED_FILE)
            .caused_by(error)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        Error::invalid(format!("script \"{}\" is not UTF-8", file.display()))
            .with_detail(format!("Byte {} begins no character.", error.utf8_error().valid_up_to()))
    })
}

/// `error` with its place in `sql`: file, line, column, and the line itself with a mark.
pub fn located(error: Error, file: &Path, sql: &str) -> Error {
    let Some(position) = error.position() else { return error };
    let before: String = sql.chars().take(position.saturating_sub(1)).collect();
    let line_number = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&character| character != '\n').count() + 1;
    let line = sql.lines().nth(line_number - 1).unwrap_or_default();
    let mark = " ".repeat(column - 1);
    error.context(format!("at {}:{line_number}:{column}\n  {line}\n  {mark}^", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_placed() {
        let error = Error::syntax("no").at(12);
        let error = located(error, Path::new("a.sql"), "SELECT 1;\nFÄIL x;\n");
        assert_eq!(error.report(), "no\nCONTEXT: at a.sql:2:2\n  FÄIL x;\n   ^");
    }
}
