//! Why a value cannot be read or computed: a primary message with its SQLSTATE, as data.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::{Error, sqlstate};

/// Why a row has no value: PostgreSQL's primary message and its SQLSTATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    code: &'static str,
    message: Text,
}

#[derive(Clone, Debug)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl Reason {
    /// A reason with SQLSTATE `code` and a primary message.
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let message = match message.into() {
            Cow::Borrowed(text) => Text::Static(text),
            Cow::Owned(text) => Text::Shared(text.into()),
        };
        Reason { code, message }
    }

    /// `division by zero`, 22012.
    pub fn division_by_zero() -> Self {
        Reason::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
    }

    /// `{type} out of range`, 22003.
    pub fn out_of_range(ty: &super::SqlType) -> Self {
        use super::SqlType::*;
        let message = match ty {
            SmallInt => "smallint out of range",
            Int => "integer out of range",
            BigInt => "bigint out of range",
            Real | Double => "value out of range: overflow",
            Decimal { .. } => "numeric field overflow",
            Date => return Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range"),
            Time => return Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, "time out of range"),
            Timestamp | TimestampTz => {
                return Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
            }
            Interval => return Reason::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range"),
            Boolean | Varchar | Bytea | Uuid | Jsonb | Array(_) | Row(_) => "value out of range",
        };
        Reason::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
    }

    /// The reason that an error gives.
    pub fn of(error: &Error) -> Self {
        Reason::new(error.sqlstate(), error.message().to_owned())
    }

    /// The SQLSTATE.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        self.message.as_str()
    }

    /// As an error of kind `Fault`, for where one bad row ends the statement.
    pub fn to_error(&self) -> Error {
        Error::fault(self.message().to_owned()).with_code(self.code)
    }
}
