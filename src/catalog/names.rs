//! Schemas (namespaces) that users make, the search path, and names that change.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Catalog;
use super::relation::{Relation, RelationKind, SCHEMAS, schemas};
use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::types::RelationId;

impl Catalog {
    /// The same catalog, in which names without a schema are looked up along `path`. What does not exist is passed over;
    /// pg_catalog is found before all of it unless it is named there, ms_catalog after.
    pub fn along(&self, path: &[String]) -> Catalog {
        Catalog { path: path.into(), ..self.clone() }
    }

    /// Where names without a schema are looked up.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// Every schema, in the order of their names; users' first.
    pub fn schemas(&self) -> impl Iterator<Item = &str> {
        self.schemas.iter().map(String::as_str).chain(SCHEMAS)
    }

    /// Whether there is a schema of that name.
    pub fn has_schema(&self, name: &str) -> bool {
        SCHEMAS.contains(&name) || self.schemas.contains(name)
    }

    /// The schema in which a relation is created: `named`, or the first one of the path that takes any.
    /// Fails with 3F000 when there is none.
    pub fn schema_to_create_in(&self, named: Option<&str>) -> Result<String> {
        if let Some(named) = named {
            self.require_schema(named)?;
            return Ok(named.to_string());
        }
        let takes = |name: &&String| self.is_users(name);
        self.path.iter().find(takes).cloned().ok_or_else(|| {
            Error::invalid("no schema has been selected to create in")
                .with_code(sqlstate::INVALID_SCHEMA_NAME)
                .with_hint("Name the schema, or SET search_path = public.")
        })
    }

    /// Whether users' relations live in the schema `name`.
    pub(super) fn is_users(&self, name: &str) -> bool {
        name == schemas::PUBLIC || self.schemas.contains(name)
    }

    /// Fails with 3F000 when there is no schema `name`.
    pub fn require_schema(&self, name: &str) -> Result<()> {
        if self.has_schema(name) {
            return Ok(());
        }
        let error =
            Error::invalid(format!("schema \"{name}\" does not exist")).with_code(sqlstate::INVALID_SCHEMA_NAME);
        let hint = did_you_mean(name, self.schemas()).unwrap_or_else(|| format!("CREATE SCHEMA {name} makes it."));
        Err(error.with_hint(hint))
    }

    /// Adds a schema. Fails with 42P06 when it is there.
    pub fn create_schema(&mut self, name: &str) -> Result<()> {
        if self.has_schema(name) {
            return Err(Error::invalid(format!("schema \"{name}\" already exists"))
                .with_code("42P06")
                .with_hint("Choose another name, or write IF NOT EXISTS."));
        }
        if name.is_empty() || name.starts_with("ms_") || name.starts_with("pg_") || name == "information_schema" {
            return Err(Error::invalid(format!("schema name \"{name}\" is reserved"))
                .with_code("42939")
                .with_hint("Names that begin with ms_ or pg_ are the system's: choose another."));
        }
        Arc::make_mut(&mut self.schemas).insert(name.to_string());
        Ok(())
    }

    /// Drops a schema and, with `cascade`, what is in it and what depends on that. Gives back what was dropped,
    /// dependents first.
    pub fn drop_schema(&mut self, name: &str, cascade: bool) -> Result<Vec<Arc<Relation>>> {
        self.require_schema(name)?;
        if !self.schemas.contains(name) {
            return Err(Error::invalid(format!("schema \"{name}\" cannot be dropped"))
                .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
                .with_hint("It is always there."));
        }
        let members: Vec<_> = self.relations.values().filter(|relation| relation.schema_name == name).collect();
        if let (false, Some(first)) = (cascade, members.first()) {
            return Err(Error::invalid(format!("cannot drop schema \"{name}\" because it is not empty"))
                .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
                .with_detail(format!("It holds {}.", first.title()))
                .with_hint("Drop what is in it first, or write DROP SCHEMA ... CASCADE."));
        }
        let ids: Vec<RelationId> = members.iter().map(|relation| relation.id).collect();
        let mut dropped = Vec::new();
        for id in ids {
            if self.relations.contains_key(&id) {
                dropped.extend(self.drop(id, true)?);
            }
        }
        Arc::make_mut(&mut self.schemas).remove(name);
        if self.access.schemas.contains_key(name) {
            Arc::make_mut(&mut self.access).schemas.remove(name);
        }
        Ok(dropped)
    }

    /// Sets or takes away the comment of a relation, or of one of its columns.
    pub fn comment(&mut self, id: RelationId, column: Option<usize>, text: Option<&str>) -> Result<()> {
        let mut relation = Relation::clone(self.created(id)?);
        match (column, text) {
            (None, text) => relation.comment = text.map(str::to_owned),
            (Some(column), Some(text)) => drop(relation.column_comments.insert(column, text.to_owned())),
            (Some(column), None) => drop(relation.column_comments.remove(&column)),
        }
        Arc::make_mut(&mut self.relations).insert(id, Arc::new(relation));
        Ok(())
    }

    /// Gives a relation another name, and statements that name it (its own among them) other texts. `texts` must hold
    /// all of them: who depends on it now and is not there makes it fail with `Conflict`.
    pub fn rename(&mut self, id: RelationId, name: &str, texts: &BTreeMap<RelationId, String>) -> Result<()> {
        let relation = Arc::clone(self.created(id)?);
        let unknown = self.dependents(id).into_iter().find(|dependent| !texts.contains_key(&dependent.id));
        if let Some(dependent) = unknown {
            return Err(Error::conflict(format!("{} was created meanwhile", dependent.title()))
                .with_hint("Send the statement again."));
        }
        self.check_name(&relation.schema_name, name, relation.kind)?;
        let mut renamed = vec![Relation { name: name.to_string(), ..Relation::clone(&relation) }];
        for belonging in self.belongings(id) {
            let name = match belonging.kind {
                RelationKind::Index(_) => belonging.name.clone(),
                _ => renamed[0].path(),
            };
            renamed.push(Relation { name, ..Relation::clone(&belonging) });
        }
        for (other, text) in texts {
            match renamed.iter_mut().find(|relation| relation.id == *other) {
                Some(relation) => relation.sql.clone_from(text),
                None => renamed.push(Relation { sql: text.clone(), ..Relation::clone(self.created(*other)?) }),
            }
        }
        for relation in renamed {
            if let Some(old) = self.relations.get(&relation.id).map(Arc::clone) {
                self.remove(&old);
            }
            let key = (relation.schema_name.clone(), relation.name.clone());
            Arc::make_mut(&mut self.names).insert(key, relation.id);
            Arc::make_mut(&mut self.relations).insert(relation.id, Arc::new(relation));
        }
        Ok(())
    }

    fn created(&self, id: RelationId) -> Result<&Arc<Relation>> {
        self.relations
            .get(&id)
            .ok_or_else(|| Error::conflict("the relation was dropped meanwhile").with_hint("Send the statement again."))
    }
}
