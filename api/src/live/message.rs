//! What is sent to subscribers: JSON objects, told apart by `type`.

use super::subscription::window;
use crate::anomaly::One;
use crate::problem::Problem;
use crate::rfc3339;
use serde::Serialize;
use std::sync::Arc;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::{Row, RowBody};

/// A message with rows.
#[derive(Serialize)]
struct Rows<'a> {
    r#type: &'static str,
    /// The last epoch that a row is of: ahead of the durable one, or not.
    epoch: Epoch,
    durable: Epoch,
    rows: Vec<LiveRow<'a>>,
}

/// One row, with what it is of.
#[derive(Serialize)]
struct LiveRow<'a> {
    device_id: &'a Name,
    metric: &'a Name,
    window: &'static str,
    window_start: String,
    window_end: String,
    #[serde(flatten)]
    body: RowBody,
}

/// What says that time goes on, with how the fleet does (an object as JSON) or without.
pub(crate) fn progress(epoch: Epoch, durable: Epoch, fleet: Option<&str>) -> String {
    let fleet = fleet.map_or(String::new(), |fleet| format!(",\"fleet\":{fleet}"));
    format!("{{\"type\":\"progress\",\"epoch\":{epoch},\"durable\":{durable}{fleet}}}")
}

/// All that is known at the moment.
pub(super) const SNAPSHOT: &str = "snapshot";
/// Rows that take the place of those before of the same window.
pub(super) const ROWS: &str = "rows";

/// Rows or anomalies were dropped; after rows a snapshot follows.
pub(super) fn slow(dropped: u64) -> String {
    #[derive(Serialize)]
    struct Slow {
        r#type: &'static str,
        dropped: u64,
    }
    text(&Slow {
        r#type: "slow",
        dropped,
    })
}

/// A subscription can't be used; what held before goes on holding.
pub(crate) fn problem(problem: &Problem) -> String {
    let body = String::from_utf8_lossy(&problem.body("/v1/live")).into_owned();
    format!("{{\"type\":\"problem\",\"problem\":{body}}}")
}

/// A message with rows.
pub(super) fn with_rows<'a>(r#type: &'static str, rows: impl Iterator<Item = &'a Row>, durable: Epoch) -> String {
    let rows: Vec<LiveRow<'_>> = rows.map(live_row).collect();
    let epoch = rows.iter().map(|row| row.body.as_of()).max().unwrap_or(durable);
    text(&Rows {
        r#type,
        epoch,
        durable,
        rows,
    })
}

/// A message with anomalies that are durable.
pub(super) fn with_anomalies(anomalies: &[Arc<Anomaly>], durable: Epoch) -> String {
    #[derive(Serialize)]
    struct Anomalies {
        r#type: &'static str,
        /// The last epoch that an anomaly is of.
        epoch: Epoch,
        durable: Epoch,
        anomalies: Vec<One>,
    }
    text(&Anomalies {
        r#type: "anomalies",
        epoch: anomalies
            .iter()
            .map(|anomaly| anomaly.revision)
            .max()
            .unwrap_or(durable),
        durable,
        anomalies: anomalies.iter().map(|anomaly| One::from(&**anomaly)).collect(),
    })
}

fn live_row(row: &Row) -> LiveRow<'_> {
    LiveRow {
        device_id: &row.key,
        metric: &row.metric,
        window: window(row.job),
        window_start: rfc3339::format(row.window_start),
        window_end: rfc3339::format(row.window_end),
        body: row.body(row.revision),
    }
}

fn text(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("names are keys, and numbers have a form")
}
