//! The engine as sessions hold it: ways to ask the coordinator, to run queries, to run statements on its threads.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::base::{Error, Result, random, sqlstate};
use crate::serving::QueryRunner;
use crate::sql::{SessionFact, function_names};

use super::request::{Event, Request};
use super::shared::Shared;
use super::tables::Tables;

/// Shared by all sessions.
pub(super) struct Handle {
    /// Settings, clock, catalog.
    pub shared: Arc<Shared>,
    /// Runs SELECT.
    pub queries: QueryRunner,
    /// Who may change which table.
    pub tables: Tables,
    /// Who is there, by the numbers of their connections.
    pub sessions: Mutex<BTreeMap<i32, SessionFact>>,
    /// Names of all functions with their kinds.
    pub functions: Arc<[(String, &'static str)]>,
    /// When the engine was started, in microseconds since 1970.
    pub started_us: i64,
    /// What outsiders cannot know; another one after every start.
    pub secret: u64,
    sender: UnboundedSender<Event>,
    /// `None` once it was shut down.
    runtime: Option<Runtime>,
}

impl Handle {
    /// A handle to the coordinator behind `sender`; statements run on `runtime`.
    pub fn new(shared: Arc<Shared>, queries: QueryRunner, sender: UnboundedSender<Event>, runtime: Runtime) -> Handle {
        Handle {
            started_us: shared.clock.now_us(),
            functions: function_names(queries.session_state()),
            shared,
            queries,
            tables: Tables::default(),
            sessions: Mutex::default(),
            secret: random::secret(),
            sender,
            runtime: Some(runtime),
        }
    }

    /// Asks the coordinator.
    pub fn send(&self, request: Request) -> Result<()> {
        self.sender.send(Event::Request(request)).map_err(|_| stopped())
    }

    /// Runs a statement on the engine's threads. Dropping the future ends it.
    pub async fn spawn<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let Some(runtime) = &self.runtime else { return Err(stopped()) };
        let mut task = Ending(runtime.spawn(Box::pin(work)));
        match (&mut task.0).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                Err(Error::internal("statement stopped: it broke an assumption of the engine")
                    .with_detail("The log names the place.")
                    .with_hint("Report it with the statement."))
            }
            Err(_) => Err(stopped()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Dropping a runtime inside another one's thread is refused by tokio; this way is always allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends the task when dropped.
struct Ending<T>(JoinHandle<T>);

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The engine is gone.
pub(super) fn stopped() -> Error {
    Error::unavailable("the engine has stopped")
        .with_code(sqlstate::ADMIN_SHUTDOWN)
        .with_hint("Connect again when the server is back.")
}
