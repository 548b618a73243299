//! Passwords as they are kept: verifiers of SCRAM-SHA-256 (RFC 5802, RFC 7677) in PostgreSQL's spelling. A verifier tells
//! whether a client knows the password, and does not tell the password.
//!
//! ```text
//!   SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
//!   mechanism     iterations, salt            stored key                                    server key
//!
//!   salted password = PBKDF2-HMAC-SHA-256(SASLprep(password), salt, iterations)
//!   stored key      = SHA-256(HMAC(salted password, "Client Key"))
//!   server key      = HMAC(salted password, "Server Key")
//! ```

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::random;

/// What a verifier begins with.
const MECHANISM: &str = "SCRAM-SHA-256";

/// Iterations of new verifiers: PostgreSQL's number.
const ITERATIONS: u32 = 4096;

/// More of them than this would keep a client that logs in busy for minutes.
const ITERATIONS_MAX: u32 = 10_000_000;

const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How often the password is hashed.
    pub iterations: u32,
    /// What the password is hashed with.
    pub salt: Vec<u8>,
    /// What a client's proof is checked with.
    pub stored_key: [u8; KEY_BYTES],
    /// What this server proves itself with.
    pub server_key: [u8; KEY_BYTES],
}

impl Verifier {
    /// A verifier of `password` with a salt of its own.
    pub fn new(password: &str) -> Verifier {
        let salt: Vec<u8> = (0..SALT_BYTES / 8).flat_map(|_| random::secret().to_le_bytes()).collect();
        Verifier::with_salt(password, salt, ITERATIONS)
    }

    fn with_salt(password: &str, salt: Vec<u8>, iterations: u32) -> Verifier {
        // As PostgreSQL: what SASLprep refuses is taken as it is.
        let prepared = stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password));
        let mut salted = [0u8; KEY_BYTES];
        let times = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, times, &salt, prepared.as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let server_key = hmac::sign(&salted, b"Server Key");
        Verifier { iterations, salt, stored_key: key(stored_key.as_ref()), server_key: key(server_key.as_ref()) }
    }

    /// A verifier that no password fits, the same whenever `user` asks: an outsider does not learn who is a user here.
    pub fn of_nobody(user: &str, secret: u64) -> Verifier {
        let key_of_secret = hmac::Key::new(hmac::HMAC_SHA256, &secret.to_le_bytes());
        let made = |what: &str| key(hmac::sign(&key_of_secret, format!("{what} {user}").as_bytes()).as_ref());
        Verifier {
            iterations: ITERATIONS,
            salt: made("salt").iter().copied().take(SALT_BYTES).collect(),
            stored_key: made("stored"),
            server_key: made("server"),
        }
    }

    /// A verifier from its text; none when the text is none.
    pub fn parse(text: &str) -> Option<Verifier> {
        let mut parts = text.split('$');
        let (mechanism, salted, keys) = (parts.next()?, parts.next()?, parts.next()?);
        let (iterations, salt) = salted.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let bytes = |text: &str| STANDARD.decode(text).ok();
        let whole_key = |text: &str| bytes(text)?.try_into().ok();
        let iterations = iterations.parse().ok().filter(|count| (1..=ITERATIONS_MAX).contains(count))?;
        let salt = bytes(salt).filter(|salt| !salt.is_empty())?;
        if mechanism != MECHANISM || parts.next().is_some() {
            return None;
        }
        Some(Verifier { iterations, salt, stored_key: whole_key(stored_key)?, server_key: whole_key(server_key)? })
    }

    /// Whether it is the verifier of `password`.
    pub fn fits(&self, password: &str) -> bool {
        Verifier::with_salt(password, self.salt.clone(), self.iterations).stored_key == self.stored_key
    }
}

/// The first bytes of a digest, which has exactly so many.
fn key(bytes: &[u8]) -> [u8; KEY_BYTES] {
    std::array::from_fn(|place| bytes.get(place).copied().unwrap_or_default())
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [self.salt.as_slice(), &self.stored_key, &self.server_key].map(|bytes| STANDARD.encode(bytes));
        write!(f, "{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_vectors_of_rfc_7677_hold() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::with_salt("pencil", salt, 4096);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let message =
            format!("n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}");
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = sign(&verifier.stored_key);
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), verifier.stored_key);
        assert_eq!(STANDARD.encode(sign(&verifier.server_key)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_verifier_reads_back_and_fits_its_password_alone() {
        let verifier = Verifier::new("p\u{e4}ssword");
        let text = verifier.to_string();
        assert_eq!(Verifier::parse(&text), Some(verifier.clone()));
        assert!(verifier.fits("p\u{e4}ssword") && !verifier.fits("password"));
        assert_ne!(text, Verifier::new("p\u{e4}ssword").to_string(), "every verifier has a salt of its own");
        assert!(!format!("{verifier:?}").contains(&STANDARD.encode(verifier.stored_key)));
    }

    #[test]
    fn what_is_no_verifier_is_none() {
        let whole = Verifier::new("x").to_string();
        for broken in [
            "",
            "secret",
            "md5d41d8cd98f00b204e9800998ecf8427e",
            &whole[..whole.len() - 4],
            &whole.replace("256$", "512$"),
            &whole.replace("4096", "0"),
            &whole.replace("4096", "99999999999"),
            &format!("{whole}$"),
        ] {
            assert_eq!(Verifier::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn nobodys_verifier_stays_the_same() {
        assert_eq!(Verifier::of_nobody("ada", 7), Verifier::of_nobody("ada", 7));
        assert_ne!(Verifier::of_nobody("ada", 7).salt, Verifier::of_nobody("bob", 7).salt);
    }
}
