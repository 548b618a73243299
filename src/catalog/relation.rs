//! What the catalog knows of one relation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::Rights;
use crate::base::{Error, Result, sqlstate};
use crate::types::{Epoch, JobId, RelationId, Schema};

/// The schemas (namespaces) that are always there.
pub mod schemas {
    /// What users create.
    pub const PUBLIC: &str = "public";
    /// System views.
    pub const CATALOG: &str = "ms_catalog";
    /// Faults, by the name of the relation whose faults they are.
    pub const FAULTS: &str = "ms_faults";
    /// Late rows, by the name of the view that they were too late for.
    pub const LATE: &str = "ms_late";
    /// PostgreSQL's catalog.
    pub const POSTGRES: &str = "pg_catalog";
    /// The standard's views of it.
    pub const INFORMATION: &str = "information_schema";
}

/// All of [`schemas`].
pub const SCHEMAS: [&str; 6] =
    [schemas::PUBLIC, schemas::CATALOG, schemas::FAULTS, schemas::LATE, schemas::POSTGRES, schemas::INFORMATION];

/// What kind of thing bears a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// Fed from outside, not stored.
    Source,
    /// Stored, changed by its users or by a connector with upserts.
    Table,
    /// A named query, expanded where it is used.
    View,
    /// A query whose result is kept up to date.
    MaterializedView,
    /// An outside destination. Not read, but named and depended on like a relation.
    Sink,
    /// The late rows of a view.
    Late(RelationId),
    /// The faults of a source, table or view.
    Faults(RelationId),
    /// The rows of a table or materialized view in another order, for reads. Not named by queries.
    Index(RelationId),
    /// A function in SQL: its columns are its parameters, its name is told with their types. Not a relation that is read.
    Function,
    /// A view of the system's own state.
    System,
}

impl RelationKind {
    /// As messages and SQL call it.
    pub fn noun(self) -> &'static str {
        match self {
            RelationKind::Source => "source",
            RelationKind::Table => "table",
            RelationKind::View => "view",
            RelationKind::MaterializedView => "materialized view",
            RelationKind::Sink => "sink",
            RelationKind::Late(_) => "late rows",
            RelationKind::Faults(_) => "faults",
            RelationKind::Index(_) => "index",
            RelationKind::Function => "function",
            RelationKind::System => "system view",
        }
    }

    /// Whether users create such relations, in any schema of theirs.
    pub fn is_users(self) -> bool {
        match self {
            RelationKind::Source
            | RelationKind::Table
            | RelationKind::View
            | RelationKind::MaterializedView
            | RelationKind::Index(_)
            | RelationKind::Function
            | RelationKind::Sink => true,
            RelationKind::Late(_) | RelationKind::Faults(_) | RelationKind::System => false,
        }
    }

    /// The schema in which such relations live, unless their statement names another.
    pub fn schema_name(self) -> &'static str {
        match self {
            RelationKind::Source
            | RelationKind::Table
            | RelationKind::View
            | RelationKind::MaterializedView
            | RelationKind::Index(_)
            | RelationKind::Function
            | RelationKind::Sink => schemas::PUBLIC,
            RelationKind::Late(_) => schemas::LATE,
            RelationKind::Faults(_) => schemas::FAULTS,
            RelationKind::System => schemas::CATALOG,
        }
    }

    /// The relation to which it belongs and with which it is dropped.
    pub fn owner(self) -> Option<RelationId> {
        match self {
            RelationKind::Late(owner) | RelationKind::Faults(owner) | RelationKind::Index(owner) => Some(owner),
            RelationKind::Source
            | RelationKind::Table
            | RelationKind::View
            | RelationKind::MaterializedView
            | RelationKind::Sink
            | RelationKind::Function
            | RelationKind::System => None,
        }
    }
}

/// WATERMARK FOR of a source or table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelationWatermark {
    /// The event-time column, by its place.
    pub column: usize,
    /// The expression whose running maximum is the watermark, in the planner's own JSON.
    pub expression: serde_json::Value,
    /// When the expression is the column less a fixed time: how much, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_us: Option<i64>,
}

/// One relation. Never changed in place: a change makes another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// Its number, for ever.
    pub id: RelationId,
    /// Its schema (namespace): that of its kind.
    pub schema_name: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Its columns; of a sink those of what it receives.
    pub columns: Schema,
    /// The statement that created it, as it was written, without a semicolon. Empty for relations that nobody wrote.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sql: String,
    /// The primary key by places of columns; empty if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<usize>,
    /// WATERMARK FOR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<RelationWatermark>,
    /// Values of generated columns by their places, in the planner's own JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generated: BTreeMap<usize, serde_json::Value>,
    /// Whether it never carries a negative weight.
    pub append_only: bool,
    /// The job that computes or holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The job's graph, in the dataflow's own JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Arc<str>>,
    /// The epoch at which it was created.
    pub created: Epoch,
    /// COMMENT ON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// COMMENT ON COLUMN, by the places of columns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub column_comments: BTreeMap<usize, String>,
    /// Where the names in its statement were looked up, if not in public.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_path: Vec<String>,
    /// The relations that its definition names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub depends_on: BTreeSet<RelationId>,
    /// The secrets that its options name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Whose it is, and what was granted on it.
    #[serde(default, skip_serializing_if = "Rights::is_default")]
    pub rights: Rights,
}

impl Relation {
    /// Whether the column at `place` may hold NULL, as PostgreSQL tells it: columns of queries always may, and the key of a
    /// view is only how its rows are told apart.
    pub fn may_be_null(&self, place: usize) -> bool {
        match self.kind {
            RelationKind::Table | RelationKind::Source => {
                !self.primary_key.contains(&place)
                    && self.columns.columns.get(place).is_none_or(|column| column.nullable)
            }
            RelationKind::View
            | RelationKind::MaterializedView
            | RelationKind::Sink
            | RelationKind::Late(_)
            | RelationKind::Faults(_)
            | RelationKind::Index(_)
            | RelationKind::Function
            | RelationKind::System => true,
        }
    }

    /// A relation with a number, a name, a kind and columns; the rest is empty, to be filled in.
    pub fn new(id: RelationId, name: impl Into<String>, kind: RelationKind, columns: Schema) -> Relation {
        Relation {
            id,
            schema_name: kind.schema_name().to_owned(),
            name: name.into(),
            kind,
            columns,
            sql: String::new(),
            primary_key: Vec::new(),
            watermark: None,
            generated: BTreeMap::new(),
            append_only: false,
            job: None,
            graph: None,
            created: Epoch::ZERO,
            comment: None,
            column_comments: BTreeMap::new(),
            search_path: Vec::new(),
            depends_on: BTreeSet::new(),
            secrets: BTreeSet::new(),
            rights: Rights::default(),
        }
    }

    /// Kind and name as messages say them: `materialized view "hot"`, `late rows "ms_late.hot"`.
    pub fn title(&self) -> String {
        format!("{} \"{}\"", self.kind.noun(), self.path())
    }

    /// Its name, with its schema unless that is on the search path.
    pub fn path(&self) -> String {
        match self.schema_name.as_str() {
            schemas::PUBLIC | schemas::CATALOG | schemas::POSTGRES => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }

    /// Fails with 42809 when it is not of `kind`: for `DROP VIEW x` and the like.
    pub fn require(&self, kind: RelationKind) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        Err(self.is_not(kind.noun()))
    }

    /// The error 42809 that it is not a `noun`.
    pub fn is_not(&self, noun: &str) -> Error {
        let article = if noun.starts_with('i') { "an" } else { "a" };
        let error = Error::invalid(format!("\"{}\" is not {article} {noun}", self.path()));
        let hint = match self.kind {
            RelationKind::Late(_) | RelationKind::Faults(_) => {
                "It belongs to the relation of that name in schema public and goes with it."
            }
            RelationKind::System => "System views are always there.",
            RelationKind::Source => "It is a source: name it with SOURCE.",
            RelationKind::Table => "It is a table: name it with TABLE.",
            RelationKind::View => "It is a view: name it with VIEW.",
            RelationKind::MaterializedView => "It is a materialized view: name it with MATERIALIZED VIEW.",
            RelationKind::Sink => "It is a sink: name it with SINK.",
            RelationKind::Index(_) => "It is an index: name it with INDEX.",
            RelationKind::Function => "It is a function: name it with FUNCTION.",
        };
        error.with_code(sqlstate::WRONG_OBJECT_TYPE).with_hint(hint)
    }

    /// The statement that creates it again. Fails with 42809 for relations that nobody wrote.
    pub fn show_create(&self) -> Result<String> {
        if self.sql.is_empty() {
            return Err(Error::invalid(format!("{} was not created by a statement", self.title()))
                .with_code(sqlstate::WRONG_OBJECT_TYPE)
                .with_hint("Ask for the relation to which it belongs."));
        }
        Ok(format!("{};", self.sql.trim_end().trim_end_matches(';')))
    }
}
