//! Subscribers that read what they are sent at once.

use crate::latency::now_us;
use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// How often one looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// An open window of a device, as it came.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// Its metric.
    pub metric: String,
    /// When it starts, RFC 3339.
    pub window_start: String,
    /// Readings in it.
    pub count: u64,
    /// The last one.
    pub last: Option<f64>,
}

/// Rows, and when they came, in microseconds since 1970.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The rows of a message.
    pub rows: Vec<Row>,
    /// When it came.
    pub at_us: u64,
}

/// A message, as far as it matters.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    rows: Vec<Row>,
}

/// What is said to be sent the open minutes of devices.
pub(super) fn subscription(devices: impl Iterator<Item = u32>) -> String {
    let names: Vec<String> = devices.map(|device| format!("\"dev-{device:06}\"")).collect();
    format!(r#"{{"devices": [{}], "throttle_ms": 0}}"#, names.join(","))
}

/// Hears of a device until it is to stop. It counts as joined when it is sent the first message.
pub(super) async fn hear(
    address: String,
    device: u32,
    (stop, joined): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> Result<Vec<Heard>> {
    let (mut socket, _) = connect_async(format!("ws://{address}/v1/live"))
        .await
        .context("a subscriber is not let in")?;
    socket.send(Message::text(subscription(device..device + 1))).await?;
    let (mut heard, mut has_begun) = (Vec::new(), false);
    while !stop.load(Ordering::Relaxed) {
        let Ok(message) = timeout(LOOK, socket.next()).await else {
            continue;
        };
        let message = message.context("a subscriber was let go of")??;
        let at_us = now_us();
        let Ok(text) = message.to_text() else { continue };
        if message.is_close() {
            bail!("a subscriber was let go of: {text}");
        }
        if !message.is_text() {
            continue;
        }
        let told: Told = serde_json::from_str(text).with_context(|| format!("not understood: {text}"))?;
        match told.kind.as_str() {
            "snapshot" | "rows" => {
                let rows = told.rows;
                heard.push(Heard { rows, at_us });
            }
            "problem" | "slow" => bail!("a subscriber that reads at once is told: {text}"),
            _ => {}
        }
        if !std::mem::replace(&mut has_begun, true) {
            joined.fetch_add(1, Ordering::Relaxed);
        }
    }
    // The program is about to stop: it needs no good-bye.
    let _ = timeout(LOOK, socket.close(None)).await;
    Ok(heard)
}
