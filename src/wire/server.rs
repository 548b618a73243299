//! The listener: accepts connections up to a limit, keeps the register by which cancel requests find their target, and
//! stops when it is told to.

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use super::attend::stopped;
use super::connection::Connection;
use super::socket::Socket;
use super::startup::{Opened, open};
use crate::base::{Error, Result, Settings, sqlstate};
use crate::engine::{CancelReason, CancelToken, SqlEngine};

/// Connections that may be in their start beyond the limit: to be told that it is reached, and to cancel.
const STARTING_MAX: usize = 100;

/// Pause after the listener could not accept (no file descriptors left, for one).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening server.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
}

/// What all connections of a server share.
pub struct Shared {
    /// The process's settings.
    pub settings: Arc<Settings>,
    /// Gives sessions.
    pub engine: Arc<dyn SqlEngine>,
    /// True once the server stops.
    pub stopping: watch::Receiver<bool>,
    next_process: AtomicI32,
    register: Mutex<HashMap<i32, Entry>>,
}

/// One connection's place in the register.
struct Entry {
    secret: i32,
    running: Arc<Mutex<Option<CancelToken>>>,
}

/// A connection's own end of its place in the register; leaves it when dropped.
pub struct Slot {
    /// The number of the connection, as clients see it.
    pub process: i32,
    /// What a cancel request must know.
    pub secret: i32,
    running: Arc<Mutex<Option<CancelToken>>>,
    shared: Arc<Shared>,
}

impl Slot {
    /// From now on a cancel request cancels `token`; none: nothing runs.
    pub fn runs(&self, token: Option<CancelToken>) {
        *self.running.lock() = token;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.register.lock().remove(&self.process);
    }
}

impl Shared {
    /// A place in the register; refused when `connections_max` are taken.
    pub fn register(self: &Arc<Self>, secret: i32) -> Result<Slot> {
        let mut register = self.register.lock();
        if register.len() >= self.settings.connections_max {
            return Err(Error::limit("sorry, too many clients already")
                .with_code(sqlstate::TOO_MANY_CONNECTIONS)
                .with_detail(format!("{} connections are open.", register.len()))
                .with_hint("Close some, or raise setting connections_max."));
        }
        let process = self.next_process.fetch_add(1, Ordering::Relaxed);
        let running = Arc::new(Mutex::new(None));
        register.insert(process, Entry { secret, running: Arc::clone(&running) });
        Ok(Slot { process, secret, running, shared: Arc::clone(self) })
    }

    /// Cancels what connection `process` runs, if `secret` is its secret. Like PostgreSQL, does not say whether it did.
    pub fn cancel(&self, process: i32, secret: i32) {
        let register = self.register.lock();
        let Some(entry) = register.get(&process).filter(|entry| entry.secret == secret) else { return };
        if let Some(token) = &*entry.running.lock() {
            token.cancel(CancelReason::Client);
        }
    }
}

/// The address that `listen` names, which must be this machine's own: anyone may connect as anyone.
fn resolve(listen: &str) -> Result<SocketAddr> {
    let refused = |message: String| Error::invalid(message).with_hint("Write it as 127.0.0.1:7432 or localhost:7432.");
    let mut addresses = listen
        .to_socket_addrs()
        .map_err(|error| refused(format!("setting \"listen\" names no address: \"{listen}\": {error}")))?;
    let address =
        addresses.next().ok_or_else(|| refused(format!("setting \"listen\" names no address: \"{listen}\"")))?;
    if !address.ip().is_loopback() {
        return Err(Error::unsupported(format!("setting \"listen\" names an address of the network: \"{listen}\""))
            .with_detail("There are no passwords yet: anyone who can connect may do everything.")
            .with_hint("Listen on 127.0.0.1 or [::1], and reach it from elsewhere through an SSH tunnel."));
    }
    Ok(address)
}

impl Server {
    /// Listens on `settings.listen`. Fails when the address is in use or not this machine's own.
    pub async fn bind(settings: Arc<Settings>, engine: Arc<dyn SqlEngine>) -> Result<Server> {
        let wanted = resolve(&settings.listen)?;
        let in_use = |error: std::io::Error| {
            Error::unavailable(format!("address {wanted} does not open for listening: {error}"))
                .with_code(sqlstate::IO_ERROR)
                .with_hint("Choose another port with --listen; port 0 takes a free one.")
                .caused_by(error)
        };
        let listener = TcpListener::bind(wanted).await.map_err(in_use)?;
        let address = listener.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let shared = Shared {
            settings,
            engine,
            stopping,
            next_process: AtomicI32::new(1),
            register: Mutex::new(HashMap::new()),
        };
        Ok(Server { listener, address, shared: Arc::new(shared), stop })
    }

    /// Where it listens; the port is never 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends. Then running statements are cancelled, clients told, and connections awaited for half
    /// of `shutdown_timeout`: the other half is the engine's.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Server { listener, shared, stop: stopping, .. } = self;
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let open_max = shared.settings.connections_max.saturating_add(STARTING_MAX);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < open_max => {
                        connections.spawn(converse(stream, Arc::clone(&shared)));
                    }
                    Ok(_) => tracing::warn!(open_max, "connection dropped: too many are in their start"),
                    Err(error) => {
                        tracing::warn!(%error, "connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            }
        }
        drop(listener);
        stopping.send_replace(true);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if timeout(shared.settings.shutdown_timeout / 2, all_ended).await.is_err() {
            tracing::warn!("connections dropped at the stop: they did not end in time");
        }
    }
}

/// A connection's task ended: a panic in it is a bug of ours, and has cost one client only.
fn report(ended: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection ended by a bug");
    }
}

/// One connection from its first byte to its last.
async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers must not wait for a full packet.
    let _ = stream.set_nodelay(true);
    let mut socket = Socket::new(stream);
    let opened = tokio::select! {
        opened = open(&mut socket, &shared) => opened,
        () = stopped(&shared.stopping) => return,
    };
    match opened {
        Ok(Opened::Session(session, slot)) => {
            let connection = Connection::new(socket, session, slot, Arc::clone(&shared));
            if let Err(error) = Box::pin(connection.run()).await {
                tracing::debug!(%error, "client is gone");
            }
        }
        Ok(Opened::Nobody) => {}
        Err(error) => tracing::debug!(%error, "client left at its start"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        let check = |listen: &str, expected: &str| {
            let shown =
                resolve(listen).map_or_else(|error| error.sqlstate().to_string(), |address| address.to_string());
            assert_eq!(shown, expected, "{listen}");
        };
        check("127.0.0.1:0", "127.0.0.1:0");
        check("[::1]:7432", "[::1]:7432");
        check("0.0.0.0:7432", "0A000");
        check("192.0.2.1:7432", "0A000");
        check("127.0.0.1", "22023");
        check("nonsense", "22023");
    }
}
