//! What a statement says, before any name in it is looked up.

mod access;
mod ddl;
mod dml;
mod function;
mod looks;
mod secret;
mod session;

use std::collections::BTreeMap;
use std::fmt;

use sqlparser::ast;

pub use access::{AccessStatement, CreateRole, GrantRights, GrantRole, ObjectName, RoleName};
pub use ddl::{Comment, CreateIndex, CreateSchema, DropSchema, Rename};
pub use dml::{ConflictAction, Delete, Insert, OnConflict, Update};
pub use function::{CreateFunction, FunctionParameter};
pub use secret::SecretStatement;
pub use session::{Copied, CopyFormat, CopyIn, CopyOptions, Declare, Execute, Fetch, Prepare};
pub use sqlparser::ast::Query;

/// One statement of a text, with where it stands.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    /// What it says.
    pub statement: Statement,
    /// The statement as written, without the semicolon: what the catalog keeps.
    pub text: String,
    /// Where it begins in the whole text: 1-based, in characters. Positions in errors count in the whole text.
    pub position: usize,
}

/// A name as written, folded to lower case unless it was quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The schema before the point, if one was written.
    pub schema: Option<String>,
    /// The name itself.
    pub name: String,
    /// Where it stands (1-based, characters); 0 if unknown.
    pub position: usize,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Every statement that the engine executes.
#[derive(Clone, Debug)]
pub enum Statement {
    /// Nothing between two semicolons.
    Empty,
    /// `CREATE SOURCE`.
    CreateSource(CreateRelation),
    /// `CREATE TABLE`.
    CreateTable(CreateRelation),
    /// `CREATE VIEW`.
    CreateView(CreateView),
    /// `CREATE MATERIALIZED VIEW`.
    CreateMaterializedView(CreateView),
    /// `CREATE SINK`.
    CreateSink(CreateSink),
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `CREATE FUNCTION`.
    CreateFunction(Box<CreateFunction>),
    /// `CREATE SCHEMA`.
    CreateSchema(CreateSchema),
    /// `DROP SOURCE | TABLE | VIEW | MATERIALIZED VIEW | SINK | INDEX | FUNCTION`.
    Drop(Drop),
    /// `DROP SCHEMA`.
    DropSchema(DropSchema),
    /// `ALTER ... RENAME TO`.
    Rename(Rename),
    /// `COMMENT ON`.
    Comment(Comment),
    /// Roles, rights and secrets: `CREATE ROLE`, `GRANT`, ...
    Access(Box<AccessStatement>),
    /// `INSERT INTO`.
    Insert(Box<Insert>),
    /// `UPDATE`.
    Update(Box<Update>),
    /// `DELETE FROM`.
    Delete(Box<Delete>),
    /// `SELECT`, `VALUES`, `WITH`, `TABLE`.
    Query(Box<Query>),
    /// `SUBSCRIBE TO`.
    Subscribe(Subscribe),
    /// `COPY (...) TO STDOUT`.
    Copy(Copy),
    /// `COPY table FROM STDIN`.
    CopyIn(CopyIn),
    /// The same, with the rows that came.
    Copied(Copied),
    /// `EXPLAIN`.
    Explain(Box<Explain>),
    /// `SHOW`.
    Show(Show),
    /// `DESCRIBE x`.
    Describe(Name),
    /// `FLUSH`.
    Flush,
    /// `WAIT FOR x, ...`.
    WaitFor(Vec<Name>),
    /// `REFRESH MATERIALIZED VIEW x`: waits for it, as it is kept up to date.
    Refresh(Name),
    /// `SET name = value`.
    Set(Set),
    /// `RESET name`, `RESET ALL` (`None`).
    Reset(Option<String>),
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`.
    Commit,
    /// `ROLLBACK`, `ABORT`.
    Rollback,
    /// `DISCARD ALL | PLANS | TEMP | SEQUENCES`.
    Discard,
    /// `DEALLOCATE name`, `DEALLOCATE ALL` (`None`).
    Deallocate(Option<String>),
    /// `PREPARE`.
    Prepare(Prepare),
    /// `EXECUTE`.
    Execute(Execute),
    /// `DECLARE`.
    Declare(Declare),
    /// `FETCH`, `MOVE`.
    Fetch(Fetch),
    /// `CLOSE name`, `CLOSE ALL` (`None`).
    Close(Option<String>),
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `ROLLBACK TO name`.
    RollbackTo(String),
    /// `RELEASE name`.
    Release(String),
    /// `UNLISTEN`: nobody listens.
    Unlisten,
}

/// The kinds of object that statements name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A source.
    Source,
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// A sink.
    Sink,
    /// An index.
    Index,
    /// A function.
    Function,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Source => "source",
            ObjectKind::Table => "table",
            ObjectKind::View => "view",
            ObjectKind::MaterializedView => "materialized view",
            ObjectKind::Sink => "sink",
            ObjectKind::Index => "index",
            ObjectKind::Function => "function",
        })
    }
}

/// `CREATE SOURCE` and `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct CreateRelation {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Declared columns, generated ones among them, in order. Empty: to be asked of the connector.
    pub columns: Vec<ColumnDeclaration>,
    /// Columns of `PRIMARY KEY`, wherever it was written.
    pub primary_key: Vec<Name>,
    /// `WATERMARK FOR column AS expression`.
    pub watermark: Option<WatermarkDeclaration>,
    /// `INCLUDE`: what the connector knows beside the record.
    pub include: Vec<Include>,
    /// `WITH (...)`; absent for a table without connector.
    pub options: Options,
    /// `FORMAT ... ENCODE ... (...)`.
    pub format: Option<FormatClause>,
}

/// One column of a column list.
#[derive(Clone, Debug)]
pub struct ColumnDeclaration {
    /// Its name.
    pub name: Name,
    /// Its type; `None` only for a generated column, which has its expression's.
    pub data_type: Option<ast::DataType>,
    /// `NOT NULL`.
    pub not_null: bool,
    /// `DEFAULT`.
    pub default: Option<ast::Expr>,
    /// `AS expression`, `GENERATED ALWAYS AS (expression) STORED`.
    pub generated: Option<ast::Expr>,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug)]
pub struct WatermarkDeclaration {
    /// The event-time column.
    pub column: Name,
    /// What it promises.
    pub expression: ast::Expr,
}

/// One entry of `INCLUDE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// `partition`, `offset`, `timestamp`, `key`, `headers`.
    pub what: Name,
    /// The column's name: `AS name`, or `_what`.
    pub column: String,
}

/// Options as written: key → value, with where each key stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Keys folded to lower case, dots kept.
    pub values: BTreeMap<String, OptionValue>,
}

impl Options {
    /// Where the key of an option stands; 0 if it was not given.
    pub fn position(&self, key: &str) -> usize {
        self.values.get(key).map_or(0, |value| value.position)
    }
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue {
    /// Its text: of a string literal the contents, else as written; empty for a secret until it was looked up.
    pub text: String,
    /// The secret whose value it is.
    pub secret: Option<Name>,
    /// Where its key stands (1-based, characters).
    pub position: usize,
}

/// `FORMAT envelope ENCODE encoding (options)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatClause {
    /// How rows are enveloped.
    pub envelope: Envelope,
    /// How bytes spell a row.
    pub encoding: Encoding,
    /// Options of the encoding.
    pub options: Options,
    /// Where the clause begins.
    pub position: usize,
}

/// Which change a record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Every record is an insert.
    Plain,
}

/// How bytes spell a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One JSON object per line.
    Json,
    /// Comma-separated values.
    Csv,
    /// Parquet files.
    Parquet,
}

impl Encoding {
    /// Its name in messages and in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::Csv => "csv",
            Encoding::Parquet => "parquet",
        }
    }
}

/// When a view shows its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitClause {
    /// The current answer, revised each epoch: the default.
    Changes,
    /// `EMIT ON WINDOW CLOSE`, with where it stands.
    WindowClose {
        /// Where the clause begins (1-based, characters).
        position: usize,
    },
}

/// `CREATE VIEW` and `CREATE MATERIALIZED VIEW`.
#[derive(Clone, Debug)]
pub struct CreateView {
    /// Its name.
    pub name: Name,
    /// `OR REPLACE` (views only).
    pub or_replace: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Names for the columns; empty: those of the query.
    pub columns: Vec<Name>,
    /// `WITH (...)`.
    pub options: Options,
    /// The query.
    pub query: Box<Query>,
    /// The query as written.
    pub query_text: String,
    /// Its emit mode.
    pub emit: EmitClause,
}

/// `CREATE SINK`.
#[derive(Clone, Debug)]
pub struct CreateSink {
    /// Its name.
    pub name: Name,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// What it sends.
    pub from: SinkFrom,
    /// `WITH (...)`.
    pub options: Options,
    /// `FORMAT ... ENCODE ...`.
    pub format: Option<FormatClause>,
}

/// What a sink sends.
#[derive(Clone, Debug)]
pub enum SinkFrom {
    /// `FROM relation`.
    Relation(Name),
    /// `AS query [EMIT ON WINDOW CLOSE]`.
    Query {
        /// The query.
        query: Box<Query>,
        /// Its emit mode.
        emit: EmitClause,
    },
}

/// `DROP`.
#[derive(Clone, Debug)]
pub struct Drop {
    /// Of what kind.
    pub kind: ObjectKind,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// Which.
    pub names: Vec<Name>,
    /// `CASCADE`.
    pub cascade: bool,
}

/// `SUBSCRIBE TO relation [WITH (...)] [AS OF epoch]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Which relation.
    pub relation: Name,
    /// Whether the present contents come first (default true).
    pub snapshot: bool,
    /// Whether epochs without changes are told (default false).
    pub progress: bool,
    /// Resume after this epoch.
    pub as_of: Option<u64>,
}

/// `COPY (...) TO STDOUT [WITH (...)]`.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is copied.
    pub from: CopyFrom,
    /// In which spelling.
    pub options: CopyOptions,
}

/// What COPY copies.
#[derive(Clone, Debug)]
pub enum CopyFrom {
    /// A subscription.
    Subscribe(Subscribe),
    /// A query.
    Query(Box<Query>),
}

/// `EXPLAIN`.
#[derive(Clone, Debug)]
pub struct Explain {
    /// `SELECT`, `CREATE MATERIALIZED VIEW`, `CREATE SINK ... AS`, INSERT, UPDATE, DELETE.
    pub statement: Statement,
}

/// `SHOW`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// `SHOW SOURCES | TABLES | VIEWS | MATERIALIZED VIEWS | SINKS`.
    Objects(ObjectKind),
    /// `SHOW JOBS`.
    Jobs,
    /// `SHOW CREATE [kind] x`.
    Create {
        /// The kind, if it was written.
        kind: Option<ObjectKind>,
        /// Which.
        name: Name,
    },
    /// `SHOW setting`.
    Setting(String),
    /// `SHOW ALL`.
    AllSettings,
}

/// `SET [SESSION | LOCAL] name = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The setting, in lower case.
    pub name: String,
    /// Its value; `None`: `DEFAULT`.
    pub value: Option<String>,
    /// Where the setting stands.
    pub position: usize,
}
