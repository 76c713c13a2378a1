//! `/v1/live`: a WebSocket on which rows are pushed as they change.
//!
//! The client sends subscriptions, each in place of the one before, and is sent objects told apart by `type`:
//! `snapshot`, `rows`, `progress` (once a second), `slow`, `problem`. Whoever says nothing for half a minute, not even a
//! pong, is gone; whoever doesn't read for ten seconds is let go of.

use super::{reply, with};
use crate::answer::Shared;
use crate::document::{Operation, Tag};
use crate::gate::PROTOCOL;
use crate::live::{self, BYTES_MAX, Hub, Subscription};
use crate::problem::{Problem, ProblemKind};
use crate::roles::Role;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use warp::reply::{Reply, Response};
use warp::ws::{Message, WebSocket, Ws};
use warp::{Filter, path};

/// How often a client is asked whether it is there, and whether its token still holds.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long a client may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long it may take to send one message, and the last one.
const SENDING_MAX: Duration = Duration::from_secs(10);
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// WebSocket's words for why a connection ends.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

const DESCRIPTION: &str = "\
A WebSocket. The client sends a subscription as JSON, and another one later in its place:\n\n\
    {\"devices\": [\"dev-000042\"], \"metrics\": [\"temperature\"], \"jobs\": [\"1m\"], \"throttle_ms\": 1000, \"fleet\": false, \
\"anomalies\": false}\n\n\
`devices` are named, or found by `search` (empty for all). It is sent objects, told apart by `type`: `snapshot` with all open \
windows that it wants, `rows` as they change, `anomalies` as they become durable when it wants them, `progress` once a second, `slow` when it read too slowly, and `problem`. A \
client that can't set headers, as in a browser, offers its token as a protocol in hexadecimal: `tidewatch, bearer.<hex>`.";

/// What it is.
pub(crate) fn describe() -> Operation {
    Operation::new(Tag::Live, "Rows as they change", DESCRIPTION)
        .empty(StatusCode::SWITCHING_PROTOCOLS, "It goes on as a WebSocket")
        .problems(&[ProblemKind::NeedsWebSocket])
}

/// The route.
pub(super) fn route(shared: &Arc<Shared>) -> BoxedFilter<(Response,)> {
    let upgrade = path!("v1" / "live")
        .and(warp::ws())
        .and(warp::header::headers_cloned())
        .and(with(shared))
        .map(|ws: Ws, headers: HeaderMap, shared: Arc<Shared>| reply(upgrade(ws, headers, shared)));
    let other = path!("v1" / "live").map(|| {
        let detail = "this is a WebSocket: connect to it as one, of version 13";
        Problem::new(ProblemKind::NeedsWebSocket, detail).into_response()
    });
    upgrade.or(other).unify().boxed()
}

fn upgrade(ws: Ws, headers: HeaderMap, shared: Arc<Shared>) -> Result<Response, Problem> {
    let room = shared.subscribers.clone().try_acquire_owned();
    let room = room.map_err(|_| {
        Problem::new(
            ProblemKind::Busy,
            "as many listen as api.subscribers_max allows; try again later",
        )
    })?;
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offers = offers
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let speaks = offers.any(|offer| offer.trim() == PROTOCOL);
    let ws = ws.max_message_size(BYTES_MAX).max_frame_size(BYTES_MAX);
    let mut response = ws
        .on_upgrade(move |socket| attend(socket, headers, shared, room))
        .into_response();
    if speaks {
        let protocol = HeaderValue::from_static(PROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// A subscriber's place at the hub, given back when it is dropped.
struct Seat<'a> {
    hub: &'a Hub,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.hub.leave(self.number);
    }
}

/// Serves one subscriber until it has gone or the server stops.
async fn attend(socket: WebSocket, headers: HeaderMap, shared: Arc<Shared>, room: OwnedSemaphorePermit) {
    serve(socket, &headers, &shared).await;
    // Whoever waits for the room waits until nothing of the server is held here.
    drop(shared);
    drop(room);
}

async fn serve(socket: WebSocket, headers: &HeaderMap, shared: &Shared) {
    let hub = &shared.handles.tap.hub;
    let (number, mut messages) = hub.join();
    let seat = Seat { hub, number };
    let (mut to, mut from) = socket.split();
    let mut shutdown = shared.shutdown.clone();
    let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    let mut heard = Instant::now();
    loop {
        let next = tokio::select! {
            message = messages.recv() => message.map_or(Next::End, |text| Next::Send(Message::text(text))),
            said = from.next() => {
                heard = Instant::now();
                said.map_or(Next::End, |said| hear(said, &seat))
            }
            _ = pings.tick() => ask(heard, headers, shared),
            _ = shutdown.wait_for(|stop| *stop) => Next::Close(Message::close_with(GOING_AWAY, "the server stops")),
        };
        match next {
            Next::GoOn => {}
            Next::End => return,
            Next::Close(message) => {
                let _ = timeout(CLOSING_MAX, to.send(message)).await;
                return;
            }
            Next::Send(message) => {
                let sent = tokio::select! {
                    sent = timeout(SENDING_MAX, to.send(message)) => matches!(sent, Ok(Ok(()))),
                    _ = shutdown.wait_for(|stop| *stop) => false,
                };
                if !sent {
                    return;
                }
            }
        }
    }
}

/// What is done next on a connection.
enum Next {
    GoOn,
    Send(Message),
    /// The last word.
    Close(Message),
    End,
}

/// The client has said something, or has gone.
fn hear(said: Result<Message, warp::Error>, seat: &Seat<'_>) -> Next {
    let Ok(message) = said else { return Next::End };
    if message.is_close() {
        return Next::End;
    }
    let Ok(text) = message.to_str() else {
        return Next::GoOn;
    };
    match Subscription::parse(text) {
        Ok(wants) => {
            seat.hub.subscribe(seat.number, wants);
            Next::GoOn
        }
        Err(problem) => Next::Send(Message::text(live::problem(&problem))),
    }
}

/// Asks a client whether it is there, unless it has been silent for too long or may not listen any more.
fn ask(heard: Instant, headers: &HeaderMap, shared: &Shared) -> Next {
    if heard.elapsed() > SILENCE_MAX {
        return Next::End;
    }
    match shared.gate.check_role(Role::Viewer, headers, &shared.handles) {
        Ok(()) => Next::Send(Message::ping(Vec::new())),
        Err(_) => Next::Close(Message::close_with(POLICY, "the token is not known any more")),
    }
}
