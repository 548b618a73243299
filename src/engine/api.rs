//! The seam between the engine and those who speak to it (wire, console, cli): plain types and two small traits, so
//! that either side can be tested without the other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;

use crate::base::scram::Verifier;
use crate::base::{Error, Result, SessionSettings, sqlstate};
use crate::types::{Schema, SqlType, Told};

/// Gives sessions.
#[async_trait]
pub trait SqlEngine: Send + Sync + 'static {
    /// What a client that says it is `user` has to prove first. Does not tell whether there is such a user.
    fn login(&self, user: &str) -> Login;

    /// Whether every client has to prove who it is.
    fn asks_passwords(&self) -> bool;

    /// A new session of `user`, who has proved it, on the connection with number `process`; an error refuses the
    /// connection.
    async fn open_session(&self, user: &str, process: i32) -> Result<Box<dyn SqlSession>>;

    /// Takes a last checkpoint and stops everything. Sessions that are still open get errors from then on.
    async fn shutdown(&self) -> Result<()>;
}

/// What a client has to prove.
#[derive(Clone, Debug, PartialEq)]
pub enum Login {
    /// Nothing: no role has a password.
    Trusted,
    /// That it knows the password of this verifier.
    Password(Box<Verifier>),
}

/// Plans statements without running them: for `millstream check`. Opens no file, no data directory, no outside system.
pub trait SqlChecker {
    /// Splits `sql` as [`SqlSession::parse`] does.
    fn parse(&mut self, sql: &str) -> Result<Vec<Statement>>;

    /// What EXPLAIN would print for `statement`, given the statements checked before it; empty for those that have no
    /// plan. What it creates is known to those that follow.
    fn check(&mut self, statement: &Statement) -> Result<String>;
}

/// One client's conversation: statements run one after another.
///
/// # Contract
/// 1. Positions in errors are 1-based characters in the text given to [`SqlSession::parse`]; otherwise clients point
///    at the wrong place.
/// 2. A future or a row stream may be dropped at any moment: the statement then counts as cancelled, nothing of it
///    stays locked, and the session goes on. A caller that cancels waits a moment for the token to be heeded first.
/// 3. Work is done off the caller's runtime: awaiting costs the caller nothing. Otherwise a heavy SELECT starves
///    accept and cancel.
/// 4. `changes()` of the settings grows with every SET that changed something; clients are told by it.
#[async_trait]
pub trait SqlSession: Send {
    /// Splits `sql` at its semicolons. No statement (blank, comments) is no error. Statements behind a syntax error are
    /// not given: the whole text is refused, as PostgreSQL does.
    fn parse(&mut self, sql: &str) -> Result<Vec<Statement>>;

    /// The types of the statement's parameters (given ones kept, others inferred) and of its rows, without running it.
    async fn prepare(&mut self, statement: &Statement, parameters: &[Option<SqlType>]) -> Result<Prepared>;

    /// Runs `statement`. Each parameter is an array of one value: of its type's Arrow type, or `Utf8` for a text that
    /// is to be read as SQL reads `'text'::type`. Parameters beyond what the statement uses are ignored.
    async fn execute(&mut self, statement: &Statement, parameters: &[ArrayRef], cancel: CancelToken)
    -> Result<Outcome>;

    /// What `statement` says of things that the caller keeps: prepared statements and cursors. Such statements are not
    /// executed by the session.
    fn directive(&self, statement: &Statement) -> Result<Option<Directive>>;

    /// Brings `rows` of the schema of an [`Outcome::CopyIn`] into the table of its statement.
    async fn copy_in(&mut self, statement: &Statement, rows: Vec<RecordBatch>, cancel: CancelToken) -> Result<Outcome>;

    /// An error outside of the session's own statements: an open block fails by it.
    async fn fail(&mut self);

    /// Makes the statements of one simple query take effect together, if they can: whether it did, and `close_together`
    /// must be called behind the last one.
    async fn open_together(&mut self, statements: &[Statement]) -> Result<bool>;

    /// Ends what `open_together` began: with effect, or without any.
    async fn close_together(&mut self, effect: bool) -> Result<()>;

    /// Where the session stands between BEGIN and COMMIT.
    fn transaction(&self) -> TransactionState;

    /// The session's settings.
    fn settings(&self) -> &SessionSettings;

    /// The session's settings, for what a client asks at its start.
    fn settings_mut(&mut self) -> &mut SessionSettings;
}

/// One statement of a text. Cheap to clone.
#[derive(Clone)]
pub struct Statement {
    /// Its own text, without the semicolon.
    pub text: Arc<str>,
    /// The 1-based character of the whole text at which it begins.
    pub position: usize,
    /// What the session's parser made of it; only the session looks inside.
    pub parsed: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Statement({:?} at {})", self.text, self.position)
    }
}

/// What is known of a statement before it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prepared {
    /// The type of each parameter, `$1` first.
    pub parameters: Vec<SqlType>,
    /// What clients are told of parameters whose type says less.
    pub told: Told,
    /// The rows it will give; none for a statement that gives none (also COPY … TO STDOUT).
    pub columns: Option<Schema>,
}

/// Rows as they become known. Dropping it ends the statement.
pub type RowStream = BoxStream<'static, Result<RecordBatch>>;

/// What a statement gave.
pub enum Outcome {
    /// Rows of `schema`, to be followed by the command tag.
    Rows {
        /// Columns, in the order of the batches.
        schema: Schema,
        /// The rows.
        rows: RowStream,
        /// Whether they are the changes of a relation, which never end.
        follows: bool,
        /// The command tag.
        tag: Tag,
        /// Notices to be sent before the rows.
        notices: Vec<Notice>,
    },
    /// Rows of a `COPY … TO STDOUT`.
    CopyOut {
        /// Columns, in the order of the batches.
        schema: Schema,
        /// The rows.
        rows: RowStream,
        /// Whether they are the changes of a relation, which never end.
        follows: bool,
        /// How they are written.
        format: CopyFormat,
    },
    /// Rows are to be read from the client, and brought in with [`SqlSession::copy_in`].
    CopyIn {
        /// The columns of the rows.
        schema: Schema,
        /// How they are written.
        format: CopyFormat,
    },
    /// No rows.
    Done {
        /// The command tag: `INSERT 0 3`, `CREATE MATERIALIZED VIEW`.
        tag: String,
        /// What else the client should know.
        notices: Vec<Notice>,
    },
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Rows { tag, .. } => write!(f, "Rows({tag:?})"),
            Outcome::CopyOut { format, .. } => write!(f, "CopyOut({format:?})"),
            Outcome::CopyIn { format, .. } => write!(f, "CopyIn({format:?})"),
            Outcome::Done { tag, .. } => write!(f, "Done({tag})"),
        }
    }
}

/// What a statement says of things that a connection keeps.
#[derive(Clone, Debug)]
pub enum Directive {
    /// `PREPARE`: keep `statement`; the types of its first parameters are given.
    Prepare {
        /// Under which name.
        name: String,
        /// Types of parameters.
        types: Vec<SqlType>,
        /// The statement.
        statement: Statement,
    },
    /// `EXECUTE`.
    Execute {
        /// Which prepared statement.
        name: String,
        /// A query whose one row holds the parameters; none: there are none.
        values: Option<Statement>,
    },
    /// `DEALLOCATE`; none: all.
    Deallocate(Option<String>),
    /// `DECLARE`: keep the rows of `statement`.
    Declare {
        /// Under which name.
        name: String,
        /// Beyond the end of the block.
        hold: bool,
        /// In binary.
        binary: bool,
        /// What gives the rows.
        statement: Statement,
    },
    /// `FETCH`, `MOVE`.
    Fetch {
        /// Which cursor.
        name: String,
        /// How many rows; none: all.
        count: Option<u64>,
        /// `MOVE`: rows are not sent.
        passes_over: bool,
    },
    /// `CLOSE`; none: all.
    Close(Option<String>),
    /// `DISCARD ALL`: nothing is kept, settings are as at the start.
    DiscardAll,
}

/// A command tag of a statement that gives rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The words, then how many rows were sent: `SELECT 5`, `INSERT 0 2`.
    Counted(&'static str),
    /// The words alone: `SHOW`, `EXPLAIN`.
    Plain(&'static str),
}

impl Tag {
    /// As it is sent after `rows` rows.
    pub fn text(&self, rows: u64) -> String {
        match self {
            Tag::Counted(words) => format!("{words} {rows}"),
            Tag::Plain(words) => words.to_string(),
        }
    }
}

/// How COPY writes and reads rows; the defaults are those of its text format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// PostgreSQL's binary format; nothing below counts.
    pub binary: bool,
    /// CSV instead of text.
    pub csv: bool,
    /// A first line of column names.
    pub header: bool,
    /// Between two values.
    pub delimiter: u8,
    /// How NULL is written.
    pub null: String,
    /// Around values that need it (CSV only).
    pub quote: u8,
    /// Before a quote inside a quoted value (CSV only).
    pub escape: u8,
}

impl CopyFormat {
    /// Tab-separated text, NULL as `\N`.
    pub fn text() -> Self {
        CopyFormat {
            binary: false,
            csv: false,
            header: false,
            delimiter: b'\t',
            null: "\\N".to_string(),
            quote: b'"',
            escape: b'"',
        }
    }

    /// Comma-separated values, NULL as nothing.
    pub fn csv() -> Self {
        CopyFormat { csv: true, delimiter: b',', null: String::new(), ..CopyFormat::text() }
    }
}

/// How important a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Notice,
    /// Something to look at.
    Warning,
}

/// What a client should know though nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How important it is.
    pub severity: Severity,
    /// The line, in the style of an error's message.
    pub message: String,
    /// Whole sentences on what was found.
    pub detail: Option<String>,
    /// Whole sentences on what to do.
    pub hint: Option<String>,
}

impl Notice {
    /// A notice of one line.
    pub fn new(message: impl Into<String>) -> Self {
        Notice { severity: Severity::Notice, message: message.into(), detail: None, hint: None }
    }

    /// A warning of one line.
    pub fn warning(message: impl Into<String>) -> Self {
        Notice { severity: Severity::Warning, ..Notice::new(message) }
    }

    /// With a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Where a session stands between BEGIN and COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Not in a transaction block.
    Idle,
    /// In one.
    Open,
    /// In one that failed: only ROLLBACK is heeded.
    Failed,
}

/// Why a statement is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    /// The client asked for it.
    Client,
    /// It ran longer than `statement_timeout`.
    Timeout,
    /// The connection is gone.
    Disconnected,
    /// The server stops.
    Shutdown,
}

impl CancelReason {
    /// The error with which the statement ends.
    pub fn error(self) -> Error {
        match self {
            CancelReason::Client => {
                Error::unavailable("canceling statement due to user request").with_code(sqlstate::QUERY_CANCELED)
            }
            CancelReason::Timeout => Error::limit("canceling statement due to statement timeout")
                .with_code(sqlstate::QUERY_CANCELED)
                .with_hint("Raise it: SET statement_timeout = '10min', or 0 for no limit."),
            CancelReason::Disconnected => {
                Error::unavailable("connection to client is gone").with_code(sqlstate::CONNECTION_EXCEPTION)
            }
            CancelReason::Shutdown => Error::unavailable("terminating connection because the server stops")
                .with_code(sqlstate::ADMIN_SHUTDOWN)
                .with_hint("Connect again when it is back."),
        }
    }
}

/// Tells a running statement to stop. Clones share one state; once cancelled it stays so.
#[derive(Clone, Debug)]
pub struct CancelToken {
    reason: Arc<watch::Sender<Option<CancelReason>>>,
}

impl Default for CancelToken {
    fn default() -> Self {
        CancelToken { reason: Arc::new(watch::Sender::new(None)) }
    }
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Cancels; the first reason stays.
    pub fn cancel(&self, reason: CancelReason) {
        self.reason.send_if_modified(|present| {
            let first = present.is_none();
            present.get_or_insert(reason);
            first
        });
    }

    /// Whether and why it is cancelled.
    pub fn reason(&self) -> Option<CancelReason> {
        *self.reason.borrow()
    }

    /// `Err` with the reason's error once cancelled: for loops between two steps of work.
    pub fn check(&self) -> Result<()> {
        self.reason().map_or(Ok(()), |reason| Err(reason.error()))
    }

    /// Waits until it is cancelled.
    pub async fn cancelled(&self) -> CancelReason {
        let mut receiver = self.reason.subscribe();
        loop {
            if let Some(reason) = *receiver.borrow_and_update() {
                return reason;
            }
            if receiver.changed().await.is_err() {
                // The sender lives as long as this token.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let token = CancelToken::new();
        assert!(token.check().is_ok());
        token.clone().cancel(CancelReason::Timeout);
        token.cancel(CancelReason::Client);
        assert_eq!(token.reason(), Some(CancelReason::Timeout));
        assert_eq!(token.check().unwrap_err().sqlstate(), "57014");
        assert_eq!(futures::executor::block_on(token.cancelled()), CancelReason::Timeout);
    }

    #[test]
    fn tags_count_where_postgres_counts() {
        assert_eq!(Tag::Counted("SELECT").text(3), "SELECT 3");
        assert_eq!(Tag::Plain("SHOW").text(1), "SHOW");
    }
}
