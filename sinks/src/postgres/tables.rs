//! The tables of windows: which columns each has, and rows for them, as arrays and one by one.

use super::copy::Fields;
use super::stamp::Stamp;
use crate::SinkError;
use postgres::types::ToSql;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Job, Quantiles, Row};

/// Where a column's values are in a batch.
type Values = for<'a> fn(&'a Batch<'_>) -> &'a (dyn ToSql + Sync);
/// Appends a column's value of a row.
type Put = fn(&mut Fields<'_>, &Row) -> Result<(), SinkError>;

/// A column: its name, its type, and its values.
pub(super) struct Column {
    pub(super) name: &'static str,
    ty: &'static str,
    values: Values,
    put: Put,
}

/// How much time a partition spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Day,
    Month,
    Year,
}

/// A table of windows.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The migration that makes it.
    pub(super) since: usize,
    /// The primary key: what names a series, then the window.
    key: &'static [&'static str],
    /// How much time a partition of PostgreSQL's own spans.
    pub(super) step: Step,
    columns: &'static [Column],
}

const fn column(name: &'static str, ty: &'static str, values: Values, put: Put) -> Column {
    Column { name, ty, values, put }
}

const METRIC: Column = column(
    "metric",
    "text",
    |batch| &batch.metric,
    |fields, row| fields.text(&row.metric),
);
const WINDOW_START: Column = column(
    "window_start",
    "timestamptz",
    |batch| &batch.window_start,
    |fields, row| fields.stamp(Stamp(row.window_start.0)),
);
const WINDOW_END: Column = column(
    "window_end",
    "timestamptz",
    |batch| &batch.window_end,
    |fields, row| fields.stamp(Stamp(row.window_end.0)),
);
const COUNT: Column = column(
    "count",
    "bigint",
    |batch| &batch.count,
    |fields, row| fields.number("count", row.values.count),
);
const SUM: Column = column(
    "sum",
    "float8",
    |batch| &batch.sum,
    |fields, row| fields.float(Some(row.values.sum)),
);
const MIN: Column = column(
    "min",
    "float8",
    |batch| &batch.min,
    |fields, row| fields.float(row.values.min),
);
const MAX: Column = column(
    "max",
    "float8",
    |batch| &batch.max,
    |fields, row| fields.float(row.values.max),
);
const FIRST: Column = column(
    "first",
    "float8",
    |batch| &batch.first,
    |fields, row| fields.float(row.values.first),
);
const LAST: Column = column(
    "last",
    "float8",
    |batch| &batch.last,
    |fields, row| fields.float(row.values.last),
);
const MEAN: Column = column(
    "mean",
    "float8",
    |batch| &batch.mean,
    |fields, row| fields.float(row.values.mean),
);
const STDDEV: Column = column(
    "stddev",
    "float8",
    |batch| &batch.stddev,
    |fields, row| fields.float(row.values.stddev),
);
const P50: Column = column(
    "p50",
    "float8",
    |batch| &batch.p50,
    |fields, row| fields.float(row.values.quantiles.map(|quantiles| quantiles.p50)),
);
const P95: Column = column(
    "p95",
    "float8",
    |batch| &batch.p95,
    |fields, row| fields.float(row.values.quantiles.map(|quantiles| quantiles.p95)),
);
const P99: Column = column(
    "p99",
    "float8",
    |batch| &batch.p99,
    |fields, row| fields.float(row.values.quantiles.map(|quantiles| quantiles.p99)),
);
const INVALID_COUNT: Column = column(
    "invalid_count",
    "bigint",
    |batch| &batch.invalid_count,
    |fields, row| fields.number("invalid_count", row.values.invalid_count),
);
const STATUS: Column = column(
    "status",
    "text",
    |batch| &batch.status,
    |fields, row| fields.text(row.status.as_str()),
);
const REVISION: Column = column(
    "revision",
    "bigint",
    |batch| &batch.revision,
    |fields, row| fields.number("revision", row.revision.0),
);
const AS_OF: Column = column(
    "as_of",
    "bigint",
    |batch| &batch.as_of,
    |fields, _| fields.number("as_of", fields.as_of.0),
);
const DEVICE_ID: Column = column(
    "device_id",
    "text",
    |batch| &batch.key,
    |fields, row| fields.text(&row.key),
);
const LEVEL: Column = column(
    "level",
    "text",
    |batch| &batch.level,
    |fields, row| fields.text(level(row.job)),
);
const NAME: Column = column("name", "text", |batch| &batch.key, |fields, row| fields.text(&row.key));
const DEVICES: Column = column(
    "devices",
    "bigint",
    |batch| &batch.devices,
    |fields, row| fields.number("devices", row.values.devices),
);

const SERIES_KEY: &[&str] = &["device_id", "metric", "window_start"];
#[rustfmt::skip]
const SERIES: &[Column] = &[
    DEVICE_ID, METRIC, WINDOW_START, WINDOW_END, COUNT, SUM, MIN, MAX, FIRST, LAST, MEAN, STDDEV, P50, P95, P99,
    INVALID_COUNT, STATUS, REVISION, AS_OF,
];
#[rustfmt::skip]
const ROLLUP: &[Column] = &[
    LEVEL, NAME, METRIC, WINDOW_START, WINDOW_END, DEVICES, COUNT, SUM, MIN, MAX, MEAN, P50, P95, P99,
    INVALID_COUNT, STATUS, REVISION, AS_OF,
];

static MINUTE: Table = Table {
    name: "aggregates_minute",
    since: 1,
    key: SERIES_KEY,
    step: Step::Day,
    columns: SERIES,
};
static FIVE_MINUTES: Table = Table {
    name: "aggregates_five_minutes",
    since: 1,
    key: SERIES_KEY,
    step: Step::Day,
    columns: SERIES,
};
static HOUR: Table = Table {
    name: "aggregates_hour",
    since: 1,
    key: SERIES_KEY,
    step: Step::Month,
    columns: SERIES,
};
static DAY: Table = Table {
    name: "aggregates_day",
    since: 5,
    key: SERIES_KEY,
    step: Step::Year,
    columns: SERIES,
};
static ROLLUPS: Table = Table {
    name: "rollups_minute",
    since: 1,
    key: &["level", "name", "metric", "window_start"],
    step: Step::Day,
    columns: ROLLUP,
};

/// Every table of windows.
pub(super) static WINDOWED: [&Table; 5] = [&MINUTE, &FIVE_MINUTES, &HOUR, &DAY, &ROLLUPS];

/// The table of a job's rows.
pub(super) fn table(job: Job) -> &'static Table {
    match job {
        Job::Minute => &MINUTE,
        Job::FiveMinutes => &FIVE_MINUTES,
        Job::Hour => &HOUR,
        Job::Day => &DAY,
        Job::SiteMinute | Job::FleetMinute => &ROLLUPS,
    }
}

/// What a job's rows are in a table that they share with others'; nothing in a table of their own.
pub(super) fn level(job: Job) -> &'static str {
    match job {
        Job::SiteMinute => "site",
        Job::FleetMinute => "fleet",
        Job::Minute | Job::FiveMinutes | Job::Hour | Job::Day => "",
    }
}

impl Table {
    /// The columns that name a series.
    pub(super) fn series(&self) -> &'static [&'static str] {
        &self.key[..self.key.len() - 1]
    }

    /// Copies rows none of which is there: measured at 1.4 times the insert.
    pub(super) fn copy(&self) -> String {
        format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.name, self.names())
    }

    /// Appends a row as [`Table::copy`] takes it.
    pub(super) fn put(&self, fields: &mut Fields<'_>, row: &Row) -> Result<(), SinkError> {
        fields.columns(self.columns.len());
        self.columns.iter().try_for_each(|column| (column.put)(fields, row))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        names.join(", ")
    }

    /// Inserts rows none of which is there: measured twice as fast as the upsert.
    pub(super) fn insert(&self) -> String {
        let names = self.names();
        let arrays = self
            .columns
            .iter()
            .enumerate()
            .map(|(n, column)| format!("unnest(${}::{}[])", n + 1, column.ty));
        format!(
            "INSERT INTO {0} AS stored ({names}) SELECT {1}",
            self.name,
            arrays.collect::<Vec<_>>().join(", ")
        )
    }

    /// Inserts rows, or replaces those of an earlier revision.
    pub(super) fn upsert(&self) -> String {
        let values = self
            .columns
            .iter()
            .map(|column| column.name)
            .filter(|name| !self.key.contains(name));
        let set = values.map(|name| format!("{name} = excluded.{name}"));
        // What was added to the row that was there is not in the one that takes its place.
        let forget = std::ptr::eq(self.key, SERIES_KEY).then(|| "mended = NULL".to_owned());
        let set = set.chain(forget).collect::<Vec<_>>().join(", ");
        format!(
            "{} ON CONFLICT ({}) DO UPDATE SET {set} WHERE excluded.revision > stored.revision",
            self.insert(),
            self.key.join(", ")
        )
    }

    /// Inserts rows that have taken readings beyond the horizon, or replaces them: its last parameter says what each
    /// has taken.
    pub(super) fn mend(&self) -> String {
        let names = self.columns.iter().map(|column| column.name).chain(["mended"]);
        let types = self.columns.iter().map(|column| column.ty).chain(["bytea"]);
        let arrays = types.enumerate().map(|(n, ty)| format!("unnest(${}::{ty}[])", n + 1));
        let set = names.clone().filter(|name| !self.key.contains(name));
        let set = set.map(|name| format!("{name} = excluded.{name}"));
        format!(
            "INSERT INTO {} ({}) SELECT {} ON CONFLICT ({}) DO UPDATE SET {}",
            self.name,
            names.collect::<Vec<_>>().join(", "),
            arrays.collect::<Vec<_>>().join(", "),
            self.key.join(", "),
            set.collect::<Vec<_>>().join(", ")
        )
    }

    /// The parameters of an insert and an upsert: an array a column.
    pub(super) fn parameters<'a>(&self, batch: &'a Batch<'_>) -> Vec<&'a (dyn ToSql + Sync)> {
        self.columns.iter().map(|column| (column.values)(batch)).collect()
    }
}

/// Rows as arrays, one a column.
#[derive(Default)]
pub(super) struct Batch<'r> {
    level: Vec<&'static str>,
    key: Vec<&'r str>,
    metric: Vec<&'r str>,
    window_start: Vec<Stamp>,
    window_end: Vec<Stamp>,
    devices: Vec<i64>,
    count: Vec<i64>,
    sum: Vec<f64>,
    min: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
    first: Vec<Option<f64>>,
    last: Vec<Option<f64>>,
    mean: Vec<Option<f64>>,
    stddev: Vec<Option<f64>>,
    p50: Vec<Option<f64>>,
    p95: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    invalid_count: Vec<i64>,
    status: Vec<&'static str>,
    revision: Vec<i64>,
    as_of: Vec<i64>,
}

impl<'r> Batch<'r> {
    /// The rows as they stood at an epoch.
    pub(super) fn of(rows: &[&'r Row], as_of: Epoch) -> Result<Batch<'r>, SinkError> {
        let mut batch = Batch::default();
        for row in rows {
            batch.push(row, as_of)?;
        }
        Ok(batch)
    }

    fn push(&mut self, row: &'r Row, as_of: Epoch) -> Result<(), SinkError> {
        let values = &row.values;
        self.level.push(level(row.job));
        self.key.push(&row.key);
        self.metric.push(&row.metric);
        self.window_start.push(Stamp(row.window_start.0));
        self.window_end.push(Stamp(row.window_end.0));
        self.devices.push(bigint("devices", values.devices)?);
        self.count.push(bigint("count", values.count)?);
        self.sum.push(values.sum);
        self.min.push(values.min);
        self.max.push(values.max);
        self.first.push(values.first);
        self.last.push(values.last);
        self.mean.push(values.mean);
        self.stddev.push(values.stddev);
        self.push_quantiles(values.quantiles);
        self.invalid_count.push(bigint("invalid_count", values.invalid_count)?);
        self.status.push(row.status.as_str());
        self.revision.push(bigint("revision", row.revision.0)?);
        self.as_of.push(bigint("as_of", as_of.0)?);
        Ok(())
    }

    fn push_quantiles(&mut self, quantiles: Option<Quantiles>) {
        self.p50.push(quantiles.map(|quantiles| quantiles.p50));
        self.p95.push(quantiles.map(|quantiles| quantiles.p95));
        self.p99.push(quantiles.map(|quantiles| quantiles.p99));
    }
}

/// A count or number as PostgreSQL's signed one.
pub(super) fn bigint(name: &str, value: u64) -> Result<i64, SinkError> {
    i64::try_from(value).map_err(|_| SinkError::stop("postgres", format!("{name} {value} doesn't fit a bigint")))
}
