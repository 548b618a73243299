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
use super::login::Failures;
use super::socket::Socket;
use super::startup::{Opened, open};
use super::tls::Tls;
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
    /// Certificate and key; none: nothing is encrypted.
    pub tls: Option<Arc<Tls>>,
    /// Logins that failed.
    pub failures: Failures,
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

/// The address that `listen` names. One that others can reach takes passwords and a certificate.
fn resolve(listen: &str, passwords: bool, encrypted: bool) -> Result<SocketAddr> {
    let refused = |message: String| Error::invalid(message).with_hint("Write it as 127.0.0.1:7432 or localhost:7432.");
    let mut addresses = listen
        .to_socket_addrs()
        .map_err(|error| refused(format!("setting \"listen\" names no address: \"{listen}\": {error}")))?;
    let address =
        addresses.next().ok_or_else(|| refused(format!("setting \"listen\" names no address: \"{listen}\"")))?;
    let missing = match (passwords, encrypted) {
        (true, true) => return Ok(address),
        (false, true) => "No role has a password: anyone who can connect could do everything.",
        (true, false) => "There is no certificate: everyone on the way could read along.",
        (false, false) => {
            "No role has a password, and there is no certificate: anyone who can connect could do everything."
        }
    };
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Error::invalid(format!("setting \"listen\" names an address of the network: \"{listen}\""))
        .with_code(sqlstate::INVALID_AUTHORIZATION)
        .with_detail(missing)
        .with_hint(
            "Set a password (--password-file FILE, or ALTER ROLE millstream PASSWORD on 127.0.0.1) and give a certificate (--tls-cert, --tls-key).",
        ))
}

impl Server {
    /// Listens on `settings.listen`. Fails when the address is in use, or is open to the network and not protected.
    pub async fn bind(settings: Arc<Settings>, engine: Arc<dyn SqlEngine>) -> Result<Server> {
        let tls = Tls::new(&settings)?;
        let wanted = resolve(&settings.listen, engine.asks_passwords(), tls.is_some())?;
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
            tls,
            failures: Failures::default(),
            next_process: AtomicI32::new(1),
            register: Mutex::new(HashMap::new()),
        };
        Ok(Server { listener, address, shared: Arc::new(shared), stop })
    }

    /// Where it listens; the port is never 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Certificate and key, to be read again when the process is told to.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.shared.tls.clone()
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
                    Ok((stream, peer)) if connections.len() < open_max => {
                        connections.spawn(converse(stream, peer, Arc::clone(&shared)));
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
async fn converse(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>) {
    // Small answers must not wait for a full packet.
    let _ = stream.set_nodelay(true);
    let mut socket = Socket::new(stream, peer);
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
    fn the_network_is_listened_on_only_when_it_is_safe() {
        let shown = |listen: &str, passwords: bool, encrypted: bool| {
            let resolved = resolve(listen, passwords, encrypted);
            resolved.map_or_else(|error| error.sqlstate().to_string(), |address| address.to_string())
        };
        for (passwords, encrypted) in [(false, true), (true, false)] {
            assert_eq!(shown("0.0.0.0:7432", passwords, encrypted), "28000");
        }
        assert_eq!(shown("0.0.0.0:7432", true, true), "0.0.0.0:7432");
        let check = |listen: &str, expected: &str| assert_eq!(shown(listen, false, false), expected, "{listen}");
        check("127.0.0.1:0", "127.0.0.1:0");
        check("[::1]:7432", "[::1]:7432");
        check("0.0.0.0:7432", "28000");
        check("192.0.2.1:7432", "28000");
        check("127.0.0.1", "22023");
        check("nonsense", "22023");
    }
}
