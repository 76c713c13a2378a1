//! Subscribers that want much and hardly read: a message in two seconds, out of the smallest buffer that the system gives.

use super::subscriber::subscription;
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpSocket, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Between two messages.
const PAUSE: Duration = Duration::from_secs(2);
/// A pause is in steps, so that it can be stopped.
const STEP: Duration = Duration::from_millis(100);
/// What is asked for as its buffer, in bytes; the system gives a little more.
const BUFFER: u32 = 4_096;

/// Hears of devices, slowly, until it is to stop or is let go of.
pub(super) async fn hear(
    address: String,
    devices: Range<u32>,
    (stop, joined, read): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>),
) -> Result<()> {
    let target = lookup_host(&address).await?.next().context("no address")?;
    let tcp = TcpSocket::new_v4()?;
    tcp.set_recv_buffer_size(BUFFER)?;
    let tcp = tcp.connect(target).await?;
    let (mut socket, _) = client_async(format!("ws://{address}/v1/live"), tcp)
        .await
        .context("a slow subscriber is not let in")?;
    socket.send(Message::text(subscription(devices))).await?;
    joined.fetch_add(1, Ordering::Relaxed);
    while !stop.load(Ordering::Relaxed) {
        match timeout(STEP, socket.next()).await {
            // Whoever reads too slowly may be let go of.
            Ok(None | Some(Err(_))) => return Ok(()),
            Ok(Some(Ok(_))) => {
                read.fetch_add(1, Ordering::Relaxed);
                let mut paused = Duration::ZERO;
                while paused < PAUSE && !stop.load(Ordering::Relaxed) {
                    sleep(STEP).await;
                    paused += STEP;
                }
            }
            Err(_) => {}
        }
    }
    Ok(())
}
