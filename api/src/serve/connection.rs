//! One connection, from its first byte to its last.

use super::tls::{self, Begun};
use super::told;
use crate::answer::{Routes, Shared, answer};
use crate::problem::{Problem, ProblemKind};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long a connection lives at most: so that a client who never reads its answer doesn't keep one for ever.
const AGE_MAX: Duration = Duration::from_secs(600);
/// The most bytes of a request's head, and of an answer that waits to be read by the client.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a refused client has to read that it is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that was made, and what it is to be encrypted with.
pub(super) struct Link {
    pub(super) stream: TcpStream,
    pub(super) tls: Option<TlsAcceptor>,
}

/// Answers the requests of a connection until it ends, is too old, or the server stops. One that becomes a WebSocket
/// goes on without it, as one of the subscribers, of which there may be so many.
pub(super) async fn run(
    link: Link,
    shared: Arc<Shared>,
    routes: Routes,
    header_timeout: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    // It only costs latency where it can't be set.
    let _ = link.stream.set_nodelay(true);
    let Some(acceptor) = link.tls else {
        return answer_all(link.stream, shared, routes, header_timeout, shutdown).await;
    };
    // A handshake has as long as a head.
    let begun = tokio::select! {
        begun = timeout(header_timeout, tls::begin(acceptor, link.stream)) => begun,
        () = told(&mut shutdown) => return,
    };
    match begun {
        Ok(Ok(Begun::Encrypted(stream))) => answer_all(*stream, shared, routes, header_timeout, shutdown).await,
        Ok(Ok(Begun::Plain(stream))) => {
            shared.metrics.http.handshakes_failed.inc();
            let detail = "this port speaks TLS: ask by https://";
            say(stream, &Problem::new(ProblemKind::BadRequest, detail)).await;
        }
        Ok(Err(_)) | Err(_) => {
            shared.metrics.http.handshakes_failed.inc();
        }
    }
}

async fn answer_all(
    stream: impl Wire,
    shared: Arc<Shared>,
    routes: Routes,
    header_timeout: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    let request_timeout = shared.request_timeout;
    let service = service_fn(move |request| answer(shared.clone(), routes.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    // How a connection ends, in order or not, is the client's business.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told(&mut shutdown) => {}
        () = tokio::time::sleep(AGE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(request_timeout, connection).await;
}

/// Says that there are too many connections, and closes when the client has read it.
pub(super) async fn refuse(link: Link) {
    let problem = Problem::new(ProblemKind::Busy, "too many connections; try again soon");
    let Some(acceptor) = link.tls else {
        return say(link.stream, &problem).await;
    };
    match timeout(REFUSAL_TIMEOUT, tls::begin(acceptor, link.stream)).await {
        Ok(Ok(Begun::Encrypted(stream))) => say(*stream, &problem).await,
        Ok(Ok(Begun::Plain(stream))) => say(stream, &problem).await,
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Answers with a problem whatever is asked, and closes when the client has read it.
async fn say(mut stream: impl Wire, problem: &Problem) {
    let (body, status) = (problem.body("/"), problem.kind.status());
    let retry = match problem.kind {
        ProblemKind::Busy => "retry-after: 1\r\n",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         {retry}cache-control: no-store\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let said = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        stream.shutdown().await?;
        // Closing with something unread would reset the connection and take the answer with it.
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    // A client who doesn't listen is not told.
    let _ = timeout(REFUSAL_TIMEOUT, said).await;
}

/// What bytes go over.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}
