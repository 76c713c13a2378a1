//! The WebSocket: subscriptions, snapshots, changes, and who may listen.

mod common;

use common::{Server, VIEWER, anomaly, row, start};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tidewatch_api::ApiConfig;
use tidewatch_api::tap::SharedRows;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Job, Row, Status};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const SOON: Duration = Duration::from_secs(10);
const START: i64 = 1_699_999_200_000;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(server: &Server, headers: &[(&'static str, &str)]) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/v1/live", server.address)
        .into_client_request()
        .expect("a request");
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_str(value).expect("a value"));
    }
    connect_async(request).await.map(|(socket, _)| socket)
}

fn status(refused: Result<Socket, Error>) -> u16 {
    match refused {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("it was not refused: {other:?}"),
    }
}

async fn say(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.expect("sent");
}

/// The next message of a type.
async fn next(socket: &mut Socket, r#type: &str) -> Value {
    let heard = async {
        while let Some(message) = socket.next().await {
            if let Message::Text(text) = message.expect("a message") {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                if message["type"] == r#type {
                    return message;
                }
            }
        }
        panic!("it ended before a {type} came", type = r#type)
    };
    timeout(SOON, heard)
        .await
        .unwrap_or_else(|_| panic!("no {} came", r#type))
}

/// Pushes rows as a worker does, once somebody listens.
async fn push(server: &Server, watch: usize, epoch: u64, rows: Vec<Row>) {
    let begun = std::time::Instant::now();
    while server.feed.0.lock().expect("not poisoned").len() <= watch {
        assert!(begun.elapsed() < SOON, "nobody listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut listeners = server.feed.0.lock().expect("not poisoned");
    listeners[watch]
        .push(Epoch(epoch), vec![RowList::Rows(rows)])
        .expect("somebody listens");
}

fn open(device: &str, revision: u64) -> Row {
    Row {
        revision: Epoch(revision),
        ..row(Job::Minute, device, "temp", START, 60_000, Status::Live)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_then_changes_then_what_is_durable() {
    let server = start("open", ApiConfig::default()).await;
    server.stats.checkpoint_epoch.set(90);
    let mut socket = connect(&server, &[]).await.expect("connected");
    let progress = next(&mut socket, "progress").await;
    assert_eq!(
        (&progress["epoch"], &progress["durable"], &progress["fleet"]),
        (&7_000.into(), &90.into(), &Value::Null)
    );
    assert!(
        server.feed.0.lock().expect("not poisoned").is_empty(),
        "nobody wants rows"
    );

    say(
        &mut socket,
        r#"{"devices":["dev-1"],"metrics":["temp"],"throttle_ms":100,"fleet":true}"#,
    )
    .await;
    push(&server, 0, 100, vec![open("dev-1", 100), open("dev-2", 100)]).await;
    let snapshot = next(&mut socket, "snapshot").await;
    assert_eq!(
        (&snapshot["epoch"], &snapshot["durable"]),
        (&100.into(), &90.into()),
        "it is ahead of what is durable"
    );
    let rows = snapshot["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 1, "of dev-2 nothing is wanted");
    assert_eq!(
        (&rows[0]["device_id"], &rows[0]["status"], &rows[0]["window"]),
        (&"dev-1".into(), &"live".into(), &"1m".into())
    );
    assert_eq!(rows[0]["window_start"], "2023-11-14T22:00:00.000Z");

    push(&server, 0, 101, vec![open("dev-1", 101)]).await;
    let change = next(&mut socket, "rows").await;
    assert_eq!(change["rows"][0]["revision"], 101);

    let done = Row {
        status: Status::Final,
        ..open("dev-1", 102)
    };
    let rollup = row(Job::SiteMinute, "dev-1", "temp", START, 60_000, Status::Final);
    let rows: SharedRows = Arc::new(vec![done, rollup]);
    server.stats.checkpoint_epoch.set(102);
    server.tap.durable(&rows, Epoch(102));
    let change = next(&mut socket, "rows").await;
    assert_eq!(
        (&change["rows"][0]["status"], &change["durable"]),
        (&"final".into(), &102.into())
    );
    assert_eq!(change["rows"].as_array().map(Vec::len), Some(1));

    let fleet = next(&mut socket, "progress").await;
    assert_eq!(fleet["fleet"]["workers"]["generation"], 3);
}

/// The devices of a message's anomalies.
fn devices(message: &Value) -> Vec<&str> {
    let anomalies = message["anomalies"].as_array().expect("anomalies");
    anomalies.iter().filter_map(|one| one["device_id"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anomalies_come_as_they_become_durable() {
    let server = start("open", ApiConfig::default()).await;
    server.stats.checkpoint_epoch.set(6_100);
    let [mut all, mut one, mut none] = [
        connect(&server, &[]).await.expect("connected"),
        connect(&server, &[]).await.expect("connected"),
        connect(&server, &[]).await.expect("connected"),
    ];
    say(&mut all, r#"{"anomalies":true,"fleet":true}"#).await;
    say(
        &mut one,
        r#"{"anomalies":true,"devices":["dev-2"],"jobs":[],"fleet":true}"#,
    )
    .await;
    say(&mut none, r#"{"fleet":true}"#).await;
    for socket in [&mut all, &mut one, &mut none] {
        // What it wants is known when progress says how the fleet does.
        while next(socket, "progress").await["fleet"]["anomalies_now"] != 3 {}
    }
    let found = [anomaly("hot", "dev-1", "temp", 5), anomaly("hot", "dev-2", "temp", 5)];
    server.tap.anomalies(&found);
    server.tap.anomalies(&[]);
    let message = next(&mut all, "anomalies").await;
    assert_eq!(
        (&message["epoch"], &message["durable"], devices(&message)),
        (&6_000.into(), &6_100.into(), vec!["dev-1", "dev-2"])
    );
    assert_eq!(
        message["anomalies"][0]["summary"],
        "mean of temp 41.25 above 38 since 2023-11-14 22:05 UTC"
    );
    assert_eq!(devices(&next(&mut one, "anomalies").await), ["dev-2"]);
    next(&mut none, "progress").await;
    server.tap.anomalies(&found[..1]);
    assert_eq!(devices(&next(&mut all, "anomalies").await), ["dev-1"]);
    assert!(
        server.feed.0.lock().expect("not poisoned").is_empty(),
        "nobody wants rows"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_watch_serves_all_and_ends_with_the_last() {
    let server = start("open", ApiConfig::default()).await;
    let (mut first, mut second) = (
        connect(&server, &[]).await.expect("connected"),
        connect(&server, &[]).await.expect("connected"),
    );
    say(&mut first, r#"{"search":"DEV","throttle_ms":100}"#).await;
    push(&server, 0, 1, vec![open("dev-1", 1)]).await;
    assert_eq!(
        next(&mut first, "snapshot").await["rows"].as_array().map(Vec::len),
        Some(1)
    );
    // Another one has the engine listened to anew, for both.
    say(&mut second, r#"{"search":"","jobs":["1m","1h"],"throttle_ms":100}"#).await;
    push(&server, 1, 2, vec![open("dev-1", 2), open("other", 2)]).await;
    assert_eq!(
        next(&mut second, "snapshot").await["rows"].as_array().map(Vec::len),
        Some(2)
    );
    let change = next(&mut first, "rows").await;
    assert_eq!(
        change["rows"].as_array().map(Vec::len),
        Some(1),
        "it goes on with changes"
    );
    drop((first, second));
    let begun = std::time::Instant::now();
    let pushes = || {
        let mut listeners = server.feed.0.lock().expect("not poisoned");
        listeners[1].push(Epoch(3), vec![RowList::Rows(vec![open("dev-1", 3)])])
    };
    while pushes().is_ok() {
        assert!(begun.elapsed() < SOON, "it is still listened to");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_too_slowly_is_told_and_begins_anew() {
    let server = start("open", ApiConfig::default()).await;
    let mut socket = connect(&server, &[]).await.expect("connected");
    let mut quick = connect(&server, &[]).await.expect("connected");
    say(&mut socket, r#"{"search":"","throttle_ms":100}"#).await;
    say(&mut quick, r#"{"devices":["d7"],"throttle_ms":100}"#).await;
    // The engine is listened to anew for the second one.
    tokio::time::sleep(Duration::from_millis(600)).await;
    // More than buffers on the way hold, and then more windows than are kept for one.
    for revision in 1..12 {
        let rows = (0..25_000)
            .map(|device| open(&format!("d{device}"), revision))
            .collect();
        let watch = server.feed.0.lock().expect("not poisoned").len().max(1) - 1;
        push(&server, watch, revision, rows).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let slow = next(&mut socket, "slow").await;
    assert!(
        slow["dropped"].as_u64().is_some_and(|dropped| dropped > 20_000),
        "{slow}"
    );
    next(&mut socket, "snapshot").await;
    let rows = next(&mut quick, "rows").await;
    assert_eq!(rows["rows"][0]["device_id"], "d7", "nobody else waits for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cant_be_used_is_said_and_the_rest_goes_on() {
    let server = start("open", ApiConfig::default()).await;
    let mut socket = connect(&server, &[]).await.expect("connected");
    say(&mut socket, r#"{"devices":["a"],"search":"b"}"#).await;
    let problem = next(&mut socket, "problem").await;
    assert_eq!(problem["problem"]["type"], "urn:tidewatch:problem:bad-request");
    next(&mut socket, "progress").await;
    let huge = format!(r#"{{"search":"{}"}}"#, "a".repeat(100_000));
    say(&mut socket, &huge).await;
    let ended = async { while let Some(Ok(_)) = socket.next().await {} };
    timeout(SOON, ended).await.expect("one that says too much is let go of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_may_not_listen() {
    let server = start("tokens", ApiConfig::default()).await;
    assert_eq!(status(connect(&server, &[]).await), 401);
    let bearer = format!("Bearer {VIEWER}");
    assert!(connect(&server, &[("authorization", &bearer)]).await.is_ok());
    let token: String = VIEWER.bytes().map(|byte| format!("{byte:02x}")).collect();
    let offer = format!("tidewatch, bearer.{token}");
    assert!(connect(&server, &[("sec-websocket-protocol", &offer)]).await.is_ok());
    assert_eq!(
        status(connect(&server, &[("sec-websocket-protocol", "tidewatch, bearer.00")]).await),
        401
    );
    let foreign = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    assert_eq!(status(connect(&server, &foreign).await), 403);
    assert_eq!(status(connect(&server, &[("host", "evil.example")]).await), 421);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_good_bye() {
    let server = start("open", ApiConfig::default()).await;
    let mut socket = connect(&server, &[]).await.expect("connected");
    next(&mut socket, "progress").await;
    server.stop.send(true).expect("it listens");
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return u16::from(frame.code);
            }
        }
        0
    };
    assert_eq!(timeout(SOON, closed).await.expect("it is closed"), 1001);
    timeout(SOON, server.bound.stopped())
        .await
        .expect("nothing holds it up");
}
