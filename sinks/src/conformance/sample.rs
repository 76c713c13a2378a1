//! Rows to test with.

use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Job, Quantiles, Row, Status, Values};
use tidewatch_proto::time::{EventTime, PANE_MS};

/// A day in 2023, at midnight.
pub(super) const DAY_MS: i64 = 1_700_006_400_000;

/// The values of a window, all of them present where the job has them and told apart by `seed`.
pub fn values(job: Job, seed: u64) -> Values {
    let at = |place: u64| (seed * 16 + place) as f64 * 0.1;
    let per_series = |value: f64| job.is_per_series().then_some(value);
    Values {
        count: 60 + seed,
        invalid_count: seed % 3,
        devices: if job.is_per_series() { 1 } else { 2 + seed },
        sum: at(1),
        min: Some(-at(2)),
        max: Some(at(3)),
        first: per_series(at(4)),
        last: per_series(at(5)),
        mean: Some(at(6)),
        stddev: per_series(at(7)),
        quantiles: Some(Quantiles {
            p50: at(8),
            p95: at(9),
            p99: at(10),
        }),
    }
}

/// The row of the window that begins `minute` minutes into the day, as published by an epoch.
pub fn row(job: Job, key: &str, minute: i64, revision: u64) -> Row {
    let length = match job {
        Job::FiveMinutes => 5,
        Job::Hour => 60,
        Job::Day => 24 * 60,
        Job::Minute | Job::SiteMinute | Job::FleetMinute => 1,
    };
    Row {
        job,
        key: key.into(),
        metric: "temperature".into(),
        window_start: EventTime(DAY_MS + minute * PANE_MS),
        window_end: EventTime(DAY_MS + (minute + length) * PANE_MS),
        values: values(job, revision),
        status: Status::Final,
        revision: Epoch(revision),
    }
}

/// The row that replaces another.
pub(super) fn corrected(old: &Row, revision: u64) -> Row {
    let values = values(old.job, revision);
    Row {
        values,
        status: Status::Corrected,
        revision: Epoch(revision),
        ..old.clone()
    }
}
