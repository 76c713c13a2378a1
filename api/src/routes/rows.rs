//! Rows as JSON.

use super::query::{Asked, Scope, cursor};
use crate::reader::Take;
use crate::rfc3339;
use serde::Serialize;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::{Row, Status};

/// A page of rows, ascending, and where the next one begins.
#[derive(Serialize)]
pub(super) struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<Name>,
    metric: Name,
    window: &'static str,
    rows: Vec<RowBody>,
    next: Option<String>,
}

/// One row; `null` is what the row doesn't have.
#[derive(Serialize)]
struct RowBody {
    window_start: String,
    window_end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<u64>,
    count: u64,
    sum: f64,
    min: Option<f64>,
    max: Option<f64>,
    first: Option<f64>,
    last: Option<f64>,
    mean: Option<f64>,
    stddev: Option<f64>,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    invalid_count: u64,
    status: Status,
    revision: Epoch,
    as_of: Epoch,
}

impl Page {
    /// The page of what was asked, from the rows that were read: up to one more than it holds.
    pub(super) fn new(asked: &Asked, mut rows: Vec<Row>, as_of: Option<Epoch>) -> Page {
        let query = &asked.query;
        let excess = rows.len().saturating_sub(query.limit);
        let last = match query.take {
            Take::Oldest => {
                rows.truncate(query.limit);
                rows.last()
            }
            Take::Newest => {
                rows.drain(..excess);
                rows.first()
            }
        };
        let next = last
            .filter(|_| excess > 0)
            .map(|row| cursor(query.take, row.window_start));
        let key = |scope| (asked.scope == scope).then(|| query.key.clone());
        Page {
            device_id: key(Scope::Device),
            site: key(Scope::Site),
            fleet: key(Scope::Fleet),
            metric: query.metric.clone(),
            window: asked.window,
            rows: rows.iter().map(|row| RowBody::new(row, as_of)).collect(),
            next,
        }
    }
}

impl RowBody {
    fn new(row: &Row, as_of: Option<Epoch>) -> RowBody {
        let values = &row.values;
        RowBody {
            window_start: rfc3339::format(row.window_start),
            window_end: rfc3339::format(row.window_end),
            devices: (!row.job.is_per_series()).then_some(values.devices),
            count: values.count,
            sum: values.sum,
            min: values.min,
            max: values.max,
            first: values.first,
            last: values.last,
            mean: values.mean,
            stddev: values.stddev,
            p50: values.quantiles.map(|quantiles| quantiles.p50),
            p95: values.quantiles.map(|quantiles| quantiles.p95),
            p99: values.quantiles.map(|quantiles| quantiles.p99),
            invalid_count: values.invalid_count,
            status: row.status,
            revision: row.revision,
            as_of: as_of.map_or(row.revision, |as_of| as_of.max(row.revision)),
        }
    }
}
