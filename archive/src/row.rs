//! A record of the log as a row.

use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::source::Record;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime, LogTime};
use tidewatch_proto::walk::{Message, Metric, drop_repeated, walk};

/// A record of the log. Its columns hold all that it says, or else `payload` does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log appended it.
    pub log_time: Option<LogTime>,
    /// The device, when it is telemetry.
    pub device: Option<&'a [u8]>,
    /// The event time, when it is telemetry, and a time that a calendar has.
    pub ts: Option<EventTime>,
    /// The metrics, each once; none when it is no telemetry.
    pub metrics: Option<&'a [Metric<'a>]>,
    /// The field `raw`, unless it is empty.
    pub raw: Option<&'a [u8]>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's bytes, when the columns don't say everything.
    pub payload: Option<&'a [u8]>,
    /// The record's headers.
    pub headers: Headers<'a>,
}

impl<'a> Row<'a> {
    /// The row of a record. The metrics are written to a place that is used again.
    pub(crate) fn of<'b: 'a>(record: &Record<'b>, is_usable: bool, metrics: &'a mut Vec<Metric<'b>>) -> Row<'a> {
        let payload = record.payload;
        let row = Row {
            offset: record.offset,
            log_time: record.log_time.filter(|time| is_calendar(time.0)),
            device: None,
            ts: None,
            metrics: None,
            raw: None,
            key: record.key,
            payload: Some(payload),
            headers: record.headers,
        };
        let Some(message) = telemetry(payload, is_usable, metrics) else {
            return row;
        };
        drop_repeated(metrics);
        let ts = event_time(&message);
        let is_whole = ts.is_some() && !message.has_unknown;
        Row {
            device: Some(message.device_id),
            ts,
            metrics: Some(metrics),
            raw: (!message.raw.is_empty()).then_some(message.raw),
            payload: (!is_whole).then_some(payload),
            ..row
        }
    }

    /// By what rows are sorted in an object: device, event time, offset; what is no telemetry comes first.
    pub(crate) fn place(&self) -> (Option<&'a [u8]>, Option<EventTime>, Offset) {
        (self.device, self.ts, self.offset)
    }
}

/// What a record's bytes say, when they are telemetry.
pub(crate) fn telemetry<'b>(payload: &'b [u8], is_usable: bool, metrics: &mut Vec<Metric<'b>>) -> Option<Message<'b>> {
    metrics.clear();
    is_usable.then(|| walk(payload, metrics).ok()).flatten()
}

/// The event time of a message, when a calendar has it.
pub(crate) fn event_time(message: &Message<'_>) -> Option<EventTime> {
    Some(EventTime(message.ts)).filter(|ts| is_calendar(ts.0))
}

/// Whether a time has a year of four digits: others make readers of Parquet fail.
fn is_calendar(ms: i64) -> bool {
    (EVENT_TIME_MIN.0..=EVENT_TIME_MAX.0).contains(&ms)
}
