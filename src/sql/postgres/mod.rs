//! PostgreSQL's catalog over ours: the rows of `pg_catalog` and `information_schema`, and the functions that read them.
//!
//! Nothing here looks at the text of a query: clients find real relations and functions, and DataFusion does the rest.
//!
//! ```text
//!   catalog::postgres (columns, oids) ─▶ rows ─▶ table of a read        Facts ─▶ functions ─▶ calls in a read
//! ```

mod definitions;
mod functions;
mod information;
mod keywords;
mod names;
mod objects;
mod relations;
mod rewrite;
mod roles;
mod statistics;
mod table;
#[cfg(test)]
mod tests;
mod told;
mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
use datafusion::execution::session_state::SessionState;
use parking_lot::Mutex;

pub use functions::{catalog_function, is_catalog_function};
pub(super) use rewrite::{json_function, oid_type, reg_type, rewrite};
pub(super) use told::tell;

use self::table::Table;
use crate::base::{Error, Result, SessionSettings};
use crate::catalog::postgres::{OWNER, pg_table};
use crate::catalog::{Catalog, Identity, Relation, schemas};
use crate::types::RelationId;

/// The name of the one database.
pub const DATABASE: &str = "millstream";

/// What a session knows that asks for the catalog.
#[derive(Debug)]
pub struct Facts {
    /// The catalog, along the session's search path.
    pub catalog: Catalog,
    /// The session's settings.
    pub settings: SessionSettings,
    /// The number of the session's connection.
    pub process: i32,
    /// All sessions, this one among them.
    pub sessions: Vec<SessionFact>,
    /// When the server was started, in microseconds since 1970.
    pub started_us: i64,
    /// Names of all functions, each with its kind in `pg_proc`.
    pub functions: Arc<[(String, &'static str)]>,
    /// Bytes that relations take; set before a query runs that asks for sizes.
    pub bytes: OnceLock<BTreeMap<RelationId, u64>>,
    /// As whom the statement runs.
    pub identity: Identity,
    /// What `set_config` was asked to set, for the session to take over.
    pub wishes: Arc<Mutex<Vec<(String, String)>>>,
}

/// What others may see of a session.
#[derive(Clone, Debug)]
pub struct SessionFact {
    /// The number of its connection.
    pub process: i32,
    /// Its user.
    pub user: String,
    /// `application_name`.
    pub application: String,
    /// Since when it is there, in microseconds since 1970.
    pub since_us: i64,
    /// Since when its last statement runs or ran.
    pub statement_us: i64,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// Its last statement.
    pub statement: String,
}

impl Facts {
    /// What is known where there is no session.
    pub fn of(catalog: Catalog) -> Facts {
        Facts {
            catalog,
            settings: SessionSettings::default(),
            process: 0,
            sessions: Vec::new(),
            started_us: 0,
            functions: Arc::new([]),
            bytes: OnceLock::new(),
            wishes: Arc::default(),
            identity: Identity::trusted(OWNER.1),
        }
    }

    /// The session's user.
    pub fn user(&self) -> &str {
        self.settings.show("session_authorization").map_or("", |(_, value)| value)
    }
}

/// Names of all functions that statements may call, each with its kind in `pg_proc`.
pub fn function_names(session: &SessionState) -> Arc<[(String, &'static str)]> {
    let mut kinds: BTreeMap<&str, &'static str> = BTreeMap::new();
    kinds.extend(session.scalar_functions().keys().map(|name| (name.as_str(), "f")));
    kinds.extend(functions::catalog_function_names().map(|name| (name, "f")));
    kinds.extend(session.window_functions().keys().map(|name| (name.as_str(), "w")));
    kinds.extend(session.aggregate_functions().keys().map(|name| (name.as_str(), "a")));
    let shown = kinds.into_iter().filter(|(name, _)| !name.starts_with("__"));
    shown.map(|(name, kind)| (name.to_string(), kind)).collect()
}

/// The present rows of a relation of PostgreSQL's catalog.
pub fn catalog_rows(relation: &Relation, facts: &Facts) -> Result<RecordBatch> {
    let definition = pg_table(&relation.schema_name, &relation.name)
        .ok_or_else(|| Error::internal(format!("{} is none of PostgreSQL's", relation.title())))?;
    let mut table = Table::new(definition);
    match relation.schema_name.as_str() {
        schemas::INFORMATION => information::fill(&mut table, facts),
        _ => {
            relations::fill(&mut table, facts);
            objects::fill(&mut table, facts);
            roles::fill(&mut table, facts);
            views::fill(&mut table, facts);
            statistics::fill(&mut table, facts);
        }
    }
    table.finish()
}
