//! CREATE and DROP: authored, then one change of the catalog at one epoch.

use crate::base::Result;
use crate::sql::{CreateIndex, Drop as DropStatement, Name, Statement as Sql};

use super::super::api::{Notice, Outcome};
use super::super::author::{Author, Authored};
use super::super::ddl::Ddl;
use super::super::files::Files;
use super::super::request::Request;
use super::super::secrets::Usable;
use super::Work;
use super::show::{is_kind, named};

impl Work<'_> {
    /// CREATE SOURCE, TABLE, VIEW, MATERIALIZED VIEW, SINK.
    pub(super) async fn create(&mut self, statement: &Sql) -> Result<Outcome> {
        let (tag, name, if_not_exists) = match statement {
            Sql::CreateSource(create) => ("CREATE SOURCE", &create.name, create.if_not_exists),
            Sql::CreateTable(create) => ("CREATE TABLE", &create.name, create.if_not_exists),
            Sql::CreateView(create) => ("CREATE VIEW", &create.name, create.if_not_exists),
            Sql::CreateMaterializedView(create) => ("CREATE MATERIALIZED VIEW", &create.name, create.if_not_exists),
            Sql::CreateSink(create) => ("CREATE SINK", &create.name, create.if_not_exists),
            Sql::CreateIndex(create) => return self.create_index(statement, create).await,
            Sql::CreateFunction(create) => ("CREATE FUNCTION", &create.name, false),
            _ => return Err(crate::base::Error::internal("statement creates nothing")),
        };
        self.ddl_in_block(tag, &[])?;
        if let Some(outcome) = self.exists(name, if_not_exists, tag) {
            return Ok(outcome);
        }
        let authored = self.author(statement)?;
        self.make(authored.ddl).await?;
        self.notices.extend(authored.notices);
        Ok(self.done(tag))
    }

    /// CREATE INDEX, whose name may be left out.
    async fn create_index(&mut self, statement: &Sql, create: &CreateIndex) -> Result<Outcome> {
        self.ddl_in_block("CREATE INDEX", &[])?;
        if let Some(name) = &create.name {
            let of = self.resolve(&create.relation)?;
            let name = Name { schema: Some(of.schema_name.clone()), ..name.clone() };
            if let Some(outcome) = self.exists(&name, create.if_not_exists, "CREATE INDEX") {
                return Ok(outcome);
            }
        }
        let authored = self.author(statement)?;
        self.make(authored.ddl).await?;
        Ok(self.done("CREATE INDEX"))
    }

    /// What a CREATE statement would make.
    pub(super) fn author(&self, statement: &Sql) -> Result<Authored> {
        let catalog = self.catalog();
        let stored = self.handle.shared.secrets(&catalog);
        let secrets = Usable { stored, identity: &self.identity };
        let author = Author {
            catalog: &catalog,
            queries: &self.handle.queries,
            settings: &self.handle.shared.settings,
            numbers: &*self.handle.shared,
            text: self.text,
            owner: &self.identity.owner,
            may_open: true,
            files: Files::of(&self.handle.shared.settings, &self.identity)?,
            secrets: &secrets,
        };
        let authored = author.statement(statement)?;
        self.permit_authored(&authored)?;
        Ok(authored)
    }

    /// DROP.
    pub(super) async fn drop_relations(&mut self, statement: &DropStatement) -> Result<Outcome> {
        let tag = format!("DROP {}", statement.kind.to_string().to_uppercase());
        let catalog = self.catalog();
        let mut relations = Vec::new();
        for name in &statement.names {
            match named(&catalog, Some(statement.kind), name) {
                Ok(relation) => {
                    is_kind(&relation, statement.kind).map_err(|error| error.at(name.position))?;
                    relations.push(relation.id);
                }
                Err(_) if statement.if_exists => {
                    self.notices.push(Notice::new(format!("{} \"{name}\" does not exist, skipping", statement.kind)));
                }
                Err(error) => return Err(error),
            }
        }
        self.ddl_in_block(&tag, &relations)?;
        if !relations.is_empty() {
            let tables = relations.clone();
            self.make(Ddl::Drop { relations, cascade: statement.cascade }).await?;
            tables.into_iter().for_each(|table| self.handle.tables.forget(table));
        }
        Ok(self.done(tag))
    }

    /// IF NOT EXISTS of a name that is taken: nothing to do but to say so.
    fn exists(&mut self, name: &Name, if_not_exists: bool, tag: &str) -> Option<Outcome> {
        let catalog = self.catalog();
        let schema = catalog.schema_to_create_in(name.schema.as_deref()).ok()?;
        let found = catalog.find(Some(&schema), &name.name).filter(|_| if_not_exists)?;
        self.notices.push(Notice::new(format!("{} already exists, skipping", found.title())));
        Some(self.done(tag))
    }

    /// Makes a change of the catalog and waits until it is on disk and installed.
    pub(super) async fn make(&mut self, ddl: Ddl) -> Result<()> {
        let epoch = self.ask(|reply| Request::Ddl { ddl, reply }).await?;
        let (user, role) = (self.user(), &self.identity.name);
        tracing::info!(target: "audit", user, role, %epoch, statement = self.text, "catalog changed");
        self.inner.least = self.inner.least.max(epoch);
        Ok(())
    }
}
