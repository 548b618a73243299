//! A connection's start: encryption, cancel requests passed on, who (and whether it is true) and which database asked, and the
//! session's first settings.

use std::sync::Arc;

use tokio::time::timeout;

use super::frame::{First, take_first};
use super::login::prove;
use super::messages::{self, Fate};
use super::server::{Shared, Slot};
use super::socket::Socket;
use crate::base::{Error, Result, random, sqlstate};
use crate::engine::{Notice, SqlSession, TransactionState};

/// The one database.
pub const DATABASE: &str = "millstream";

/// Encryption requests before a hello: TLS, then GSS.
const ENCRYPTION_REQUESTS_MAX: usize = 2;

/// What a connection turned out to be.
pub enum Opened {
    /// A client with its session and its place in the register.
    Session(Box<dyn SqlSession>, Slot),
    /// A cancel request, or nobody: to be closed.
    Nobody,
}

/// Says hello. Errors were already told to the client.
pub async fn open(socket: &mut Socket, shared: &Arc<Shared>) -> std::io::Result<Opened> {
    let first = match timeout(shared.settings.startup_timeout, read_first(socket, shared)).await {
        Ok(first) => first?,
        Err(_) => return Ok(Opened::Nobody),
    };
    let opened = match first {
        Ok(Some(First::Startup(minor, parameters))) => greet(socket, shared, minor, parameters).await,
        Ok(Some(First::Cancel(process, secret))) => {
            shared.cancel(process, secret);
            return Ok(Opened::Nobody);
        }
        Ok(Some(First::Tls | First::Gss) | None) => return Ok(Opened::Nobody),
        Err(error) => Err(error),
    };
    match opened {
        Ok((session, slot)) => Ok(Opened::Session(session, slot)),
        Err(error) => {
            messages::error(&mut socket.output, &error, Fate::Fatal);
            socket.flush().await?;
            Ok(Opened::Nobody)
        }
    }
}

/// The first message that is no request for encryption; none when the client left before it. Encrypts the socket when it
/// is asked to and there is a certificate.
async fn read_first(socket: &mut Socket, shared: &Shared) -> std::io::Result<Result<Option<First>>> {
    let mut encryption_requests = 0;
    loop {
        match take_first(&mut socket.input) {
            Ok(Some(First::Tls)) if shared.tls.is_some() && socket.certificate().is_none() => {
                if !socket.input.is_empty() {
                    return Ok(Err(Error::invalid("received unencrypted data after SSL request")
                        .with_code(sqlstate::PROTOCOL_VIOLATION)));
                }
                socket.output.extend_from_slice(b"S");
                socket.flush().await?;
                if let Some(tls) = &shared.tls {
                    socket.encrypt(tls.loaded()).await?;
                }
            }
            Ok(Some(First::Tls | First::Gss)) if encryption_requests < ENCRYPTION_REQUESTS_MAX => {
                encryption_requests += 1;
                // What came behind the request was sent in clear by someone who expected it encrypted: dropped, as
                // PostgreSQL does since CVE-2021-23214.
                socket.input.clear();
                socket.output.extend_from_slice(b"N");
                socket.flush().await?;
            }
            Ok(Some(first)) => return Ok(Ok(Some(first))),
            Ok(None) => {
                if !socket.read().await? {
                    return Ok(Ok(None));
                }
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// What the parameters of a hello ask for.
struct Wishes {
    user: String,
    database: String,
    settings: Vec<(String, String)>,
    unknown: Vec<String>,
}

fn wishes(parameters: Vec<(String, String)>) -> Result<Wishes> {
    let (mut user, mut database) = (None, None);
    let (mut settings, mut unknown) = (Vec::new(), Vec::new());
    for (name, value) in parameters {
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "options" => settings.extend(options(&value)?),
            "replication" if value != "false" && value != "off" && value != "0" => {
                return Err(Error::unsupported("replication connections are not supported")
                    .with_hint("Follow changes with SUBSCRIBE TO a relation."));
            }
            "replication" => {}
            _ if name.starts_with("_pq_.") => unknown.push(name),
            _ => settings.push((name, value)),
        }
    }
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::invalid("no user name specified in startup packet").with_code(sqlstate::INVALID_AUTHORIZATION)
    })?;
    let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| DATABASE.to_string());
    Ok(Wishes { user, database, settings, unknown })
}

/// `-c name=value --name=value …`, blanks escaped with a backslash.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (blank, _) if blank.is_whitespace() => words.push(String::new()),
            (_, Some(word)) => word.push(character),
            (_, None) => {}
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => Some(long.to_string()),
            (None, Some("")) => words.next(),
            (None, Some(joined)) => Some(joined.to_string()),
            (None, None) => None,
        };
        let pair = setting.as_deref().and_then(|setting| setting.split_once('='));
        let (name, value) = pair.ok_or_else(|| {
            Error::invalid(format!("invalid command-line argument for server process: {word}"))
                .with_code(sqlstate::SYNTAX_ERROR)
                .with_hint("Options are written -c name=value.")
        })?;
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

/// Refuses who comes over the network, where not every client proves who it is or what is said is not encrypted.
fn safe_enough(socket: &Socket, shared: &Shared) -> Result<()> {
    if socket.peer().ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let refused = |message: &str| Error::invalid(message).with_code(sqlstate::INVALID_AUTHORIZATION);
    if socket.certificate().is_none() {
        return Err(refused("connections over the network must be encrypted")
            .with_hint("Connect with sslmode=require or better."));
    }
    if !shared.engine.asks_passwords() {
        return Err(refused("no role has a password: only this machine itself may connect")
            .with_hint("Connect on that machine, and ALTER ROLE millstream PASSWORD '...'."));
    }
    Ok(())
}

async fn greet(
    socket: &mut Socket,
    shared: &Arc<Shared>,
    minor: u16,
    parameters: Vec<(String, String)>,
) -> Result<(Box<dyn SqlSession>, Slot)> {
    let wishes = wishes(parameters)?;
    safe_enough(socket, shared)?;
    let proved = timeout(shared.settings.startup_timeout, Box::pin(prove(socket, shared, &wishes.user))).await;
    proved.map_err(|_| {
        Error::unavailable("canceling authentication due to timeout").with_code(sqlstate::QUERY_CANCELED)
    })??;
    if wishes.database != DATABASE {
        return Err(Error::invalid(format!("database \"{}\" does not exist", wishes.database))
            .with_code(sqlstate::INVALID_CATALOG_NAME)
            .with_hint(format!("There is one database: psql -d {DATABASE}.")));
    }
    let slot = shared.register(random::secret() as i32)?;
    let (user, address) = (&wishes.user, socket.peer());
    let mut session = shared.engine.open_session(user, slot.process).await.inspect_err(|error| {
        tracing::warn!(target: "audit", user, %address, %error, "login refused");
    })?;
    tracing::info!(target: "audit", user, %address, process = slot.process, "login");
    let mut notices = Vec::new();
    for (name, value) in &wishes.settings {
        match session.settings_mut().set_at_start(name, value) {
            Ok(()) => {}
            // Drivers send the zone of the machine they run on, unasked: no reason to refuse them.
            Err(error) if name.eq_ignore_ascii_case("timezone") => {
                let notice = Notice::warning(format!("time zone \"{value}\" is not used: times are shown in UTC"));
                notices.push(match error.hint() {
                    Some(hint) => notice.with_hint(hint),
                    None => notice,
                });
            }
            Err(error) => return Err(error),
        }
    }
    let out = &mut socket.output;
    if minor > 0 || !wishes.unknown.is_empty() {
        messages::negotiate(out, wishes.unknown);
    }
    messages::authentication_ok(out);
    for (name, value) in session.settings().reported() {
        messages::parameter_status(out, name, value);
    }
    messages::backend_key(out, slot.process, slot.secret);
    for notice in &notices {
        messages::notice(out, notice);
    }
    messages::ready(out, TransactionState::Idle);
    Ok((session, slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_as_postgres_splits_them() {
        let check = |text: &str, expected: &str| {
            let shown = match options(text) {
                Ok(settings) => {
                    settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(";")
                }
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{text}");
        };
        check("", "");
        check(
            "-c epoch=manual  -cstatement_timeout=5s --read-timeout=1s",
            "epoch=manual;statement_timeout=5s;read_timeout=1s",
        );
        check("-c application_name=a\\ b", "application_name=a b");
        check("-x", "invalid command-line argument for server process: -x");
        check("-c", "invalid command-line argument for server process: -c");
    }
}
