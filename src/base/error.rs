//! The one error of the crate: a kind that says what the reader must do, and what, where and how to mend.

use std::fmt;

/// What the reader of an error must do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Change the statement or the setting.
    Invalid,
    /// Look at the data.
    Fault,
    /// Wait or retry; the engine itself retries with backoff where it can.
    Unavailable,
    /// Retry the statement.
    Conflict,
    /// Restore from a backup; what is named was not touched again.
    Corrupt,
    /// Raise the named limit or send less.
    Limit,
    /// Report it: the engine broke one of its own guarantees.
    Internal,
}

/// SQLSTATEs that the engine sends (PostgreSQL 16, appendix A), by their PostgreSQL condition name.
pub mod sqlstate {
    macro_rules! states {
        ($($name:ident = $code:literal),* $(,)?) => { $(
            #[doc = concat!("SQLSTATE ", $code, ".")]
            pub const $name: &str = $code;
        )* };
    }
    states! {
        CONNECTION_EXCEPTION = "08000", PROTOCOL_VIOLATION = "08P01", FEATURE_NOT_SUPPORTED = "0A000",
        CARDINALITY_VIOLATION = "21000", DATA_EXCEPTION = "22000", NUMERIC_VALUE_OUT_OF_RANGE = "22003", INVALID_DATETIME_FORMAT = "22007",
        DATETIME_FIELD_OVERFLOW = "22008", SUBSTRING_ERROR = "22011", STRING_DATA_RIGHT_TRUNCATION = "22001", DIVISION_BY_ZERO = "22012", INVALID_LOG_ARGUMENT = "2201E", INVALID_POWER_ARGUMENT = "2201F", INVALID_WIDTH_BUCKET = "2201G",
        INVALID_REGULAR_EXPRESSION = "2201B", ARRAY_SUBSCRIPT_ERROR = "2202E", INVALID_PARAMETER_VALUE = "22023",
        INVALID_TEXT_REPRESENTATION = "22P02", UNTRANSLATABLE_CHARACTER = "22P05", NOT_NULL_VIOLATION = "23502", UNIQUE_VIOLATION = "23505",
        INVALID_TRANSACTION_STATE = "25000", ACTIVE_SQL_TRANSACTION = "25001", IN_FAILED_TRANSACTION = "25P02",
        INVALID_STATEMENT_NAME = "26000", INVALID_AUTHORIZATION = "28000", INVALID_PASSWORD = "28P01", DEPENDENT_OBJECTS_EXIST = "2BP01",
        INVALID_CURSOR_NAME = "34000", INVALID_CATALOG_NAME = "3D000", INVALID_SCHEMA_NAME = "3F000",
        SERIALIZATION_FAILURE = "40001", SYNTAX_ERROR = "42601", INSUFFICIENT_PRIVILEGE = "42501",
        GROUPING_ERROR = "42803", DATATYPE_MISMATCH = "42804", WRONG_OBJECT_TYPE = "42809",
        UNDEFINED_COLUMN = "42703", AMBIGUOUS_COLUMN = "42702", UNDEFINED_FUNCTION = "42883",
        UNDEFINED_TABLE = "42P01", UNDEFINED_PARAMETER = "42P02", INVALID_COLUMN_REFERENCE = "42P10", UNDEFINED_OBJECT = "42704",
        DUPLICATE_COLUMN = "42701", DUPLICATE_OBJECT = "42710", DUPLICATE_TABLE = "42P07",
        INVALID_TABLE_DEFINITION = "42P16", WINDOWING_ERROR = "42P20", DATATYPE_INDETERMINATE = "42P18",
        INSUFFICIENT_RESOURCES = "53000", TOO_MANY_CONNECTIONS = "53300", LIMIT_EXCEEDED = "53400",
        PROGRAM_LIMIT_EXCEEDED = "54000", STATEMENT_TOO_COMPLEX = "54001", OBJECT_NOT_IN_STATE = "55000",
        OBJECT_IN_USE = "55006", QUERY_CANCELED = "57014", ADMIN_SHUTDOWN = "57P01",
        CANNOT_CONNECT_NOW = "57P03", IO_ERROR = "58030", UNDEFINED_FILE = "58P01",
        INTERNAL_ERROR = "XX000", DATA_CORRUPTED = "XX001",
    }
}

impl ErrorKind {
    /// The SQLSTATE of an error of this kind that names no closer one.
    pub fn default_sqlstate(self) -> &'static str {
        match self {
            ErrorKind::Invalid => sqlstate::INVALID_PARAMETER_VALUE,
            ErrorKind::Fault => sqlstate::DATA_EXCEPTION,
            ErrorKind::Unavailable => sqlstate::CANNOT_CONNECT_NOW,
            ErrorKind::Conflict => sqlstate::SERIALIZATION_FAILURE,
            ErrorKind::Corrupt => sqlstate::DATA_CORRUPTED,
            ErrorKind::Limit => sqlstate::LIMIT_EXCEEDED,
            ErrorKind::Internal => sqlstate::INTERNAL_ERROR,
        }
    }
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The crate's error. One machine word wide; `Display` prints only the primary line.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    code: Option<&'static str>,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    position: Option<usize>,
    context: Vec<String>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind` with its primary message (lowercase, no final dot; names in double quotes).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Parts {
            kind,
            code: None,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The statement or setting must change.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The statement asks for what the engine does not do: SQLSTATE 0A000.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::invalid(message).with_code(sqlstate::FEATURE_NOT_SUPPORTED)
    }

    /// The statement does not parse: SQLSTATE 42601.
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::invalid(message).with_code(sqlstate::SYNTAX_ERROR)
    }

    /// The data is at fault.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fault, message)
    }

    /// Something needed is not there now; a retry may help.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// The statement lost against another one.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Bytes on disk are not what was written.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// A named limit was passed; say which setting raises it.
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    /// One of our own guarantees broke.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// With the SQLSTATE `code` (from [`sqlstate`]).
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// With a detail: whole sentences on what was expected and found.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// With a hint: whole sentences on how to mend it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// With the place in the statement's text: 1-based, counted in characters, as PostgreSQL's `P` field.
    pub fn at(mut self, position: usize) -> Self {
        self.0.position.get_or_insert(position);
        self
    }

    /// With the error beneath.
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// With one more line of where it happened, innermost first.
    pub fn context(mut self, line: impl Into<String>) -> Self {
        self.0.context.push(line.into());
        self
    }

    /// What the reader must do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The SQLSTATE sent to clients.
    pub fn sqlstate(&self) -> &'static str {
        self.0.code.unwrap_or_else(|| self.0.kind.default_sqlstate())
    }

    /// The primary line.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The detail, if any.
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The hint, if any.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The 1-based character position in the statement, if known.
    pub fn position(&self) -> Option<usize> {
        self.0.position
    }

    /// Lines of where it happened, innermost first.
    pub fn contexts(&self) -> &[String] {
        &self.0.context
    }

    /// Everything on several lines, for one who reports it: message, DETAIL, HINT, CONTEXT and causes.
    pub fn report(&self) -> String {
        let mut text = self.0.message.clone();
        if let Some(detail) = &self.0.detail {
            text.push_str("\nDETAIL: ");
            text.push_str(detail);
        }
        if let Some(hint) = &self.0.hint {
            text.push_str("\nHINT: ");
            text.push_str(hint);
        }
        for line in &self.0.context {
            text.push_str("\nCONTEXT: ");
            text.push_str(line);
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str("\nCAUSE: ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::internal(format!("arrow kernel refused its input: {error}")).caused_by(error)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::unavailable(format!("input or output stopped: {error}")).with_code(sqlstate::IO_ERROR).caused_by(error)
    }
}

/// Adds a context line to the error of any result, converting it to [`Error`].
pub trait ResultExt<T> {
    /// Adds `line` to the contexts if this is an error.
    fn context(self, line: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for Result<T, E> {
    fn context(self, line: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().context(line()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_holds_all_parts() {
        let error = Error::invalid("source \"x\" does not exist")
            .with_code(sqlstate::UNDEFINED_TABLE)
            .with_hint("Did you mean \"y\"?")
            .at(8)
            .context("in view \"v\"");
        assert_eq!(error.sqlstate(), "42P01");
        assert_eq!(error.position(), Some(8));
        assert_eq!(error.report(), "source \"x\" does not exist\nHINT: Did you mean \"y\"?\nCONTEXT: in view \"v\"");
        assert_eq!(Error::limit("x").sqlstate(), "53400");
    }
}
