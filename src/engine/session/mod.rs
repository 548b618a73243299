//! Sessions: one client's conversation. A statement runs on the engine's own threads; dropping it ends it.

mod access;
mod alter;
mod change;
mod control;
mod copy;
mod create;
mod explain;
mod grant;
mod permit;
mod query;
mod secret;
mod show;
mod subscribe;
mod transaction;

pub(super) use show::named;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use tokio::sync::{Mutex, oneshot};

use crate::base::{Error, Result, SessionSettings, sqlstate};
use crate::catalog::{Catalog, Identity};
use crate::sql::{self, SessionFact, Statement as Sql};
use crate::types::{Epoch, SqlType};

use super::api::{CancelToken, Directive, Notice, Outcome, Prepared, SqlSession, Statement, TransactionState};
use super::handle::Handle;
use super::request::{Reply, Request};
use transaction::Transaction;

/// Longer than any server runs.
const FOR_EVER: Duration = Duration::from_secs(86_400 * 3650);

/// One client's conversation with the engine.
pub struct Session {
    handle: Arc<Handle>,
    settings: SessionSettings,
    /// What statements of this session share; locked while one runs.
    inner: Arc<Mutex<Inner>>,
    /// As of the end of the last statement.
    transaction: TransactionState,
    /// The number of its connection.
    process: i32,
    wishes: Arc<Wishes>,
    /// Whether it was opened while no passwords were asked for.
    trusted: bool,
}

/// Settings that `set_config` asked for, to be taken over before the next statement.
type Wishes = parking_lot::Mutex<Vec<(String, String)>>;

/// What one statement leaves to the next.
pub(super) struct Inner {
    /// The newest epoch that this session has written to or read at: it never reads below it.
    pub least: Epoch,
    /// The open transaction block.
    pub transaction: Option<Transaction>,
    /// Whether the block has failed.
    pub failed: bool,
    /// Whether this session made epochs manual.
    manual: bool,
}

impl Inner {
    /// An open block fails. What it has changed is given up, unless it may go back to a savepoint.
    fn fail(&mut self) {
        if let Some(transaction) = &self.transaction {
            self.failed = true;
            if transaction.savepoints.is_empty() {
                self.transaction = None;
            }
        }
    }
}

/// One statement under way.
pub(super) struct Work<'a> {
    pub handle: &'a Arc<Handle>,
    pub settings: &'a SessionSettings,
    pub inner: &'a mut Inner,
    pub text: &'a str,
    pub parameters: &'a [ArrayRef],
    /// The number of the session's connection.
    pub process: i32,
    /// As whom it runs.
    pub identity: Identity,
    /// See [`Session::take_wishes`].
    pub wishes: &'a Arc<Wishes>,
    pub notices: Vec<Notice>,
}

/// The statements of a text; what stands between two semicolons alone is none.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>> {
    let parsed = sql::parse(text)?.into_iter().filter(|parsed| !matches!(parsed.statement, Sql::Empty));
    let statement = |parsed: sql::ParsedStatement| Statement {
        text: parsed.text.as_str().into(),
        position: parsed.position,
        parsed: Arc::new(parsed),
    };
    Ok(parsed.map(statement).collect())
}

impl Session {
    /// A new session on connection `process`.
    pub(super) fn new(handle: Arc<Handle>, settings: SessionSettings, process: i32) -> Session {
        let now_us = handle.shared.clock.now_us();
        let fact = SessionFact {
            process,
            user: settings.show("session_authorization").map_or("", |(_, value)| value).to_string(),
            application: String::new(),
            since_us: now_us,
            statement_us: now_us,
            state: "idle",
            statement: String::new(),
        };
        handle.sessions.lock().insert(process, fact);
        let inner = Inner { least: Epoch::ZERO, transaction: None, failed: false, manual: false };
        let inner = Arc::new(Mutex::new(inner));
        let trusted = !handle.shared.catalog.read().access().asks_passwords();
        let transaction = TransactionState::Idle;
        let mut session = Session { handle, settings, inner, transaction, process, wishes: Arc::default(), trusted };
        session.tell_superuser();
        session
    }

    fn parsed<'a>(&self, statement: &'a Statement) -> Result<&'a sql::ParsedStatement> {
        statement.parsed.downcast_ref().ok_or_else(|| Error::internal("statement was parsed by another session"))
    }

    /// Runs a statement of the session's own.
    async fn run(&mut self, text: &str) -> Result<()> {
        for statement in statements(text)? {
            self.execute(&statement, &[], CancelToken::new()).await?;
        }
        Ok(())
    }

    /// Takes over the settings that `set_config` asked for.
    fn take_wishes(&mut self) {
        for (name, value) in std::mem::take(&mut *self.wishes.lock()) {
            // It was tried before it was wished for.
            drop(self.settings.set(&name, &value));
        }
    }

    /// Tells others that `statement` runs, until what it gives is dropped.
    fn running(&self, statement: &str) -> Running {
        let statement_us = self.handle.shared.clock.now_us();
        if let Some(fact) = self.handle.sessions.lock().get_mut(&self.process) {
            fact.state = "active";
            fact.statement.clear();
            fact.statement.push_str(statement);
            fact.statement_us = statement_us;
            let name = self.settings.show("application_name").map_or("", |(_, value)| value);
            if fact.application != name {
                fact.application = name.to_string();
            }
        }
        Running { handle: Arc::clone(&self.handle), process: self.process, statement_us, then: "idle" }
    }

    /// As whom the next statement runs.
    fn identity(&self) -> Result<Identity> {
        access::identity(self.handle.shared.catalog.read().access(), &self.settings, self.trusted)
    }

    /// Tells the client whether it may do everything.
    fn tell_superuser(&mut self) {
        let superuser = self.identity().is_ok_and(|identity| identity.superuser);
        self.settings.tell_superuser(superuser);
    }

    /// SET, RESET and SHOW of a setting are answered here: the settings are the session's own.
    fn setting(&mut self, statement: &Sql) -> Option<Result<Outcome>> {
        if let (Sql::Set(set), Ok(identity)) = (statement, self.identity())
            && let Err(error) = permit::permit_setting(&identity, &set.name)
        {
            return Some(Err(error.at(set.position)));
        }
        let before = matches!(statement, Sql::Set(set) if set.name == "role").then(|| self.settings.clone());
        let outcome = control::setting(&mut self.settings, statement)?;
        if let (Some(before), Err(error)) = (before, self.identity()) {
            self.settings = before;
            return Some(Err(error));
        }
        self.tell_superuser();
        Some(outcome)
    }
}

/// What a session does while no statement runs.
fn told(state: TransactionState) -> &'static str {
    match state {
        TransactionState::Idle => "idle",
        TransactionState::Open => "idle in transaction",
        TransactionState::Failed => "idle in transaction (aborted)",
    }
}

/// While it is there, its session is `active`: a statement runs, or its rows are being read.
struct Running {
    handle: Arc<Handle>,
    process: i32,
    statement_us: i64,
    /// What the session is afterwards.
    then: &'static str,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Rows of a statement may outlive the next one.
        if let Some(fact) = self.handle.sessions.lock().get_mut(&self.process)
            && fact.statement_us == self.statement_us
        {
            fact.state = self.then;
        }
    }
}

#[async_trait]
impl SqlSession for Session {
    fn parse(&mut self, text: &str) -> Result<Vec<Statement>> {
        statements(text)
    }

    async fn prepare(&mut self, statement: &Statement, parameters: &[Option<SqlType>]) -> Result<Prepared> {
        let parsed = self.parsed(statement)?;
        let catalog = seen_by(&self.settings, &self.handle.shared.catalog.read());
        query::prepare(&self.handle, &catalog, &parsed.statement, parameters)
    }

    async fn execute(
        &mut self,
        statement: &Statement,
        parameters: &[ArrayRef],
        cancel: CancelToken,
    ) -> Result<Outcome> {
        self.take_wishes();
        let mut running = self.running(&statement.text);
        let parsed = self.parsed(statement)?;
        let failed = self.transaction == TransactionState::Failed;
        if !failed && let Some(outcome) = self.setting(&parsed.statement) {
            if let Sql::Set(set) = &parsed.statement
                && set.name.eq_ignore_ascii_case("epoch")
                && outcome.is_ok()
            {
                let manual = self.settings.epoch_is_manual();
                self.inner.lock().await.manual = manual;
                self.handle.send(Request::SetManual(manual))?;
            }
            return outcome;
        }
        let (process, wishes, identity) = (self.process, Arc::clone(&self.wishes), self.identity());
        let (handle, settings, inner) = (Arc::clone(&self.handle), self.settings.clone(), Arc::clone(&self.inner));
        let (statement, parameters) = (statement.clone(), parameters.to_vec());
        let task = self.handle.spawn(async move {
            let mut inner = inner.lock().await;
            let parsed: &sql::ParsedStatement =
                statement.parsed.downcast_ref().ok_or_else(|| Error::internal("statement was not parsed here"))?;
            let mut work = Work {
                handle: &handle,
                settings: &settings,
                inner: &mut inner,
                text: &parsed.text,
                parameters: &parameters,
                process,
                wishes: &wishes,
                identity: identity?,
                notices: Vec::new(),
            };
            let outcome = work.run(&parsed.statement).await;
            if outcome.is_err() {
                inner.fail();
            }
            let state = match (inner.failed, &inner.transaction) {
                (true, _) => TransactionState::Failed,
                (false, Some(_)) => TransactionState::Open,
                (false, None) => TransactionState::Idle,
            };
            outcome.map(|outcome| (outcome, state)).map_err(|error| (error, state).0)
        });
        let result = tokio::select! {
            result = task => result,
            reason = cancel.cancelled() => Err(reason.error()),
        };
        match result {
            Ok((outcome, state)) => {
                self.transaction = state;
                running.then = told(state);
                Ok(query::cancellable(outcome, cancel, running))
            }
            Err(error) => {
                self.fail().await;
                running.then = told(self.transaction);
                Err(error)
            }
        }
    }

    fn directive(&self, statement: &Statement) -> Result<Option<Directive>> {
        Ok(copy::directive(&self.parsed(statement)?.statement))
    }

    async fn copy_in(&mut self, statement: &Statement, rows: Vec<RecordBatch>, cancel: CancelToken) -> Result<Outcome> {
        let copied = copy::Copied::new(self.parsed(statement)?, rows)?;
        self.execute(&copied.into_statement(statement), &[], cancel).await
    }

    async fn fail(&mut self) {
        if self.transaction == TransactionState::Open {
            self.transaction = TransactionState::Failed;
            self.inner.lock().await.fail();
        }
    }

    async fn open_together(&mut self, statements: &[Statement]) -> Result<bool> {
        let is_change = |statement: &Statement| {
            let parsed = self.parsed(statement).map(|parsed| &parsed.statement);
            matches!(parsed, Ok(Sql::Insert(_) | Sql::Update(_) | Sql::Delete(_)))
        };
        // Changes alone: a SELECT between them is to see what comes before it, and what makes objects stands alone.
        let together = statements.len() > 1 && statements.iter().all(is_change);
        if !together || self.transaction != TransactionState::Idle {
            return Ok(false);
        }
        self.run("BEGIN").await.map(|()| true)
    }

    async fn close_together(&mut self, effect: bool) -> Result<()> {
        self.run(if effect { "COMMIT" } else { "ROLLBACK" }).await
    }

    fn transaction(&self) -> TransactionState {
        self.transaction
    }

    fn settings(&self) -> &SessionSettings {
        &self.settings
    }

    fn settings_mut(&mut self) -> &mut SessionSettings {
        &mut self.settings
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.handle.sessions.lock().remove(&self.process);
        if self.inner.try_lock().is_ok_and(|inner| inner.manual) {
            // The engine may have ended.
            drop(self.handle.send(Request::SetManual(false)));
        }
    }
}

/// The catalog along the session's search path.
pub(super) fn seen_by(settings: &SessionSettings, catalog: &Arc<Catalog>) -> Arc<Catalog> {
    let path = settings.search_path();
    if path == catalog.path() { Arc::clone(catalog) } else { Arc::new(catalog.along(&path)) }
}

impl Work<'_> {
    /// Runs one statement.
    pub(super) async fn run(&mut self, statement: &Sql) -> Result<Outcome> {
        if self.inner.failed && !matches!(statement, Sql::Rollback | Sql::Commit | Sql::RollbackTo(_)) {
            return Err(Error::invalid(
                "current transaction is aborted, commands ignored until end of transaction block",
            )
            .with_code(sqlstate::IN_FAILED_TRANSACTION)
            .with_hint("Send ROLLBACK."));
        }
        self.permit(statement)?;
        match statement {
            Sql::Empty => Ok(self.done("")),
            Sql::Query(query) => self.query(query).await,
            Sql::Access(statement) => self.access(statement).await,
            Sql::Insert(insert) => self.insert(insert).await,
            Sql::Update(update) => self.update(update).await,
            Sql::Delete(delete) => self.delete(delete).await,
            Sql::CreateSource(_)
            | Sql::CreateTable(_)
            | Sql::CreateView(_)
            | Sql::CreateMaterializedView(_)
            | Sql::CreateIndex(_)
            | Sql::CreateFunction(_)
            | Sql::CreateSink(_) => self.create(statement).await,
            Sql::CreateSchema(create) => self.create_schema(create).await,
            Sql::DropSchema(drop) => self.drop_schema(drop).await,
            Sql::Rename(rename) => self.rename(rename).await,
            Sql::Comment(comment) => self.comment(comment).await,
            Sql::Drop(drop) => self.drop_relations(drop).await,
            Sql::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Sql::Copy(copy) => self.copy(copy).await,
            Sql::Explain(explain) => self.explain(&explain.statement).await,
            Sql::Show(show) => self.show(show).await,
            Sql::Describe(name) => self.describe(name),
            Sql::Flush => self.flush().await,
            Sql::WaitFor(names) => self.wait_for(names).await,
            Sql::Refresh(name) => self.refresh(name).await,
            Sql::CopyIn(copy) => self.copy_in(copy),
            Sql::Copied(copied) => self.copied(copied).await,
            Sql::Savepoint(name) => self.savepoint(name),
            Sql::RollbackTo(name) => self.rollback_to(name),
            Sql::Release(name) => self.release(name),
            Sql::Unlisten => Ok(self.done("UNLISTEN")),
            Sql::Begin => self.begin(),
            Sql::Commit => self.commit().await,
            Sql::Rollback => self.rollback(),
            Sql::Set(_) | Sql::Reset(_) => Ok(self.done("SET")),
            Sql::Discard
            | Sql::Deallocate(_)
            | Sql::Prepare(_)
            | Sql::Execute(_)
            | Sql::Declare(_)
            | Sql::Fetch(_)
            | Sql::Close(_) => Err(Error::unsupported("prepared statements and cursors are kept by a connection")
                .with_hint("Connect with psql or a driver.")),
        }
    }

    /// No rows, this tag, and the notices so far.
    pub(super) fn done(&mut self, tag: impl Into<String>) -> Outcome {
        Outcome::Done { tag: tag.into(), notices: std::mem::take(&mut self.notices) }
    }

    /// The catalog as it is now.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        seen_by(self.settings, &self.handle.shared.catalog.read())
    }

    /// Asks the coordinator and waits for its answer.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.handle.send(request(reply))?;
        answer.await.unwrap_or_else(|_| Err(super::handle::stopped()))
    }

    /// When a read that begins now gives up.
    pub(super) fn read_deadline(&self) -> Instant {
        Instant::now() + self.settings.read_timeout().unwrap_or(FOR_EVER)
    }
}
