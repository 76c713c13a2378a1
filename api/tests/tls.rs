//! TLS: who gets in, what a server does with those who speak something else or nothing, and certificates that change.

mod common;

use common::{parse, start};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidewatch_api::ApiConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

const SOON: Duration = Duration::from_secs(10);

/// An authority and what it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("random numbers");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let authority = Authority {
            issuer,
            folder: tempfile::tempdir().expect("a folder"),
        };
        authority.write("ca.pem", &authority.issuer.as_ref().pem());
        authority.sign("127.0.0.1");
        authority
    }

    /// Writes a new certificate for a host, and its key.
    fn sign(&self, host: &str) {
        let params = CertificateParams::new([host.to_owned()]).expect("a host");
        let key = KeyPair::generate().expect("random numbers");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        self.write("key.pem", &key.serialize_pem());
        self.write("cert.pem", &certificate.pem());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of a server with its certificate.
    fn config(&self) -> ApiConfig {
        ApiConfig {
            cert_file: Some(self.path("cert.pem")),
            key_file: Some(self.path("key.pem")),
            header_timeout: "500ms".to_owned(),
            ..ApiConfig::default()
        }
    }

    /// A client that trusts it, and shows a certificate if there is one.
    fn client(&self, shows: Option<&Authority>, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        for certificate in pem(&self.path("ca.pem")) {
            roots.add(certificate).expect("an authority");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match shows {
            None => builder.with_no_client_auth(),
            Some(shows) => {
                let key = PrivateKeyDer::from_pem_file(shows.path("key.pem")).expect("a key");
                let shown = builder.with_client_auth_cert(pem(&shows.path("cert.pem")), key);
                shown.expect("a certificate and its key")
            }
        };
        Arc::new(config).into()
    }
}

fn pem(path: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(path).expect("a file");
    read.map(|certificate| certificate.expect("PEM")).collect()
}

async fn connect(client: &TlsConnector, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(address.ip().to_string()).expect("an address");
    client.connect(name, tcp).await
}

/// The status of `/healthz`, or what went wrong on the way.
async fn status(client: &TlsConnector, address: SocketAddr) -> Result<u16, String> {
    let asking = async {
        let mut stream = connect(client, address).await?;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(parse(&answer).status)
    };
    let asked = timeout(SOON, asking).await.expect("an answer in time");
    asked.map_err(|error| error.to_string())
}

#[tokio::test]
async fn who_trusts_the_authority_gets_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = start("open", authority.config()).await;
    assert_eq!(server.bound.url(), format!("https://{}", server.address));
    for versions in [&[&TLS13][..], &[&TLS12]] {
        let client = authority.client(None, versions);
        assert_eq!(status(&client, server.address).await, Ok(200));
    }
    let refused = status(&other.client(None, &[&TLS13]), server.address).await;
    let problem = refused.expect_err("it is by nobody whom the client trusts");
    assert!(problem.contains("invalid peer certificate"), "{problem}");
}

#[tokio::test]
async fn a_client_shows_a_certificate_where_one_is_asked_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let config = ApiConfig {
        client_ca_file: Some(authority.path("ca.pem")),
        ..authority.config()
    };
    let server = start("open", config).await;
    let shows = |shows| authority.client(shows, &[&TLS13]);
    assert_eq!(status(&shows(Some(&authority)), server.address).await, Ok(200));
    for client in [shows(None), shows(Some(&other))] {
        let refused = status(&client, server.address).await;
        assert!(refused.is_err(), "{refused:?}");
    }
}

#[tokio::test]
async fn plain_http_is_told_that_it_is_wrong_here() {
    let authority = Authority::new();
    let server = start("open", authority.config()).await;
    let answer = common::get(server.address, "/healthz").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("https://"), "{}", answer.body);
    let metrics = get_encrypted(&authority, server.address, "/metrics").await;
    assert!(
        metrics.contains("tidewatch_http_tls_handshakes_failed_total 1"),
        "{metrics}"
    );
}

async fn get_encrypted(authority: &Authority, address: SocketAddr, path: &str) -> String {
    let mut stream = connect(&authority.client(None, &[&TLS13]), address)
        .await
        .expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_ended() {
    let authority = Authority::new();
    let server = start("open", authority.config()).await;
    // Nothing, and the beginning of a ClientHello.
    for sent in [&b""[..], b"\x16\x03\x01\x00\xc8\x01"] {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        stream.write_all(sent).await.expect("sent");
        let begun = Instant::now();
        let mut rest = Vec::new();
        let read = timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "the server didn't close");
        assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    }
    // Meanwhile it answers others, and stops at once.
    let _slow = TcpStream::connect(server.address).await.expect("connected");
    assert_eq!(
        status(&authority.client(None, &[&TLS13]), server.address).await,
        Ok(200)
    );
    server.stop.send(true).expect("it listens");
    timeout(SOON, server.bound.stopped()).await.expect("it stops");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let authority = Authority::new();
    let config = ApiConfig {
        connections_max: 1,
        header_timeout: "10s".to_owned(),
        ..authority.config()
    };
    let server = start("open", config).await;
    let client = authority.client(None, &[&TLS13]);
    let _held = connect(&client, server.address).await.expect("connected");
    assert_eq!(status(&client, server.address).await, Ok(503));
}

#[tokio::test]
async fn a_certificate_is_renewed_while_it_runs() {
    let (authority, next) = (Authority::new(), Authority::new());
    let server = start("open", authority.config()).await;
    let (old, new) = (authority.client(None, &[&TLS13]), next.client(None, &[&TLS13]));
    assert_eq!(status(&old, server.address).await, Ok(200));
    let heard = |what: &str| {
        let events = server.events.lock().expect("not poisoned");
        events.iter().any(|event| event.contains(what))
    };
    // One file without the other: it goes on with what it had, and says so.
    let copy = |name: &str| std::fs::copy(next.path(name), authority.path(name)).expect("copied");
    copy("cert.pem");
    let begun = Instant::now();
    while !heard("stays in force") {
        assert!(begun.elapsed() < SOON, "{:?}", server.events);
        assert_eq!(status(&old, server.address).await, Ok(200));
        sleep(Duration::from_millis(50)).await;
    }
    copy("key.pem");
    let begun = Instant::now();
    while status(&new, server.address).await != Ok(200) {
        assert!(begun.elapsed() < SOON, "{:?}", server.events);
        sleep(Duration::from_millis(50)).await;
    }
    assert!(heard("a new certificate is in force"));
    assert!(status(&old, server.address).await.is_err());
}

#[tokio::test]
async fn a_websocket_goes_over_it() {
    let authority = Authority::new();
    let server = start("open", authority.config()).await;
    let stream = connect(&authority.client(None, &[&TLS13]), server.address)
        .await
        .expect("connected");
    let url = format!("wss://{}/v1/live", server.address);
    let (_socket, answer) = tokio_tungstenite::client_async(url, stream).await.expect("a WebSocket");
    assert_eq!(answer.status(), 101);
}
