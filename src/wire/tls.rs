//! TLS: certificate and key from files, read again when the process is told to (SIGHUP), and what channel binding needs of
//! the certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::RwLock;
use pgwire::api::auth::sasl::scram::ScramServerAuth;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::server::TlsStream;

use crate::base::{Error, Result, Settings};

/// What PostgreSQL's clients say that they speak inside.
const ALPN: &[u8] = b"postgresql";

/// Certificate and key of this server, as they were read last.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: RwLock<Arc<Loaded>>,
}

/// What connections that begin now use.
pub struct Loaded {
    acceptor: TlsAcceptor,
    /// The first certificate in PEM, of which channel binding takes the hash; none for a signature that has no hash.
    binding: Option<Vec<u8>>,
}

impl Tls {
    /// As the settings say; none when they name no certificate.
    pub fn new(settings: &Settings) -> Result<Option<Arc<Tls>>> {
        match (settings.tls_cert.as_str(), settings.tls_key.as_str()) {
            ("", "") => Ok(None),
            ("", _) | (_, "") => Err(Error::invalid("settings \"tls_cert\" and \"tls_key\" go together")
                .with_hint("Give both: --tls-cert server.crt --tls-key server.key.")),
            (certificate, key) => {
                let (certificate, key) = (PathBuf::from(certificate), PathBuf::from(key));
                let loaded = RwLock::new(Arc::new(load(&certificate, &key)?));
                Ok(Some(Arc::new(Tls { certificate, key, loaded })))
            }
        }
    }

    /// What connections that begin now use.
    pub fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read())
    }

    /// Reads the files again. On an error the old ones stay in use.
    pub fn reload(&self) -> Result<()> {
        *self.loaded.write() = Arc::new(load(&self.certificate, &self.key)?);
        Ok(())
    }
}

impl Loaded {
    /// Makes an encrypted stream of `stream`, on which the client begins to speak TLS.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Whether a login can be bound to the channel.
    pub fn binds(&self) -> bool {
        self.binding.is_some()
    }

    /// Binds the login `scram` to the channel.
    pub fn bind(&self, scram: &mut ScramServerAuth) -> Result<()> {
        match &self.binding {
            Some(pem) => scram
                .configure_certificate(pem)
                .map_err(|error| Error::internal("hash of the certificate could not be made").caused_by(error)),
            None => Ok(()),
        }
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Loaded> {
    let refused = |setting: &str, path: &Path, why: String| {
        Error::invalid(format!("setting \"{setting}\" names a file that is not used: \"{}\"", path.display()))
            .with_detail(format!("{}.", why.trim_end_matches('.')))
            .with_hint("It takes a PEM file: of certificates, the server's own first; of a private key.")
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| refused("tls_cert", certificate, error.to_string()))?;
    let Some(own) = chain.first() else {
        return Err(refused("tls_cert", certificate, "It holds no certificate".into()));
    };
    let body = STANDARD.encode(own.as_ref());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n").into_bytes();
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refused("tls_key", key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| Error::internal("TLS does not know its versions").caused_by(error))?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| refused("tls_key", key, error.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    let binding = ScramServerAuth::new().configure_certificate(&pem).is_ok().then_some(pem);
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), binding })
}
