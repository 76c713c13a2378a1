//! One connection, from its first byte to its last.

use super::told;
use crate::answer::{Routes, Shared, answer};
use crate::problem::{Problem, ProblemKind};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a connection lives at most: so that a client who never reads its answer doesn't keep one for ever.
const AGE_MAX: Duration = Duration::from_secs(600);
/// The most bytes of a request's head, and of an answer that waits to be read by the client.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a refused client has to read that it is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers the requests of a connection until it ends, is too old, or the server stops. One that becomes a WebSocket
/// goes on without it, as one of the subscribers, of which there may be so many.
pub(super) async fn run(
    stream: TcpStream,
    shared: Arc<Shared>,
    routes: Routes,
    header_timeout: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    // It only costs latency where it can't be set.
    let _ = stream.set_nodelay(true);
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
pub(super) async fn refuse(mut stream: TcpStream) {
    let body = Problem::new(ProblemKind::Busy, "too many connections; try again soon").body("/");
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
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
