//! `millstream check`: statements planned one after another against a catalog in memory. Opens nothing.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Error, Result, Secret, Settings};
use crate::catalog::postgres::OWNER;
use crate::catalog::{Catalog, SecretChange};
use crate::functions::session_state_builder;
use crate::serving::{QueryLimits, QueryRunner};
use crate::sql::{self, AccessStatement, BindMode, Binder, SecretStatement, Statement as Sql};
use crate::types::{JobId, RelationId};

use super::api::{SqlChecker, Statement};
use super::author::{Author, Numbers};
use super::ddl::Ddl;
use super::files::Files;

/// Plans statements without running them.
pub struct Checker {
    settings: Settings,
    catalog: Catalog,
    queries: QueryRunner,
    next: Cell<u64>,
    secrets: BTreeMap<String, Secret>,
}

/// Numbers of one check.
struct Counted<'a>(&'a Cell<u64>);

impl Numbers for Counted<'_> {
    fn relation(&self) -> RelationId {
        self.0.set(self.0.get() + 1);
        RelationId(self.0.get())
    }

    fn job(&self) -> JobId {
        self.0.set(self.0.get() + 1);
        JobId(self.0.get())
    }
}

impl Checker {
    /// A checker with an empty catalog.
    pub fn new(settings: &Settings) -> Result<Checker> {
        let limits = QueryLimits { threads: 1, memory_bytes: 64 << 20 };
        let queries = QueryRunner::start(&limits, session_state_builder)?;
        Ok(Checker {
            settings: settings.clone(),
            catalog: Catalog::new(),
            queries,
            next: Cell::new(0),
            secrets: BTreeMap::new(),
        })
    }

    /// Fails when there is no relation of that name.
    fn known(&self, name: &sql::Name) -> Result<()> {
        let found = self.catalog.resolve(name.schema.as_deref(), &name.name);
        found.map(drop).map_err(|error| error.at(name.position))
    }

    fn drop_relations(&mut self, statement: &sql::Drop) -> Result<()> {
        for name in &statement.names {
            match super::session::named(&self.catalog, Some(statement.kind), name) {
                Ok(found) => {
                    let ddl = Ddl::Drop { relations: vec![found.id], cascade: statement.cascade };
                    ddl.apply(&mut self.catalog)?;
                }
                Err(_) if statement.if_exists => {}
                Err(error) => return Err(error.at(name.position)),
            }
        }
        Ok(())
    }

    /// Secrets are known from then on; roles and rights are for the engine.
    fn access(&mut self, statement: &AccessStatement) -> Result<()> {
        if let AccessStatement::Secret(SecretStatement::Create { name, value, .. }) = statement {
            let (name, file, owner) = (name.name.clone(), String::new(), OWNER.1.to_string());
            self.secrets.insert(name.clone(), value.clone());
            if self.catalog.secret(&name).is_none() {
                self.catalog.change_secrets(&SecretChange::Create { name, file, owner })?;
            }
        }
        Ok(())
    }

    /// The plan of what a CREATE statement makes, which is known from then on.
    fn create(&mut self, parsed: &sql::ParsedStatement) -> Result<String> {
        let author = Author {
            catalog: &self.catalog,
            queries: &self.queries,
            settings: &self.settings,
            numbers: &Counted(&self.next),
            text: &parsed.text,
            owner: OWNER.1,
            may_open: false,
            files: Files::Anywhere,
            secrets: &self.secrets,
        };
        let authored = author.statement(&parsed.statement)?;
        authored.ddl.apply(&mut self.catalog)?;
        Ok(authored.explain)
    }
}

impl SqlChecker for Checker {
    fn parse(&mut self, text: &str) -> Result<Vec<Statement>> {
        super::session::statements(text)
    }

    fn check(&mut self, statement: &Statement) -> Result<String> {
        let parsed: &sql::ParsedStatement =
            statement.parsed.downcast_ref().ok_or_else(|| Error::internal("statement was not parsed here"))?;
        let binder = Binder::new(&self.catalog, self.queries.session_state());
        match &parsed.statement {
            Sql::CreateSource(_)
            | Sql::CreateTable(_)
            | Sql::CreateView(_)
            | Sql::CreateMaterializedView(_)
            | Sql::CreateIndex(_)
            | Sql::CreateFunction(_)
            | Sql::CreateSink(_) => return self.create(parsed),
            Sql::CreateSchema(create) => self.catalog.create_schema(&create.name.name)?,
            Sql::DropSchema(statement) => drop(self.catalog.drop_schema(&statement.name.name, statement.cascade)?),
            Sql::Drop(statement) => self.drop_relations(statement)?,
            Sql::Query(query) => {
                let bound = binder.query(query, BindMode::Read, &[])?;
                return Ok(bound.plan.display_indent().to_string());
            }
            Sql::Insert(insert) => drop(binder.insert(insert, &[])?),
            Sql::Update(update) => drop(binder.update(update, &[])?),
            Sql::Delete(delete) => drop(binder.delete(delete, &[])?),
            Sql::CopyIn(copy) => drop(binder.copy_in(copy)?),
            Sql::Explain(explain) => {
                let inner = sql::ParsedStatement {
                    statement: explain.statement.clone(),
                    text: parsed.text.clone(),
                    position: parsed.position,
                };
                let inner = Statement { parsed: Arc::new(inner), ..statement.clone() };
                return self.check(&inner);
            }
            Sql::Subscribe(subscribe) => self.known(&subscribe.relation)?,
            Sql::Comment(comment) => drop(super::session::named(&self.catalog, comment.kind, &comment.name)?),
            Sql::Rename(_) => {
                return Err(Error::unsupported("RENAME is not checked")
                    .with_hint("Give the object its name in its CREATE statement."));
            }
            Sql::Empty
            | Sql::Copy(_)
            | Sql::Show(_)
            | Sql::Describe(_)
            | Sql::Flush
            | Sql::WaitFor(_)
            | Sql::Refresh(_)
            | Sql::Set(_)
            | Sql::Reset(_)
            | Sql::Begin
            | Sql::Commit
            | Sql::Rollback
            | Sql::Discard
            | Sql::Deallocate(_)
            | Sql::Copied(_)
            | Sql::Prepare(_)
            | Sql::Execute(_)
            | Sql::Declare(_)
            | Sql::Fetch(_)
            | Sql::Close(_)
            | Sql::Savepoint(_)
            | Sql::RollbackTo(_)
            | Sql::Release(_)
            | Sql::Unlisten => {}
            Sql::Access(access) => self.access(access)?,
        }
        Ok(String::new())
    }
}
