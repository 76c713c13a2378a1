//! What the engine yields: rows of windows.

use crate::ids::{Epoch, Generation, KeyGroup, Name};
use crate::time::{EventTime, PANE_MS};
use serde::{Deserialize, Serialize};

/// How far a row can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The window is still open.
    Live,
    /// The first published row of a closed window.
    Final,
    /// A later row of a window that was published before.
    Corrected,
}

impl Status {
    /// The status as it stands in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Live => "live",
            Status::Final => "final",
            Status::Corrected => "corrected",
        }
    }
}

/// Which job made a row. The name is part of the row's key and fixed for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// One minute, tumbling, per device and metric.
    Minute,
    /// Five minutes, hopping by one, per device and metric.
    FiveMinutes,
    /// One hour, tumbling, per device and metric.
    Hour,
    /// One day of a calendar, per device and metric.
    Day,
    /// One minute, tumbling, per site and metric.
    SiteMinute,
    /// One minute, tumbling, per fleet and metric.
    FleetMinute,
}

impl Job {
    /// Every built-in job.
    pub const ALL: [Job; 6] = [
        Job::Minute,
        Job::FiveMinutes,
        Job::Hour,
        Job::Day,
        Job::SiteMinute,
        Job::FleetMinute,
    ];

    /// The name as it stands in keys, tables and paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Job::Minute => "minute",
            Job::FiveMinutes => "five_minutes",
            Job::Hour => "hour",
            Job::Day => "day",
            Job::SiteMinute => "site_minute",
            Job::FleetMinute => "fleet_minute",
        }
    }

    /// How long its windows are, in milliseconds; a day on which clocks are changed is longer or shorter.
    pub fn length_ms(self) -> i64 {
        match self {
            Job::Minute | Job::SiteMinute | Job::FleetMinute => PANE_MS,
            Job::FiveMinutes => 5 * PANE_MS,
            Job::Hour => 60 * PANE_MS,
            Job::Day => 24 * 60 * PANE_MS,
        }
    }

    /// Whether rows are keyed by a device (otherwise by a site or fleet).
    pub fn is_per_series(self) -> bool {
        matches!(self, Job::Minute | Job::FiveMinutes | Job::Hour | Job::Day)
    }
}

/// Some of the jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs(u8);

impl Jobs {
    /// The same with one more.
    #[must_use]
    pub fn with(self, job: Job) -> Jobs {
        Jobs(self.0 | 1 << job as u8)
    }

    /// Whether it is one of them.
    pub fn has(self, job: Job) -> bool {
        self.0 & 1 << job as u8 != 0
    }
}

/// The p50, p95 and p99 of a window, each within 1.6 % of a reading of that rank (exact up to 16 readings).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
}

/// The values of a window. Values that a window with no valid reading can't have are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// Valid readings: neither NaN nor infinite.
    pub count: u64,
    /// NaN and infinite readings, which enter nothing else.
    pub invalid_count: u64,
    /// Devices that sent a reading; 1 in a per-series row.
    pub devices: u64,
    /// The sum, added in the order of the log (across series: exact, rounded once).
    pub sum: f64,
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// The value of the earliest event time (of several, the first in the log); per series only.
    pub first: Option<f64>,
    /// The value of the latest event time (of several, the last in the log); per series only.
    pub last: Option<f64>,
    /// The sum divided by the count.
    pub mean: Option<f64>,
    /// The sample standard deviation (n - 1), from two readings on; per series only.
    pub stddev: Option<f64>,
    /// Quantiles, when they are kept.
    pub quantiles: Option<Quantiles>,
}

/// One row: the state of one window of one key, as of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The job that made it.
    pub job: Job,
    /// The device, or the site or fleet for rollups.
    pub key: Name,
    /// The metric.
    pub metric: Name,
    /// The window's first instant.
    pub window_start: EventTime,
    /// The first instant after the window.
    pub window_end: EventTime,
    /// What the window holds.
    pub values: Values,
    /// How far it can be relied on.
    pub status: Status,
    /// The epoch that produced the row: it only grows, so a store keeps the greatest.
    pub revision: Epoch,
}

/// What a row holds, as JSON shows it: flat, and `null` what the row doesn't have. Numbers that are none (NaN,
/// infinities) are `null` too.
#[derive(Clone, Debug, Serialize)]
pub struct RowBody {
    /// Devices that sent a reading; of rollups only.
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

impl RowBody {
    /// The epoch at which it stood like this.
    pub fn as_of(&self) -> Epoch {
        self.as_of
    }
}

impl Row {
    /// What the row holds, as it stood at an epoch.
    pub fn body(&self, as_of: Epoch) -> RowBody {
        let values = &self.values;
        RowBody {
            devices: (!self.job.is_per_series()).then_some(values.devices),
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
            status: self.status,
            revision: self.revision,
            as_of,
        }
    }

    /// The outbox part the row belongs to: the key group of its key.
    pub fn part(&self) -> KeyGroup {
        KeyGroup::of(self.key.as_bytes())
    }
}

/// What a sink is asked to make durable in one step: everything of the epochs up to `through`
/// that was not delivered before.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery<T> {
    /// The run that produced it.
    pub generation: Generation,
    /// The last epoch it is complete through.
    pub through: Epoch,
    /// The rows or rejects, in the order of their epochs; the same key may come twice, the later one wins.
    pub items: Vec<T>,
}

impl<T> Delivery<T> {
    /// What a run delivers first: nothing, so that stores shut older runs out.
    pub fn nothing(generation: Generation) -> Delivery<T> {
        Delivery {
            generation,
            through: Epoch(0),
            items: Vec::new(),
        }
    }
}
