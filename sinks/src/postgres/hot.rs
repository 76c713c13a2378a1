//! Reading rows back.

use super::PostgresSettings;
use super::series;
use super::session::Link;
use super::stamp::Stamp;
use super::tables::{level, table};
use crate::SinkError;
use crate::hot::HotStore;
use std::sync::{Mutex, PoisonError};
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::query::{DeviceQuery, DeviceSummary, Order, SeriesQuery};
use tidewatch_proto::row::{Job, Quantiles, Row, Status, Values};
use tidewatch_proto::time::EventTime;

/// Reads rows from the sink's tables, over a connection of its own: made when first asked, again after an error.
pub struct PostgresHotStore {
    link: Mutex<Link>,
}

impl PostgresHotStore {
    /// A reader; nothing is connected yet.
    pub fn new(settings: PostgresSettings) -> PostgresHotStore {
        PostgresHotStore {
            link: Mutex::new(Link::new(settings)),
        }
    }
}

impl HotStore for PostgresHotStore {
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError> {
        // A panic while the lock was held leaves a session that the next error replaces.
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, metric): (&str, &str) = (&query.key, &query.metric);
        let (from, to) = (Stamp(query.from.0), Stamp(query.to.0));
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        link.run(|session, _| {
            let found = if query.job.is_per_series() {
                session
                    .client
                    .query(&sql(query), &[&key, &metric, &from, &to, &limit])?
            } else {
                session
                    .client
                    .query(&sql(query), &[&key, &metric, &from, &to, &limit, &level(query.job)])?
            };
            let of = (query.job, &query.key, &query.metric);
            found.iter().map(|row| row_of(of, row)).collect()
        })
    }

    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, SinkError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.run(|session, _| series::devices(&mut session.client, query))
    }
}

/// The columns of [`row_of`] that every table has.
pub(super) const COLUMNS: &str =
    "window_start, window_end, count, sum, min, max, mean, p50, p95, p99, invalid_count, status, revision";

fn sql(query: &SeriesQuery) -> String {
    let order = match query.order {
        Order::OldestFirst => "ASC",
        Order::NewestFirst => "DESC",
    };
    let (key, own) = match query.job {
        Job::Minute | Job::FiveMinutes | Job::Hour | Job::Day => {
            ("device_id = $1", "first, last, stddev, 1::bigint AS devices")
        }
        Job::SiteMinute | Job::FleetMinute => (
            "name = $1 AND level = $6",
            "NULL::float8 AS first, NULL::float8 AS last, NULL::float8 AS stddev, devices",
        ),
    };
    format!(
        "SELECT {COLUMNS}, {own}
         FROM {} WHERE {key} AND metric = $2 AND window_start >= $3 AND window_start < $4
         ORDER BY window_start {order} LIMIT $5",
        table(query.job).name
    )
}

/// A row of a job, key and metric as it was found.
pub(super) fn row_of(
    (job, key, metric): (Job, &Name, &Name),
    row: &postgres::Row,
) -> Result<Row, super::failure::Failure> {
    let number = |name| -> Result<u64, postgres::Error> { Ok(row.try_get::<_, i64>(name)?.unsigned_abs()) };
    let status = match row.try_get("status")? {
        "live" => Status::Live,
        "final" => Status::Final,
        _ => Status::Corrected,
    };
    let (p50, p95, p99) = (row.try_get("p50")?, row.try_get("p95")?, row.try_get("p99")?);
    let quantiles = match (p50, p95, p99) {
        (Some(p50), Some(p95), Some(p99)) => Some(Quantiles { p50, p95, p99 }),
        _ => None,
    };
    let values = Values {
        count: number("count")?,
        invalid_count: number("invalid_count")?,
        devices: number("devices")?,
        sum: row.try_get("sum")?,
        min: row.try_get("min")?,
        max: row.try_get("max")?,
        first: row.try_get("first")?,
        last: row.try_get("last")?,
        mean: row.try_get("mean")?,
        stddev: row.try_get("stddev")?,
        quantiles,
    };
    Ok(Row {
        job,
        key: key.clone(),
        metric: metric.clone(),
        window_start: EventTime(row.try_get::<_, Stamp>("window_start")?.0),
        window_end: EventTime(row.try_get::<_, Stamp>("window_end")?.0),
        values,
        status,
        revision: Epoch(number("revision")?),
    })
}
