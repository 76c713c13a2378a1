//! TLS: what connections are encrypted with. Its files are read again when they change.

use crate::error::Error;
use crate::handles::Event;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error as TlsError, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

const CERT_FILE: &str = "api.cert_file";
const KEY_FILE: &str = "api.key_file";
const CLIENT_CA_FILE: &str = "api.client_ca_file";

/// How often the files' times are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first byte of whatever begins TLS.
const HANDSHAKE: u8 = 22;

/// The PEM files of a server.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The certificate, and those between it and an authority.
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// The authorities by which a client's certificate must be; without it clients need none.
    pub(crate) client_ca: Option<PathBuf>,
}

/// What connections are encrypted with at the moment.
///
/// When the files change into something that can't be used, what was read before stays in force: a certificate is
/// renewed file by file.
pub(crate) struct Tls {
    files: Files,
    state: RwLock<State>,
}

struct State {
    looked: Instant,
    stamps: Stamps,
    acceptor: TlsAcceptor,
}

/// What tells one version of the files from another.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// How a connection begins.
pub(super) enum Begun {
    Encrypted(Box<TlsStream<TcpStream>>),
    /// It speaks something else, most likely plain HTTP.
    Plain(TcpStream),
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(files: Files) -> Result<Tls, Error> {
        let stamps = files.stamps();
        let acceptor = files.read()?;
        let state = State {
            looked: Instant::now(),
            stamps,
            acceptor,
        };
        Ok(Tls {
            files,
            state: RwLock::new(state),
        })
    }

    /// Reads the files again if they changed, and gives what is in force.
    ///
    /// It looks at local files' times now and then, which takes microseconds, so async code may call it.
    pub(super) fn refresh(&self, events: &dyn Fn(Event<'_>)) -> TlsAcceptor {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.looked.elapsed() < LOOK_EVERY {
                return state.acceptor.clone();
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let stamps = self.files.stamps();
        state.looked = Instant::now();
        if stamps != state.stamps {
            // The times are taken before the files are read, so that a change in between is seen next time.
            state.stamps = stamps;
            match self.files.read() {
                Ok(acceptor) => {
                    state.acceptor = acceptor;
                    events(Event::CertificateLoaded);
                }
                Err(error) => events(Event::CertificateRefused {
                    problem: &error.to_string(),
                }),
            }
        }
        state.acceptor.clone()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Shakes hands with whoever has connected.
pub(super) async fn begin(acceptor: TlsAcceptor, tcp: TcpStream) -> io::Result<Begun> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        return Ok(Begun::Plain(tcp));
    }
    Ok(Begun::Encrypted(Box::new(acceptor.accept(tcp).await?)))
}

impl Files {
    fn stamps(&self) -> Stamps {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        let stamp = |file: &PathBuf| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        files.into_iter().flatten().map(stamp).collect()
    }

    fn read(&self) -> Result<TlsAcceptor, Error> {
        let chain = certificates(CERT_FILE, &self.cert)?;
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| unread(KEY_FILE, &self.key, "private key without a password", error))?;
        let roots = match &self.client_ca {
            Some(file) => Some((file.as_path(), certificates(CLIENT_CA_FILE, file)?)),
            None => None,
        };
        let builder = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| Error::config(CERT_FILE, error.to_string()))?;
        let builder = match roots {
            None => builder.with_no_client_auth(),
            Some((file, certificates)) => builder.with_client_cert_verifier(verifier(file, certificates)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let problem = format!(
                    "{} is not the key of the certificate in {CERT_FILE}",
                    self.key.display()
                );
                Error::config(KEY_FILE, problem)
            }
            TlsError::InvalidCertificate(_) => unusable(CERT_FILE, &self.cert, &error),
            _ => unusable(KEY_FILE, &self.key, &error),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }
}

/// What checks a client's certificate.
fn verifier(
    file: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(CLIENT_CA_FILE, file, &error))?;
    }
    let provider = aws_lc_rs::default_provider().into();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
    verifier.map_err(|error| unusable(CLIENT_CA_FILE, file, &error))
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(none) if none.is_empty() => Err(pem::Error::NoItemsFound),
        read => read,
    }
    .map_err(|error| unread(key, file, "certificate", error))
}

fn unread(key: &'static str, file: &Path, noun: &str, error: pem::Error) -> Error {
    let file = file.display();
    Error::config(
        key,
        match error {
            pem::Error::Io(error) => format!("can't read {file}: {error}"),
            pem::Error::NoItemsFound => format!("{file} holds no {noun} in PEM"),
            error => format!("{file} is no PEM: {error}"),
        },
    )
}

fn unusable(key: &'static str, file: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::config(key, format!("{} can't be used: {error}", file.display()))
}
