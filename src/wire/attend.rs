//! Waiting for a statement and for everything that may end it early: a cancel request, its timeout, the client's end,
//! the server's stop. While it waits, rows already encoded are written and heartbeats sent.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use super::messages;
use super::socket::{Incoming, Socket};
use crate::base::Result;
use crate::engine::{CancelReason, CancelToken, Notice};

/// How long a cancelled statement may go on before it is dropped: it may be about to finish, or to say more.
const CANCEL_GRACE: Duration = Duration::from_millis(300);

/// What may end a running statement, and how often its client hears of it.
pub struct Guard {
    /// Cancelled by whichever comes first.
    pub token: CancelToken,
    /// `statement_timeout`, counted from the statement's start.
    pub deadline: Option<Instant>,
    /// Pause between heartbeats.
    pub heartbeat: Duration,
    /// The heartbeat that no client shows: a parameter and its present value.
    pub quiet: (&'static str, String),
    /// Whether the session wants notices.
    pub notices: bool,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
}

impl Guard {
    /// The error of a statement that is cancelled or whose time is up; also told to the statement.
    pub fn check(&self) -> Result<()> {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.token.cancel(CancelReason::Timeout);
        }
        self.token.check()
    }

    fn beat(&self, output: &mut BytesMut) {
        let (name, value) = &self.quiet;
        messages::parameter_status(output, name, value);
    }

    /// Returns when the statement's time is up.
    pub async fn expired(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Returns when the statement has to end, and has told it so.
    async fn interrupted(&self, mut incoming: Incoming<'_>) -> CancelReason {
        let reason = tokio::select! {
            reason = self.token.cancelled() => reason,
            () = self.expired() => CancelReason::Timeout,
            () = stopped(&self.stopping) => CancelReason::Shutdown,
            () = incoming.ended() => CancelReason::Disconnected,
        };
        self.token.cancel(reason);
        reason
    }
}

/// Returns once the server stops.
pub async fn stopped(stopping: &watch::Receiver<bool>) {
    let mut stopping = stopping.clone();
    // An error: the server is gone without a word, and its runtime about to end.
    let gone = stopping.wait_for(|&stopping| stopping).await.is_err();
    if gone {
        std::future::pending::<()>().await;
    }
}

/// Waits for `work` under `guard`. Output is written meanwhile. When the statement has to end, `work` gets
/// a moment to finish by itself and is then dropped.
pub async fn attend<T>(socket: &mut Socket, guard: &Guard, work: impl Future<Output = Result<T>>) -> Result<T> {
    wait(socket, guard, work, |output| guard.beat(output)).await
}

/// As [`attend`], for the next change of a relation. The heartbeat is a notice: a program sees that its idle subscription lives.
pub async fn follow<T>(socket: &mut Socket, guard: &Guard, work: impl Future<Output = Result<T>>) -> Result<T> {
    let notice = Notice::new("no change since the last message; the subscription goes on");
    let beat = |output: &mut BytesMut| match guard.notices {
        true => messages::notice(output, &notice),
        false => guard.beat(output),
    };
    wait(socket, guard, work, beat).await
}

async fn wait<T>(
    socket: &mut Socket,
    guard: &Guard,
    work: impl Future<Output = Result<T>>,
    beat: impl Fn(&mut BytesMut),
) -> Result<T> {
    let mut work = pin!(work);
    let (incoming, mut outgoing) = socket.split();
    let mut interrupted = pin!(guard.interrupted(incoming));
    let mut heartbeat = interval_at(Instant::now() + guard.heartbeat, guard.heartbeat);
    let reason = loop {
        let waiting = outgoing.waits();
        tokio::select! {
            biased;
            result = &mut work => return result,
            reason = &mut interrupted => break reason,
            written = outgoing.flush(), if waiting => {
                if written.is_err() {
                    guard.token.cancel(CancelReason::Disconnected);
                }
            }
            _ = heartbeat.tick(), if !waiting => beat(outgoing.output),
        }
    };
    match timeout(CANCEL_GRACE, &mut work).await {
        Ok(result) => result,
        Err(_) => Err(reason.error()),
    }
}

/// Writes everything that waits under `guard`: a client that does not read must not keep its statement from being
/// cancelled.
pub async fn drain(socket: &mut Socket, guard: &Guard) -> Result<()> {
    let (incoming, mut outgoing) = socket.split();
    let written = tokio::select! {
        biased;
        reason = guard.interrupted(incoming) => return Err(reason.error()),
        written = outgoing.flush() => written,
    };
    if written.is_err() {
        guard.token.cancel(CancelReason::Disconnected);
    }
    guard.check()
}
