//! Changes of the catalog that start no job: schemas, names, comments.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Error, Result, did_you_mean, sqlstate};
use crate::catalog::{AccessChange, Catalog, Object, Relation, RelationKind};
use crate::sql::{
    self, BindMode, Binder, Comment, CreateSchema, DropSchema, ObjectKind, OldName, Rename, SinkFrom, Statement as Sql,
};
use crate::types::RelationId;

use super::super::api::{Notice, Outcome};
use super::super::ddl::Ddl;
use super::Work;
use super::access::denied;
use super::show::{is_kind, named};

impl Work<'_> {
    /// CREATE SCHEMA.
    pub(super) async fn create_schema(&mut self, create: &CreateSchema) -> Result<Outcome> {
        self.ddl_in_block("CREATE SCHEMA", &[])?;
        let name = &create.name.name;
        if create.if_not_exists && self.catalog().has_schema(name) {
            self.notices.push(Notice::new(format!("schema \"{name}\" already exists, skipping")));
        } else {
            Catalog::clone(&self.catalog()).create_schema(name).map_err(|error| error.at(create.name.position))?;
            let (owner, position) = match &create.owner {
                Some(owner) => self.role_named(owner)?,
                None => (self.identity.owner.clone(), 0),
            };
            let catalog = self.catalog();
            catalog.access().require_role(&owner).map_err(|error| error.at(position))?;
            if !self.identity.superuser && !catalog.access().is_member(&self.identity.name, &owner) {
                return Err(denied(format!("must be able to SET ROLE \"{owner}\"")).at(position));
            }
            let given = AccessChange::Owner { object: Object::Schema(name.clone()), role: owner };
            self.make(Ddl::Together(vec![Ddl::CreateSchema(name.clone()), Ddl::Access(given)])).await?;
        }
        Ok(self.done("CREATE SCHEMA"))
    }

    /// DROP SCHEMA.
    pub(super) async fn drop_schema(&mut self, statement: &DropSchema) -> Result<Outcome> {
        let (name, catalog) = (&statement.name.name, self.catalog());
        if statement.if_exists && !catalog.has_schema(name) {
            self.notices.push(Notice::new(format!("schema \"{name}\" does not exist, skipping")));
            return Ok(self.done("DROP SCHEMA"));
        }
        let mut tried = Catalog::clone(&catalog);
        let dropped = tried.drop_schema(name, statement.cascade).map_err(|error| error.at(statement.name.position))?;
        let gone: Vec<_> = dropped.iter().map(|relation| relation.id).collect();
        self.ddl_in_block("DROP SCHEMA", &gone)?;
        self.make(Ddl::DropSchema { name: name.clone(), cascade: statement.cascade }).await?;
        dropped.iter().for_each(|relation| self.handle.tables.forget(relation.id));
        Ok(self.done("DROP SCHEMA"))
    }

    /// COMMENT ON.
    pub(super) async fn comment(&mut self, comment: &Comment) -> Result<Outcome> {
        self.ddl_in_block("COMMENT", &[])?;
        let relation = named(&self.catalog(), comment.kind, &comment.name)?;
        if let Some(kind) = comment.kind {
            is_kind(&relation, kind).map_err(|error| error.at(comment.name.position))?;
        }
        if relation.kind == RelationKind::System {
            return Err(Error::invalid(format!("{} cannot be commented on", relation.title()))
                .with_code(sqlstate::INSUFFICIENT_PRIVILEGE)
                .with_hint("System views are always as they are.")
                .at(comment.name.position));
        }
        let column = match &comment.column {
            None => None,
            Some(column) => Some(relation.columns.index_of(&column.name).ok_or_else(|| {
                let names = relation.columns.columns.iter().map(|column| column.name.as_str());
                let error = Error::invalid(format!("column \"{}\" does not exist", column.name))
                    .with_code(sqlstate::UNDEFINED_COLUMN)
                    .at(column.position);
                match did_you_mean(&column.name, names) {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            })?),
        };
        self.make(Ddl::Comment { relation: relation.id, column, text: comment.text.clone() }).await?;
        Ok(self.done("COMMENT"))
    }

    /// ALTER ... RENAME TO: the relation's own statement and those that name it are written anew.
    pub(super) async fn rename(&mut self, rename: &Rename) -> Result<Outcome> {
        let tag = format!("ALTER {}", rename.kind.to_string().to_uppercase());
        self.ddl_in_block(&tag, &[])?;
        let catalog = self.catalog();
        let found = catalog.resolve(rename.name.schema.as_deref(), &rename.name.name);
        let relation = match found {
            Ok(relation) => relation,
            Err(_) if rename.if_exists => {
                self.notices.push(Notice::new(format!("{} \"{}\" does not exist, skipping", rename.kind, rename.name)));
                return Ok(self.done(tag));
            }
            Err(error) => return Err(error.at(rename.name.position)),
        };
        // ALTER TABLE renames views and indexes too, as in PostgreSQL.
        let alike =
            matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView | RelationKind::Index(_));
        if rename.kind != ObjectKind::Table || !alike {
            is_kind(&relation, rename.kind).map_err(|error| error.at(rename.name.position))?;
        }
        let to = &rename.to.name;
        let mut texts = BTreeMap::from([(relation.id, sql::renamed_statement(&relation.sql, to)?)]);
        let old = OldName { schema: &relation.schema_name, name: &relation.name };
        let mut named = catalog.dependents(relation.id);
        let belongings = catalog.belongings(relation.id).into_iter();
        named.extend(belongings.filter(|belonging| matches!(belonging.kind, RelationKind::Index(_))));
        for dependent in &named {
            texts.insert(dependent.id, sql::renamed_references(&dependent.sql, old, to)?);
        }
        let mut changed = Catalog::clone(&catalog);
        changed.rename(relation.id, to, &texts).map_err(|error| error.at(rename.to.position))?;
        for dependent in &named {
            self.means_the_same(&changed, dependent, &relation)?;
        }
        self.make(Ddl::Rename { relation: relation.id, name: to.clone(), texts }).await?;
        Ok(self.done(tag))
    }

    /// Fails when the new text of `dependent` means something else than the old one did.
    fn means_the_same(&self, changed: &Catalog, dependent: &Relation, renamed: &Relation) -> Result<()> {
        let same = || -> Result<bool> {
            let now = changed.by_id(dependent.id).ok_or_else(|| Error::internal("a dependent is gone"))?;
            let path = if now.search_path.is_empty() { vec!["public".to_string()] } else { now.search_path.clone() };
            let catalog = changed.along(&path);
            let binder = Binder::new(&catalog, self.handle.queries.session_state());
            let parsed = sql::parse(&now.sql)?.into_iter().next().map(|parsed| parsed.statement);
            let (query, columns) = match parsed {
                Some(Sql::CreateView(view) | Sql::CreateMaterializedView(view)) => (view.query, view.columns),
                Some(Sql::CreateSink(sink)) => match sink.from {
                    SinkFrom::Query { query, .. } => (query, Vec::new()),
                    SinkFrom::Relation(name) => {
                        let found = catalog.resolve(name.schema.as_deref(), &name.name)?;
                        return Ok(found.id == renamed.id);
                    }
                },
                Some(Sql::CreateIndex(index)) => {
                    let found = catalog.resolve(index.relation.schema.as_deref(), &index.relation.name)?;
                    return Ok(found.id == renamed.id);
                }
                _ => return Ok(false),
            };
            let bound = binder.view(&query, &columns, BindMode::Read)?;
            let ids: Vec<RelationId> = bound.relations.iter().map(|relation: &Arc<Relation>| relation.id).collect();
            let known = |id: &RelationId| dependent.depends_on.contains(id);
            Ok(ids.contains(&renamed.id) && ids.iter().all(known) && bound.schema.types() == now.columns.types())
        };
        if matches!(same(), Ok(true)) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{} cannot be renamed: {} names it in a way that cannot be rewritten",
            renamed.title(),
            dependent.title()
        ))
        .with_code(sqlstate::DEPENDENT_OBJECTS_EXIST)
        .with_hint(format!("Drop {} first, and create it anew over the new name.", dependent.title())))
    }
}
