//! The catalog: which names there are, and how a name in a statement finds its relation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::access::Access;
use super::postgres::{pg_table, pg_table_by_id};
use super::relation::{Relation, RelationKind, schemas};
use super::system::system_relations;
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::types::{JobId, RelationId};

/// Names are at most this long, in bytes (PostgreSQL: 63).
const NAME_BYTES_MAX: usize = 255;

/// All relations by id and by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// What users created and what belongs to it; system views are not in here.
    pub(super) relations: Arc<BTreeMap<RelationId, Arc<Relation>>>,
    /// By schema and name.
    pub(super) names: Arc<HashMap<(String, String), RelationId>>,
    /// Schemas that users made.
    pub(super) schemas: Arc<BTreeSet<String>>,
    /// Roles and rights.
    pub(super) access: Arc<Access>,
    /// Where names without a schema are looked up.
    pub(super) path: Arc<[String]>,
    /// The smallest numbers never given out.
    pub(super) next_relation: u64,
    pub(super) next_job: u64,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog {
            relations: Arc::default(),
            names: Arc::default(),
            schemas: Arc::default(),
            access: Arc::default(),
            path: [schemas::PUBLIC.to_owned()].into(),
            next_relation: 1,
            next_job: 1,
        }
    }
}

impl Catalog {
    /// Nothing but the system views.
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// A relation's number that was never given out and never will be again.
    pub fn allocate_relation(&mut self) -> RelationId {
        let id = RelationId(self.next_relation);
        self.next_relation += 1;
        id
    }

    /// A job's number that was never given out and never will be again.
    pub fn allocate_job(&mut self) -> JobId {
        let id = JobId(self.next_job);
        self.next_job += 1;
        id
    }

    /// Adds `relation`. Its number is one of [`Catalog::allocate_relation`] (or, when the epoch log is replayed, any
    /// number not used before); what it depends on must be here.
    /// Fails with 42P07 when the name is taken, 42701 when a column's name stands twice, 42622 for a name too long.
    pub fn create(&mut self, relation: Relation) -> Result<Arc<Relation>> {
        check_columns(&relation)?;
        self.check_name(&relation.schema_name, &relation.name, relation.kind)?;
        if self.relations.contains_key(&relation.id) {
            return Err(Error::internal(format!("{} was given a number in use", relation.title())));
        }
        let needed = relation.depends_on.iter().copied().chain(relation.kind.owner());
        if let Some(missing) = needed.into_iter().find(|&id| self.by_id(id).is_none()) {
            return Err(Error::conflict(format!("{} needs a relation that was dropped meanwhile", relation.title()))
                .with_detail(format!("It was relation number {missing}."))
                .with_hint("Send the statement again."));
        }
        if let Some(missing) = relation.secrets.iter().find(|name| self.secret(name).is_none()) {
            return Err(Error::conflict(format!("{} needs secret \"{missing}\", which was dropped", relation.title()))
                .with_hint("Send the statement again."));
        }
        self.next_relation = self.next_relation.max(relation.id.0 + 1);
        if let Some(job) = relation.job {
            self.next_job = self.next_job.max(job.0 + 1);
        }
        let relation = Arc::new(relation);
        let name = (relation.schema_name.clone(), relation.name.clone());
        Arc::make_mut(&mut self.names).insert(name, relation.id);
        Arc::make_mut(&mut self.relations).insert(relation.id, Arc::clone(&relation));
        Ok(relation)
    }

    /// Puts `relation` in the place of the one with its number, which keeps its name, kind and rights (a view that is created
    /// again, a comment, a new graph). Fails with 42P16 when it would depend on itself.
    pub fn replace(&mut self, mut relation: Relation) -> Result<Arc<Relation>> {
        check_columns(&relation)?;
        let old = self.relations.get(&relation.id);
        let same = |old: &&Arc<Relation>| {
            (&old.schema_name, &old.name, old.kind) == (&relation.schema_name, &relation.name, relation.kind)
        };
        if old.filter(same).is_none() {
            return Err(Error::internal(format!("{} replaces a relation of another name or kind", relation.title())));
        }
        if relation.depends_on.iter().any(|&id| id == relation.id || self.reaches(id, relation.id)) {
            return Err(Error::invalid(format!("{} would depend on itself", relation.title()))
                .with_code(sqlstate::INVALID_TABLE_DEFINITION)
                .with_hint("Leave the relations out of its query that are made from it."));
        }
        if let Some(old) = self.relations.get(&relation.id) {
            relation.rights = old.rights.clone();
        }
        let relation = Arc::new(relation);
        Arc::make_mut(&mut self.relations).insert(relation.id, Arc::clone(&relation));
        Ok(relation)
    }

    /// Roles and rights.
    pub fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn remove(&mut self, relation: &Relation) {
        Arc::make_mut(&mut self.names).remove(&(relation.schema_name.clone(), relation.name.clone()));
        Arc::make_mut(&mut self.relations).remove(&relation.id);
    }

    /// The relation with this number, system views included.
    pub fn by_id(&self, id: RelationId) -> Option<Arc<Relation>> {
        match self.relations.get(&id) {
            Some(relation) => Some(Arc::clone(relation)),
            None => {
                let ours = system_relations().iter().find(|relation| relation.id == id).map(Arc::clone);
                ours.or_else(|| pg_table_by_id(id).map(|table| Arc::clone(&table.relation)))
            }
        }
    }

    /// The relation of a job.
    pub fn by_job(&self, job: JobId) -> Option<Arc<Relation>> {
        let owns = |relation: &&Arc<Relation>| relation.job == Some(job) && relation.kind.owner().is_none();
        self.relations.values().find(owns).map(Arc::clone)
    }

    /// All relations that were created and what belongs to them, by number.
    pub fn relations(&self) -> impl ExactSizeIterator<Item = &Arc<Relation>> {
        self.relations.values()
    }

    /// All relations of `kind`, by name (for `Late` and `Faults`: those of that relation).
    pub fn of_kind(&self, kind: RelationKind) -> Vec<Arc<Relation>> {
        let mut found = if kind == RelationKind::System {
            system_relations().to_vec()
        } else {
            self.relations.values().filter(|relation| relation.kind == kind).map(Arc::clone).collect::<Vec<_>>()
        };
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The relation called `name`, in `schema` or else along the search path. As in PostgreSQL pg_catalog comes before
    /// a path that does not name it: a user's `pg_class` hides none from the clients that ask it. ms_catalog comes last.
    pub fn find(&self, schema: Option<&str>, name: &str) -> Option<Arc<Relation>> {
        let here = |schema: &str| match schema {
            schemas::CATALOG => system_relations().iter().find(|relation| relation.name == name).map(Arc::clone),
            schemas::POSTGRES | schemas::INFORMATION => pg_table(schema, name).map(|table| Arc::clone(&table.relation)),
            _ => self.names.get(&(schema.to_owned(), name.to_owned())).and_then(|&id| self.by_id(id)),
        };
        match schema {
            Some(schema) => here(schema),
            None => {
                let named = self.path.iter().any(|schema| schema == schemas::POSTGRES);
                let first = (!named).then_some(schemas::POSTGRES).into_iter();
                first.chain(self.path.iter().map(String::as_str)).chain([schemas::CATALOG]).find_map(here)
            }
        }
    }

    /// As [`Catalog::find`]; fails with 42P01 (3F000 for a schema) and the nearest name there is.
    pub fn resolve(&self, schema: Option<&str>, name: &str) -> Result<Arc<Relation>> {
        if let Some(relation) = self.find(schema, name) {
            return Ok(relation);
        }
        if let Some(schema) = schema {
            self.require_schema(schema)?;
        }
        let full = schema.map_or(name.to_owned(), |schema| format!("{schema}.{name}"));
        let error = Error::invalid(format!("relation \"{full}\" does not exist")).with_code(sqlstate::UNDEFINED_TABLE);
        Err(hinted(error, self.suggestion(schema, name)))
    }

    fn suggestion(&self, schema: Option<&str>, name: &str) -> Option<String> {
        let mut candidates: Vec<&Relation> = self.relations.values().map(Arc::as_ref).collect();
        candidates.extend(system_relations().iter().map(Arc::as_ref));
        let visible = |relation: &&&Relation| match schema {
            Some(schema) => relation.schema_name == schema,
            None => relation.schema_name == schemas::CATALOG || self.path.contains(&relation.schema_name),
        };
        let names = candidates.iter().filter(visible).map(|relation| relation.name.as_str());
        if let Some(hint) = did_you_mean(name, names) {
            return Some(hint);
        }
        // The right name in another schema: `ms_late.typo`, or `hot` asked for in ms_late where nothing is ever late.
        match (schema, candidates.iter().find(|relation| relation.name == name)) {
            (Some(schemas::LATE), Some(_)) => {
                Some("Late rows are kept only where windows close: this relation has no gate.".to_owned())
            }
            (_, Some(other)) => Some(format!("There is \"{}.{}\".", other.schema_name, other.name)),
            (_, None) => None,
        }
    }

    /// Whether a relation of that kind could be called `name`.
    pub(super) fn check_name(&self, schema: &str, name: &str, kind: RelationKind) -> Result<()> {
        self.require_schema(schema)?;
        let fits = if kind.is_users() { self.is_users(schema) } else { schema == kind.schema_name() };
        if !fits || kind == RelationKind::System {
            return Err(Error::invalid(format!("a {} cannot be created in schema \"{schema}\"", kind.noun()))
                .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
                .with_hint("Create it in schema public."));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(format!("name of {} bytes; 1 to {NAME_BYTES_MAX} fit", name.len()))
                .with_code("42622")
                .with_hint("Choose a shorter name."));
        }
        match self.find(Some(schema), name) {
            None => Ok(()),
            Some(taken) => Err(Error::invalid(format!("{} already exists", taken.title()))
                .with_code(sqlstate::DUPLICATE_TABLE)
                .with_hint("Choose another name, drop it first, or write IF NOT EXISTS.")),
        }
    }
}

fn check_columns(relation: &Relation) -> Result<()> {
    let mut seen = HashSet::new();
    match relation.columns.columns.iter().find(|column| !seen.insert(column.name.as_str())) {
        None => Ok(()),
        Some(twice) => Err(Error::invalid(format!("column \"{}\" of {} stands twice", twice.name, relation.title()))
            .with_code(sqlstate::DUPLICATE_COLUMN)
            .with_hint("Rename one of them, in a query with AS.")),
    }
}

fn hinted(error: Error, hint: Option<String>) -> Error {
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
