//! What the planner knows of a relation, and how it is found by name.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{LogicalPlan, TableSource};

use crate::types::{RelationId, Schema};

/// What a relation is to those who plan over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationKind {
    /// Fed from outside, not stored.
    Source,
    /// Stored, changed by statements.
    Table,
    /// A named query, inlined where it is named.
    View,
    /// A query whose result is kept.
    MaterializedView,
    /// The late rows of a view, or the faults of a relation: kept rows, readable like a view.
    Kept,
    /// System state: read with SELECT only.
    System,
}

impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RelationKind::Source => "source",
            RelationKind::Table => "table",
            RelationKind::View => "view",
            RelationKind::MaterializedView => "materialized view",
            RelationKind::Kept => "relation of kept rows",
            RelationKind::System => "system view",
        })
    }
}

/// The event time of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The column of `WATERMARK FOR`.
    pub column: usize,
    /// How far the watermark stays behind the column, if it is that simple; for EXPLAIN.
    pub delay_us: Option<i64>,
}

/// A relation as the catalog describes it to the planner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its number; of a view without contents and of system views any number.
    pub id: RelationId,
    /// Its schema: `public`, `ms_late`, `ms_faults`, `ms_catalog`, ...
    pub schema_name: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Its columns, generated ones among them.
    pub schema: Schema,
    /// The columns of its primary key; empty if it has none.
    pub primary_key: Vec<usize>,
    /// Whether its rows are never taken back.
    pub append_only: bool,
    /// Whether it comes to an end (a source over files that do not grow).
    pub bounded: bool,
    /// Its event time (sources only).
    pub event_time: Option<EventTime>,
    /// The query of a view.
    pub query: Option<String>,
}

impl Relation {
    /// The name as messages show it: with its schema unless that is `public`.
    pub fn shown(&self) -> String {
        match self.schema_name.as_str() {
            "public" => self.name.clone(),
            schema => format!("{schema}.{}", self.name),
        }
    }
}

/// Where relations are found: the catalog at one version.
pub trait Relations: Send + Sync {
    /// The relation called `name`: in `schema`, or along the search path when none is given.
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Arc<Relation>>;

    /// The names of everything that could have been meant, for "Did you mean".
    fn names(&self) -> Vec<String>;
}

/// A relation in a logical plan. Takes no filters (they stay in the plan), and gives the plan of a view to be inlined.
pub struct RelationSource {
    relation: Arc<Relation>,
    arrow: SchemaRef,
    inlined: Option<LogicalPlan>,
}

impl RelationSource {
    /// A scan of `relation`.
    pub fn new(relation: Arc<Relation>) -> Self {
        let arrow = relation.schema.arrow();
        RelationSource { relation, arrow, inlined: None }
    }

    /// The view `relation`, whose query is `plan` with the view's column names.
    pub fn view(relation: Arc<Relation>, plan: LogicalPlan) -> Self {
        let arrow = Arc::new(plan.schema().as_arrow().clone());
        RelationSource { relation, arrow, inlined: Some(plan) }
    }

    /// The relation.
    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    /// The relation that `source` stands for, if it is one of ours.
    pub fn of(source: &Arc<dyn TableSource>) -> Option<&Arc<Relation>> {
        let any: &dyn Any = source.as_ref();
        any.downcast_ref::<RelationSource>().map(RelationSource::relation)
    }
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.arrow)
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        self.inlined.as_ref().map(Cow::Borrowed)
    }
}
