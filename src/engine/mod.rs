//! Floor 9: sessions, statements, jobs and their life, the epoch coordinator, checkpoints, recovery.

mod api;

pub use api::{
    CancelReason, CancelToken, CopyFormat, Notice, Outcome, Prepared, RowStream, Severity, SqlChecker, SqlEngine, SqlSession,
    Statement, Tag, TransactionState,
};

#[cfg(test)]
pub mod fake;
