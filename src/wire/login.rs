//! Who a client is: its password is proved by SCRAM-SHA-256 (under TLS also bound to the channel), whose steps are
//! pgwire's; those who fail wait before they hear
//! of it, longer each time.
//!
//! ```text
//!   AuthenticationSASL ─▶        ◀─ SASLInitialResponse (client-first)
//!   AuthenticationSASLContinue ─▶  ◀─ SASLResponse (client-final)
//!   AuthenticationSASLFinal, then AuthenticationOk
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};
use tokio::time::sleep;

use super::frame::{SaslInitial, sasl_initial, take_password};
use super::messages;
use super::server::Shared;
use super::socket::Socket;
use crate::base::scram::Verifier;
use crate::base::{Error, Result, sqlstate};
use crate::engine::Login;

const SCRAM: &str = "SCRAM-SHA-256";
const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// So many addresses are remembered that failed; an older one is forgotten for a newer.
const ADDRESSES_MAX: usize = 1024;

/// An address is forgotten after this long without a failure.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The wait is doubled at most so often.
const DOUBLINGS_MAX: u32 = 5;

/// How often logins of each address failed, one after another, and when last.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Failures {
    /// A login from `address` failed: how long its answer waits.
    fn note(&self, address: IpAddr, least: Duration) -> Duration {
        let mut known = self.0.lock();
        known.retain(|_, (_, last)| last.elapsed() < FORGOTTEN_AFTER);
        if known.len() >= ADDRESSES_MAX
            && let Some(oldest) = known.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address)
        {
            known.remove(&oldest);
        }
        let (count, last) = known.entry(address).or_insert((0, Instant::now()));
        *last = Instant::now();
        *count = count.saturating_add(1);
        least * 2u32.pow((*count - 1).min(DOUBLINGS_MAX))
    }

    fn forget(&self, address: IpAddr) {
        self.0.lock().remove(&address);
    }
}

fn failed(user: &str) -> Error {
    Error::invalid(format!("password authentication failed for user \"{user}\"")).with_code(sqlstate::INVALID_PASSWORD)
}

/// Has the client prove that it is `user`, where passwords are asked for.
pub async fn prove(socket: &mut Socket, shared: &Shared, user: &str) -> Result<()> {
    let address = socket.peer().ip();
    let verifier = match shared.engine.login(user) {
        Login::Trusted => return Ok(()),
        Login::Password(verifier) => verifier,
    };
    match scram(socket, user, &verifier).await {
        Ok(()) => {
            shared.failures.forget(address);
            Ok(())
        }
        // Who was only asked for a password, and comes again with it.
        Err(error) if error.sqlstate() == sqlstate::CONNECTION_EXCEPTION => Err(error),
        Err(error) => {
            tracing::warn!(target: "audit", user, %address, %error, "login refused");
            sleep(shared.failures.note(address, shared.settings.login_delay)).await;
            Err(error)
        }
    }
}

async fn scram(socket: &mut Socket, user: &str, verifier: &Verifier) -> Result<()> {
    let bound = socket.certificate().filter(|certificate| certificate.binds()).map(Arc::clone);
    let offered = if bound.is_some() { vec![SCRAM_PLUS, SCRAM] } else { vec![SCRAM] };
    messages::sasl(&mut socket.output, offered.iter().map(ToString::to_string).collect());
    let SaslInitial { mechanism, data } = sasl_initial(password(socket).await?)?;
    // The header says `p=` where the login is bound to the channel: with this mechanism, and with no other.
    if !offered.contains(&mechanism.as_str()) || (mechanism == SCRAM_PLUS) != data.starts_with(b"p=") {
        return Err(violation(format!("client selected an invalid SASL authentication mechanism: \"{mechanism}\"")));
    }
    let secret = ScramSecret::Verifier {
        salt: verifier.salt.clone(),
        iterations: verifier.iterations as usize,
        stored_key: verifier.stored_key.to_vec(),
        server_key: verifier.server_key.to_vec(),
    };
    // What pgwire says of a proof that is none stays between us: every failure sounds the same.
    let mut server = ScramServerAuth::new();
    if let Some(certificate) = &bound {
        certificate.bind(&mut server)?;
    }
    let begun = server.on_client_first_message_with_secret(&data, secret);
    let (first, waiting) = begun.map_err(|error| failed(user).caused_by(error))?;
    messages::sasl_continue(&mut socket.output, Bytes::from(first));
    let proof = password(socket).await?;
    let last = waiting.on_client_final_message(&proof).map_err(|error| failed(user).caused_by(error))?;
    messages::sasl_final(&mut socket.output, Bytes::from(last));
    Ok(())
}

fn violation(message: String) -> Error {
    Error::invalid(message).with_code(sqlstate::PROTOCOL_VIOLATION)
}

/// The body of the next message, which is a password or one step of a proof.
async fn password(socket: &mut Socket) -> Result<Bytes> {
    socket.flush().await?;
    loop {
        if let Some(body) = take_password(&mut socket.input)? {
            return Ok(body);
        }
        if !socket.read().await? {
            return Err(
                Error::unavailable("client left before it proved who it is").with_code(sqlstate::CONNECTION_EXCEPTION)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_ends_with_a_login() {
        let (failures, least) = (Failures::default(), Duration::from_millis(100));
        let address = IpAddr::from([192, 0, 2, 1]);
        let waits: Vec<u128> = (0..8).map(|_| failures.note(address, least).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 3200, 3200]);
        assert_eq!(failures.note(IpAddr::from([192, 0, 2, 2]), least), least);
        failures.forget(address);
        assert_eq!(failures.note(address, least), least);
        for low in 0..2000u32 {
            failures.note(IpAddr::from(low.to_be_bytes()), least);
        }
        assert!(failures.0.lock().len() <= ADDRESSES_MAX);
    }
}
