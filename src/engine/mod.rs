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
mod handle;
mod job;
mod progress;
mod recovery;
mod request;
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
    CancelReason, CancelToken, CopyFormat, Directive, Notice, Outcome, Prepared, RowStream, Severity, SqlChecker,
    SqlEngine, SqlSession, Statement, Tag, TransactionState,
};
pub use check::Checker;
pub use session::Session;

use crate::base::clock::Clock;
use crate::base::{Error, Result, SessionSettings, Settings};
use crate::functions::session_state_builder;
use crate::serving::{QueryLimits, QueryRunner};
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
        Ok(Engine { handle: Arc::new(Handle::new(shared, queries, sender, runtime)), settings })
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
    async fn open_session(&self, user: &str, process: i32) -> Result<Box<dyn SqlSession>> {
        Ok(Box::new(self.session_of(user, process)))
    }

    async fn shutdown(&self) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.handle.send(Request::Shutdown { reply })?;
        done.await.unwrap_or_else(|_| Err(handle::stopped()))
    }
}
