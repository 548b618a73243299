//! Floor 9: sessions, statements, jobs and their life, the epoch coordinator, checkpoints, recovery.
//!
//! ```text
//!  session ── statements ──▶ Work ── requests ──▶ Coordinator (one task) ──▶ log, workers, sources, checkpoints
//!     ▲                        │ reads                    ▲
//!     └─────── rows ───────────┴── QueryRunner            └── Recovery makes it
//! ```

mod api;
mod author;
mod check;
mod coordinator;
mod ddl;
mod files;
mod handle;
mod job;
mod progress;
mod recovery;
mod request;
mod secrets;
mod session;
mod shared;
mod sources;
mod tables;

#[cfg(test)]
pub mod fake;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

pub use api::{
    CancelReason, CancelToken, CopyFormat, Directive, Login, Notice, Outcome, Prepared, RowStream, Severity,
    SqlChecker, SqlEngine, SqlSession, Statement, Tag, TransactionState,
};
pub use check::Checker;
pub use session::Session;

use crate::base::clock::Clock;
use crate::base::scram::Verifier;
use crate::base::{Error, Result, ResultExt, SessionSettings, Settings, sqlstate};
use crate::catalog::postgres::OWNER;
use crate::catalog::{AccessChange, RoleOptions};
use crate::functions::session_state_builder;
use crate::serving::{QueryLimits, QueryRunner};
use ddl::Ddl;
use handle::Handle;
use request::Request;

/// Threads that parse, plan and coordinate; queries, decoding and dataflows have their own.
const STATEMENT_THREADS: usize = 2;

/// A running engine on one data directory. Dropping it stops it as `kill -9` would: nothing acknowledged is lost.
pub struct Engine {
    handle: Arc<Handle>,
    settings: Settings,
}

impl Engine {
    /// Opens the data directory, brings everything back to where it was, and goes on. Blocks while it recovers.
    /// `Unavailable` when another process uses the directory, `Corrupt` when its bytes are not what was written.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Engine> {
        files::folder(&settings).context(|| "in setting \"files_from\"".into())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(STATEMENT_THREADS)
            .thread_name("millstream-engine")
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .map_err(|error| Error::unavailable("threads of the engine could not be started").caused_by(error))?;
        let limits = QueryLimits {
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            memory_bytes: usize::try_from(settings.query_memory_limit.0).unwrap_or(usize::MAX),
        };
        let queries = QueryRunner::start(&limits, session_state_builder)?;
        let entered = runtime.enter();
        let coordinator = recovery::recover(settings.clone(), clock)?;
        let (shared, sender) = (Arc::clone(&coordinator.shared), coordinator.sender.clone());
        runtime.spawn(Box::pin(coordinator.run()));
        drop(entered);
        let engine = Engine { handle: Arc::new(Handle::new(shared, queries, sender, runtime)), settings };
        engine.set_first_password()?;
        Ok(engine)
    }

    /// Sets the password of the first role as setting `password_file` has it, unless it is set already.
    fn set_first_password(&self) -> Result<()> {
        let path = &self.settings.password_file;
        if path.is_empty() {
            return Ok(());
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::invalid(format!("setting \"password_file\" names a file that does not open: \"{path}\": {error}"))
                .caused_by(error)
        })?;
        let password = text.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(Error::invalid(format!("setting \"password_file\" names an empty file: \"{path}\""))
                .with_hint("Write the password of role millstream into it."));
        }
        let known = self.handle.shared.catalog.read().access().role(OWNER.1).and_then(|role| role.verifier.clone());
        if known.and_then(|known| Verifier::parse(&known)).is_some_and(|known| known.fits(password)) {
            return Ok(());
        }
        let verifier = Verifier::parse(password).unwrap_or_else(|| Verifier::new(password)).to_string();
        let options = RoleOptions { verifier: Some(Some(verifier)), ..RoleOptions::default() };
        let (reply, done) = oneshot::channel();
        let ddl = Ddl::Access(AccessChange::AlterRole { name: OWNER.1.to_string(), options });
        self.handle.send(Request::Ddl { ddl, reply })?;
        // This thread may belong to a runtime: it waits without one.
        futures::executor::block_on(done).unwrap_or_else(|_| Err(handle::stopped())).map(drop)
    }

    /// A session of `user` that belongs to no connection.
    pub fn session(&self, user: &str) -> Session {
        self.session_of(user, 0)
    }

    fn session_of(&self, user: &str, process: i32) -> Session {
        Session::new(Arc::clone(&self.handle), SessionSettings::new(&self.settings, user), process)
    }
}

#[async_trait]
impl SqlEngine for Engine {
    fn login(&self, user: &str) -> Login {
        let catalog = Arc::clone(&self.handle.shared.catalog.read());
        let access = catalog.access();
        if !access.asks_passwords() {
            return Login::Trusted;
        }
        let now_us = self.handle.shared.clock.now_us();
        let role = access.role(user).filter(|role| role.valid_until_us.is_none_or(|until_us| now_us < until_us));
        let verifier = role.and_then(|role| Verifier::parse(role.verifier.as_deref()?));
        Login::Password(Box::new(verifier.unwrap_or_else(|| Verifier::of_nobody(user, self.handle.secret))))
    }

    fn asks_passwords(&self) -> bool {
        self.handle.shared.catalog.read().access().asks_passwords()
    }

    async fn open_session(&self, user: &str, process: i32) -> Result<Box<dyn SqlSession>> {
        let catalog = Arc::clone(&self.handle.shared.catalog.read());
        let role = catalog.access().role(user);
        let refused = |message: String| Error::invalid(message).with_code(sqlstate::INVALID_AUTHORIZATION);
        if role.is_none() && catalog.access().asks_passwords() {
            return Err(refused(format!("role \"{user}\" does not exist")));
        }
        if role.is_some_and(|role| !role.login) {
            return Err(refused(format!("role \"{user}\" is not permitted to log in"))
                .with_hint(format!("ALTER ROLE {user} LOGIN permits it.")));
        }
        // Counted with itself, so that two that come together cannot both be the last.
        let session = self.session_of(user, process);
        let open = self.handle.sessions.lock().values().filter(|session| session.user == user).count();
        match role.filter(|role| !role.superuser).and_then(|role| role.connections_max) {
            Some(most) if open > most as usize => {
                Err(Error::limit(format!("too many connections for role \"{user}\""))
                    .with_code(sqlstate::TOO_MANY_CONNECTIONS)
                    .with_detail(format!("Its connection limit is {most}."))
                    .with_hint(format!("Close some, or ALTER ROLE {user} CONNECTION LIMIT.")))
            }
            Some(_) | None => Ok(Box::new(session)),
        }
    }

    async fn shutdown(&self) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.handle.send(Request::Shutdown { reply })?;
        done.await.unwrap_or_else(|_| Err(handle::stopped()))
    }
}
