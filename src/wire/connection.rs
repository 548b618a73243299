//! One client's conversation: message after message until it leaves. The simple protocol is here, the extended one in
//! `extended.rs`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arrow::array::ArrayRef;
use tokio::time::Instant;

use super::attend::{Guard, attend, drain, stopped};
use super::copy::CopyLines;
use super::extended::{Portal, Stored};
use super::frame::{Frame, take};
use super::kept::Told;
use super::messages::{self, Fate};
use super::rows::{Cursor, DataRows};
use super::server::{Shared, Slot};
use super::socket::Socket;
use crate::base::{Error, Result};
use crate::engine::{CancelReason, CancelToken, Notice, Outcome, Severity, SqlSession, Statement};

/// A client that said hello.
pub struct Connection {
    pub(super) socket: Socket,
    pub(super) session: Box<dyn SqlSession>,
    pub(super) slot: Slot,
    pub(super) shared: Arc<Shared>,
    pub(super) statements: HashMap<String, Stored>,
    pub(super) portals: HashMap<String, Portal>,
    /// After an error of the extended protocol everything up to Sync is skipped.
    skipping: bool,
    /// The session's settings as the client knows them: how often they had changed.
    told_changes: u64,
    told: HashMap<&'static str, String>,
}

/// Whether the conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Continue,
    End,
}

impl Connection {
    /// A conversation on `socket`, whose hello is in its output.
    pub fn new(socket: Socket, session: Box<dyn SqlSession>, slot: Slot, shared: Arc<Shared>) -> Self {
        let told = session.settings().reported().map(|(name, value)| (name, value.to_string())).collect();
        Connection {
            socket,
            told_changes: session.settings().changes(),
            told,
            session,
            slot,
            shared,
            statements: HashMap::new(),
            portals: HashMap::new(),
            skipping: false,
        }
    }

    /// Until the client leaves, the stream breaks, or the server stops.
    pub async fn run(mut self) -> io::Result<()> {
        loop {
            let bytes_max = self.shared.settings.statement_bytes_max.as_usize().saturating_add(5);
            match take(&mut self.socket.input, bytes_max) {
                Ok(Some(frame)) => {
                    if self.answer(frame).await == Next::End {
                        return self.socket.flush().await;
                    }
                }
                Ok(None) => {
                    if self.read_more().await? == Next::End {
                        return Ok(());
                    }
                }
                Err(error) => {
                    messages::error(&mut self.socket.output, &error, Fate::Fatal);
                    return self.socket.flush().await;
                }
            }
        }
    }

    /// Sends what waits, then waits for the client.
    async fn read_more(&mut self) -> io::Result<Next> {
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            flushed = self.socket.flush() => flushed?,
            () = stopped(&shared.stopping) => return Ok(Next::End),
        }
        tokio::select! {
            read = self.socket.read() => Ok(if read? { Next::Continue } else { Next::End }),
            () = stopped(&shared.stopping) => {
                messages::error(&mut self.socket.output, &CancelReason::Shutdown.error(), Fate::Fatal);
                self.socket.flush().await?;
                Ok(Next::End)
            }
        }
    }

    async fn answer(&mut self, frame: Result<Frame>) -> Next {
        let frame = match frame {
            Ok(Frame::Sync) => {
                self.skipping = false;
                self.sync();
                return self.flushed().await;
            }
            Ok(Frame::Terminate) => return Next::End,
            _ if self.skipping => return Next::Continue,
            Ok(Frame::Query(text)) => return Box::pin(self.query(&text)).await,
            Ok(frame) => frame,
            Err(error) => {
                // Whether a broken message was of the simple or the extended protocol is not known: answering and
                // being ready is right for the first and harmless for the second.
                messages::error(&mut self.socket.output, &error, Fate::Error);
                self.ready();
                return self.flushed().await;
            }
        };
        match Box::pin(self.extended(frame)).await {
            Ok(()) => Next::Continue,
            Err(error) => {
                self.skipping = true;
                self.session.fail().await;
                self.refuse(&error)
            }
        }
    }

    /// Sends what waits; the conversation ends when the client is gone.
    async fn flushed(&mut self) -> Next {
        match self.socket.flush().await {
            Ok(()) => Next::Continue,
            Err(_) => Next::End,
        }
    }

    /// Tells the client of `error`. When that is the server's stop it is the last word.
    fn refuse(&mut self, error: &Error) -> Next {
        if *self.shared.stopping.borrow() {
            messages::error(&mut self.socket.output, error, Fate::Fatal);
            return Next::End;
        }
        messages::error(&mut self.socket.output, error, Fate::Error);
        Next::Continue
    }

    /// ReadyForQuery, and before it the settings that changed.
    pub(super) fn ready(&mut self) {
        self.tell_settings();
        messages::ready(&mut self.socket.output, self.session.transaction());
    }

    /// ParameterStatus for every reported setting that the client knows otherwise.
    pub(super) fn tell_settings(&mut self) {
        let settings = self.session.settings();
        if settings.changes() == self.told_changes {
            return;
        }
        self.told_changes = settings.changes();
        for (name, value) in settings.reported() {
            if self.told.get(name).is_none_or(|told| told != value) {
                messages::parameter_status(&mut self.socket.output, name, value);
                self.told.insert(name, value.to_string());
            }
        }
    }

    /// Sends notices that the session wants to see.
    pub(super) fn notices(&mut self, notices: &[Notice]) {
        for notice in notices {
            if self.wants(notice.severity) {
                messages::notice(&mut self.socket.output, notice);
            }
        }
    }

    /// Whether the session wants to see notices of `severity`.
    fn wants(&self, severity: Severity) -> bool {
        let least = self.session.settings().show("client_min_messages").map_or("notice", |(_, value)| value);
        match severity {
            Severity::Notice => !matches!(least, "warning" | "error"),
            Severity::Warning => least != "error",
        }
    }

    /// A guard for one statement that begins now; cancel requests reach it until [`Connection::rest`].
    pub(super) fn guard(&self) -> Guard {
        let token = CancelToken::new();
        self.slot.runs(Some(token.clone()));
        let settings = self.session.settings();
        let name = settings.show("application_name").map_or("", |(_, value)| value);
        Guard {
            token,
            deadline: settings.statement_timeout().map(|limit| Instant::now() + limit),
            heartbeat: self.shared.settings.heartbeat_interval,
            quiet: ("application_name", name.to_string()),
            notices: self.wants(Severity::Notice),
            stopping: self.shared.stopping.clone(),
        }
    }

    /// Nothing runs any more.
    pub(super) fn rest(&self) {
        self.slot.runs(None);
    }

    /// A simple query: its statements one after another until one fails, then ReadyForQuery.
    async fn query(&mut self, text: &str) -> Next {
        self.statements.remove("");
        self.portals.remove("");
        let mut next = Next::Continue;
        match self.session.parse(text) {
            Ok(statements) if statements.is_empty() => messages::empty_query(&mut self.socket.output),
            Ok(statements) => {
                if let Err(error) = Box::pin(self.all(&statements)).await {
                    next = self.refuse(&error);
                }
            }
            Err(error) => next = self.refuse(&error),
        }
        self.drop_portals();
        if next == Next::Continue {
            self.ready();
            next = self.flushed().await;
        }
        next
    }

    /// The statements of a simple query, until one fails. As in PostgreSQL, several changes take effect together.
    async fn all(&mut self, statements: &[Statement]) -> Result<()> {
        let together = self.session.open_together(statements).await?;
        let mut done = Ok(());
        for statement in statements {
            let guard = self.guard();
            done = Box::pin(self.answer_statement(statement, &[], Told::Simple, &guard)).await;
            self.rest();
            if done.is_err() {
                self.session.fail().await;
                break;
            }
        }
        if together {
            let ended = self.session.close_together(done.is_ok()).await;
            done = done.and(ended);
        }
        done
    }

    /// One statement with everything it gives.
    pub(super) async fn answer_statement(
        &mut self,
        statement: &Statement,
        parameters: &[ArrayRef],
        told: Told<'_>,
        guard: &Guard,
    ) -> Result<()> {
        if let Some(directive) = self.session.directive(statement)? {
            return Box::pin(self.direct(directive, told, guard)).await;
        }
        let work = self.session.execute(statement, parameters, guard.token.clone());
        match attend(&mut self.socket, guard, work).await? {
            Outcome::Rows { schema, rows, follows, tag, notices } => {
                self.notices(&notices);
                let binary = match told {
                    Told::Simple => {
                        messages::row_description(&mut self.socket.output, &schema, |_| false);
                        Vec::new()
                    }
                    Told::Extended(binary) => binary.to_vec(),
                };
                let mut cursor = Cursor::new(schema, rows, follows);
                cursor.send(&mut self.socket, guard, &mut DataRows { binary }, None).await?;
                self.tell_settings();
                messages::complete(&mut self.socket.output, &tag.text(cursor.sent));
            }
            outcome @ Outcome::CopyOut { .. } => self.copy_out(outcome, guard).await?,
            Outcome::CopyIn { schema, format } => Box::pin(self.copy_in(statement, schema, format, guard)).await?,
            Outcome::Done { tag, notices } => {
                self.notices(&notices);
                self.tell_settings();
                messages::complete(&mut self.socket.output, &tag);
            }
        }
        Ok(())
    }

    /// The rows of a `COPY … TO STDOUT`; other outcomes are not given to it.
    pub(super) async fn copy_out(&mut self, outcome: Outcome, guard: &Guard) -> Result<()> {
        let Outcome::CopyOut { schema, rows, follows, format } = outcome else { return Ok(()) };
        messages::copy_out(&mut self.socket.output, schema.columns.len(), format.binary);
        let binary = format.binary;
        let mut lines = CopyLines::new(format);
        lines.header(&schema, &mut self.socket.output);
        let mut cursor = Cursor::new(schema, rows, follows);
        // The first bytes at once: a subscriber learns that it is subscribed.
        drain(&mut self.socket, guard).await?;
        cursor.send(&mut self.socket, guard, &mut lines, None).await?;
        if binary {
            lines.foot(&mut self.socket.output);
        }
        messages::copy_done(&mut self.socket.output);
        messages::complete(&mut self.socket.output, &format!("COPY {}", cursor.sent));
        Ok(())
    }
}
