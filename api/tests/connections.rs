//! Connections: slow heads, too many of them, stopping, and a port that is taken.

mod common;

use common::{ADMIN, Server, VIEWER, ask, exchange, get, handles, start};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tidewatch_api::{ApiConfig, ErrorKind, Handles, Kept, ReadError, SeriesReader, listen, serve};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::query::SeriesQuery;
use tidewatch_proto::row::Row;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(5);

fn short() -> ApiConfig {
    ApiConfig {
        header_timeout: "300ms".to_owned(),
        ..ApiConfig::default()
    }
}

/// Reads until the server closes; panics when it doesn't.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match timeout(SOON, stream.read_to_end(&mut rest)).await {
        Ok(_) => rest,
        Err(_) => panic!("the server didn't close"),
    }
}

/// A connection that the server has surely taken: it answered a request, and is kept open.
async fn taken(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\"ok\"}") {
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "closed");
    }
    stream
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_are_closed() {
    let server = start("open", short()).await;
    let mut silent = TcpStream::connect(server.address).await.expect("connected");
    let mut slow = TcpStream::connect(server.address).await.expect("connected");
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHos").await.expect("sent");
    let begun = Instant::now();
    closed(&mut slow).await;
    closed(&mut silent).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(200) && begun.elapsed() < SOON,
        "{:?}",
        begun.elapsed()
    );

    let mut kept = taken(server.address).await;
    assert!(closed(&mut kept).await.is_empty());
}

#[tokio::test]
async fn drops_of_a_head_do_not_add_up() {
    let server = start("open", short()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let dripping = async {
        for byte in b"GET /healthz HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".chunks(1) {
            if stream.write_all(byte).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("it took {} bytes one by one", 70);
    };
    timeout(SOON, dripping).await.expect("closed soon");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_room_comes_back() {
    let config = ApiConfig {
        connections_max: 2,
        ..ApiConfig::default()
    };
    let server = start("open", config).await;
    let (first, second) = (taken(server.address).await, taken(server.address).await);
    let refused = get(server.address, "/healthz").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(refused.body.contains("too many connections"), "{refused:?}");
    drop((first, second));
    let begun = Instant::now();
    let mut refusals = 1;
    let page = loop {
        let page = get(server.address, "/metrics").await;
        if page.body.contains("\ntidewatch_http_connections 1\n") {
            break page;
        }
        assert!(begun.elapsed() < SOON, "room doesn't come back: {page:?}");
        refusals += u32::from(page.status == 503);
    };
    let line = format!("\ntidewatch_http_connections_refused_total {refusals}\n");
    assert!(page.body.contains(&line), "{}", page.body);
}

#[tokio::test]
async fn garbage_and_huge_heads_are_refused() {
    let server = start("open", ApiConfig::default()).await;
    let garbage = exchange(server.address, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        .await
        .expect("an answer");
    assert!(
        garbage.starts_with(b"HTTP/1.1 400"),
        "{:?}",
        String::from_utf8_lossy(&garbage)
    );
    let huge = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(200_000));
    // The server may close before it has read all, so the client may see a reset instead of the 431.
    if let Ok(answer) = exchange(server.address, huge.as_bytes()).await {
        assert!(
            answer.starts_with(b"HTTP/1.1 431"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(get(server.address, "/healthz").await.status, 200);
}

/// A question that is being answered until the test lets it go.
struct Held {
    begun: watch::Sender<bool>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl SeriesReader for Held {
    fn series(&self, _: SeriesQuery) -> Result<Option<Vec<Row>>, ReadError> {
        self.begun.send_replace(true);
        let go_on = self.go_on.lock().expect("not poisoned");
        go_on.recv().expect("the test goes on");
        Ok(None)
    }

    fn as_of(&self) -> Option<Epoch> {
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_lets_a_request_finish_and_closes_what_is_idle() {
    let (begun, mut has_begun) = watch::channel(false);
    let (go_on, waits) = mpsc::channel();
    let held = Held {
        begun,
        go_on: Mutex::new(waits),
    };
    let handles = Handles {
        kept: Arc::new(Kept::default),
        series: Arc::new(held),
        ..handles(&[], Arc::default())
    };
    let config = ApiConfig {
        listen: "127.0.0.1:0".to_owned(),
        ..ApiConfig::default()
    };
    let (stop, stopped) = watch::channel(false);
    let settings = config.resolve(false).expect("good");
    let port = listen(&settings).await.expect("a free port");
    let bound = serve(port, settings, handles, stopped);
    let address = bound.local_addr();

    let mut fresh = TcpStream::connect(address).await.expect("connected");
    let (mut idle, mut busy) = (taken(address).await, taken(address).await);
    let request = format!("GET /v1/series/held/temp HTTP/1.1\r\nHost: {address}\r\n\r\n");
    busy.write_all(request.as_bytes()).await.expect("sent");
    has_begun.wait_for(|begun| *begun).await.expect("it is being answered");
    stop.send(true).expect("the server listens");
    // What is idle is closed while the request is still being answered.
    closed(&mut fresh).await;
    closed(&mut idle).await;
    go_on.send(()).expect("it waits");
    assert!(closed(&mut busy).await.starts_with(b"HTTP/1.1 404"));
    timeout(SOON, bound.stopped()).await.expect("it stops");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_sender_stops_it_too() {
    let Server { stop, bound, .. } = start("open", ApiConfig::default()).await;
    drop(stop);
    timeout(SOON, bound.stopped()).await.expect("it stops");
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let server = start("open", ApiConfig::default()).await;
    let config = ApiConfig {
        listen: server.address.to_string(),
        ..ApiConfig::default()
    };
    let settings = config.resolve(false).expect("good");
    let error = listen(&settings).await.expect_err("the port is taken");
    let line = error.to_string();
    assert!(
        line.contains(&server.address.to_string()) && line.contains("`api.listen`"),
        "{line}"
    );
    assert!(!line.contains('\n') && error.kind() == ErrorKind::Retry, "{line}");
}

#[tokio::test]
async fn tokens_change_while_it_runs() {
    let server = start("tokens", ApiConfig::default()).await;
    let status = async |token: &str, path: &str| {
        let headers = [
            format!("Host: {}", server.address),
            format!("Authorization: Bearer {token}"),
        ];
        ask(server.address, "GET", path, &headers).await.status
    };
    let write = async |text: String| std::fs::write(server.token_file.path(), text).expect("written");
    let becomes = async |wanted: [u16; 2], asked: [(&str, &str); 2]| {
        let begun = Instant::now();
        loop {
            let is = [
                status(asked[0].0, asked[0].1).await,
                status(asked[1].0, asked[1].1).await,
            ];
            if is == wanted {
                return;
            }
            assert!(begun.elapsed() < SOON, "{asked:?} is {is:?}, not {wanted:?}");
        }
    };
    assert_eq!(status(VIEWER, "/v1/").await, 200);
    write(format!("admin {ADMIN}\n")).await;
    becomes([401, 200], [(VIEWER, "/v1/"), (ADMIN, "/v1/")]).await;
    write(format!("admin {ADMIN}\nviewer")).await;
    becomes([503, 503], [(ADMIN, "/v1/"), (ADMIN, "/readyz")]).await;
    assert_eq!(status("", "/healthz").await, 200);
    write(format!("admin {ADMIN}\n\n\n")).await;
    becomes([200, 200], [(ADMIN, "/readyz"), (ADMIN, "/v1/")]).await;
    let events = server.events.lock().expect("not poisoned").clone();
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events[1].contains("line 2 is not `role token`"), "{events:?}");
    assert!(!events.iter().any(|event| event.contains(ADMIN)), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_logged_once_with_their_cause_and_told_without_it() {
    let server = start("open", ApiConfig::default()).await;
    let answer = get(server.address, "/v1/series/away/temp").await;
    assert!(
        answer.status == 503 && !answer.body.contains("secret-host"),
        "{answer:?}"
    );
    get(server.address, "/v1/series/panics/temp").await;
    let events = server.events.lock().expect("not poisoned").clone();
    assert_eq!(
        events,
        [
            "can't read rows for /v1/series/away/temp: the store: secret-host:5432",
            "reading rows for /v1/series/panics/temp panicked"
        ]
    );
}

#[tokio::test]
async fn what_a_browser_has_of_the_page_is_not_sent_again() {
    let server = start("open", ApiConfig::default()).await;
    let first = get(server.address, "/page/app.js").await;
    let tag = first.header("etag").expect("a tag").to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("\"other\", W/{tag}"), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let headers = [format!("Host: {}", server.address), format!("If-None-Match: {known}")];
        let again = ask(server.address, "GET", "/page/app.js", &headers).await;
        assert_eq!(
            (again.status, again.body.is_empty()),
            (status, status == 304),
            "{known}"
        );
    }
}
