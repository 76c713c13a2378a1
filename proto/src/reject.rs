//! Why a record can't be used, and what goes to the dead letter.

use crate::ids::{KeyGroup, Offset, Partition};
use crate::time::LogTime;
use serde::{Deserialize, Serialize};

/// Why a record can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are not a `Telemetry` message (or not a line of the file's format).
    Schema,
    /// The device id is empty, too long, not UTF-8 or holds control characters.
    DeviceId,
    /// A metric name is empty, too long or holds control characters.
    MetricName,
    /// More metrics in a message than allowed.
    TooManyMetrics,
    /// The field `raw` is larger than allowed.
    RawTooLarge,
    /// The event time lies outside of the years 0000 to 5999.
    EventTime,
    /// The event time is further ahead of the log's timestamp than `future_max`.
    Future,
    /// The event time is further behind the log's timestamp than `age_max`.
    TooOld,
    /// The device would have more series than allowed.
    DeviceSeries,
    /// The worker would have more series than allowed.
    WorkerSeries,
    /// The reading's windows have left memory: it is later than the correction horizon.
    BeyondHorizon,
    /// A worker has crashed twice at the record.
    Poison,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Reason; 12] = [
        Reason::Schema,
        Reason::DeviceId,
        Reason::MetricName,
        Reason::TooManyMetrics,
        Reason::RawTooLarge,
        Reason::EventTime,
        Reason::Future,
        Reason::TooOld,
        Reason::DeviceSeries,
        Reason::WorkerSeries,
        Reason::BeyondHorizon,
        Reason::Poison,
    ];

    /// The reason as it stands in headers, metrics and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Schema => "schema",
            Reason::DeviceId => "device_id",
            Reason::MetricName => "metric_name",
            Reason::TooManyMetrics => "too_many_metrics",
            Reason::RawTooLarge => "raw_too_large",
            Reason::EventTime => "event_time",
            Reason::Future => "future",
            Reason::TooOld => "too_old",
            Reason::DeviceSeries => "device_series",
            Reason::WorkerSeries => "worker_series",
            Reason::BeyondHorizon => "beyond_horizon",
            Reason::Poison => "poison",
        }
    }
}

/// A record that can't be used, whole: what the dead letter keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Where the record stands in the log.
    pub partition: Partition,
    /// Where the record stands in its partition.
    pub offset: Offset,
    /// When the log says it arrived, if the log says so.
    pub log_time: Option<LogTime>,
    /// Why it can't be used.
    pub reason: Reason,
    /// What exactly was wrong, for a person.
    pub detail: String,
    /// The record's key, if it had one.
    pub key: Option<Vec<u8>>,
    /// The record's bytes as they were read.
    pub payload: Vec<u8>,
}

impl Reject {
    /// The part of the outbox that it belongs to: by where its record stands.
    pub fn part(&self) -> KeyGroup {
        KeyGroup::of(&self.partition.0.to_le_bytes())
    }
}
