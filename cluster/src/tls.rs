//! Encryption between the processes: TLS 1.3, on which each shows the other a certificate by the cluster's authority.
//!
//! The handshake by the secret stays inside it: a certificate alone lets nobody in.

use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const CA_FILE: &str = "cluster.ca_file";
const CERT_FILE: &str = "cluster.cert_file";
const KEY_FILE: &str = "cluster.key_file";

/// A connection, encrypted or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A process's certificate and what it checks those of others against. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// A file that can't be used for encryption.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct TlsError {
    /// The configuration's key that names it.
    pub key: &'static str,
    /// What is wrong, with the file's name.
    pub problem: String,
}

impl TlsError {
    fn new(key: &'static str, file: &Path, problem: impl std::fmt::Display) -> TlsError {
        let problem = format!("{} {problem}", file.display());
        TlsError { key, problem }
    }

    fn pem(key: &'static str, file: &Path, noun: &str, error: pem::Error) -> TlsError {
        match error {
            pem::Error::Io(error) => TlsError {
                key,
                problem: format!("can't read {}: {error}", file.display()),
            },
            pem::Error::NoItemsFound => TlsError::new(key, file, format!("holds no {noun} in PEM")),
            error => TlsError::new(key, file, format!("is no PEM: {error}")),
        }
    }
}

impl Tls {
    /// Reads PEM files: of the authorities that certificates are checked against, of this process's certificate with
    /// those between it and an authority, and of its private key.
    ///
    /// # Errors
    /// The first file that can't be used.
    pub fn read(ca_file: &Path, cert_file: &Path, key_file: &Path) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(CA_FILE, ca_file)? {
            let added = roots.add(certificate);
            added.map_err(|error| TlsError::new(CA_FILE, ca_file, format!("can't be used: {error}")))?;
        }
        let (roots, chain) = (Arc::new(roots), certificates(CERT_FILE, cert_file)?);
        let key = PrivateKeyDer::from_pem_file(key_file);
        let key = key.map_err(|error| TlsError::pem(KEY_FILE, key_file, "private key without a password", error))?;
        configured(aws_lc_rs::default_provider().into(), &roots, chain, key).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::new(
                KEY_FILE,
                key_file,
                "is not the key of the certificate in cluster.cert_file",
            ),
            Error::InvalidCertificate(_) => TlsError::new(CERT_FILE, cert_file, format!("can't be used: {error}")),
            _ => TlsError::new(KEY_FILE, key_file, format!("can't be used: {error}")),
        })
    }

    /// Encrypts a connection that somebody has made to this process.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(self.acceptor.accept(tcp).await?))
    }

    /// Encrypts a connection that this process has made to an address; the certificate must be for its host.
    pub(crate) async fn connect(&self, tcp: TcpStream, address: &str) -> io::Result<Box<dyn Wire>> {
        let name = host(address).ok_or_else(|| io::Error::other("its address has no host that a certificate can name"));
        Ok(Box::new(self.connector.connect(name?, tcp).await?))
    }
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(none) if none.is_empty() => Err(pem::Error::NoItemsFound),
        read => read,
    }
    .map_err(|error| TlsError::pem(key, file, "certificate", error))
}

fn configured(
    provider: Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Tls, Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
    let accepting = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())?;
    let connecting = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)?;
    Ok(Tls {
        acceptor: Arc::new(accepting).into(),
        connector: Arc::new(connecting).into(),
    })
}

/// Whether this is `host:port`, with a host that a certificate can be for: a name, or an address in numbers.
pub fn is_address(address: &str) -> bool {
    host(address).is_some()
}

fn host(address: &str) -> Option<ServerName<'static>> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(host).to_owned()).ok()
}

/// What went wrong on a connection, in words that stay the same when it happens again.
pub(crate) fn problem(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let words = match tls {
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "it has closed the connection"
            }
            _ => return error.to_string(),
        },
        Some(Error::InvalidMessage(_)) => "it speaks something else than TLS",
        Some(Error::NoCertificatesPresented) => "it shows no certificate",
        Some(Error::AlertReceived(alert)) => return format!("it refuses this process: {alert:?}"),
        Some(Error::InvalidCertificate(wrong)) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is by nobody in cluster.ca_file"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host than its address"
            }
            other => return format!("its certificate can't be used: {other}"),
        },
        Some(other) => return other.to_string(),
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_that_a_certificate_can_name() {
        for good in [
            "localhost:7070",
            "10.0.0.1:7070",
            "[::1]:7070",
            "node-1.fleet.example:1",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "localhost",
            "localhost:",
            "localhost:70700",
            ":7070",
            "a b:7070",
            "[::1:7070",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
