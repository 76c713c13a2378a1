//! What is asked of whoever keeps rows.

use crate::anomaly::{Anomaly, AnomalyStatus, Severity};
use crate::ids::{Name, Offset};
use crate::reject::Reason;
use crate::row::Job;
use crate::time::EventTime;

/// Which rows of one key and metric are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesQuery {
    /// The job; it says what `key` names and how long the windows are.
    pub job: Job,
    /// The device, or the site or fleet for rollups.
    pub key: Name,
    /// The metric.
    pub metric: Name,
    /// Windows that start at or after this instant.
    pub from: EventTime,
    /// Windows that start before this instant; without an end it is the first instant of the year 6000.
    pub to: EventTime,
    /// Rows at most; at least 1.
    pub limit: usize,
    /// Which rows are kept when there are more.
    pub order: Order,
}

/// Which end of a series is kept when there are more rows than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the earliest window on.
    OldestFirst,
    /// From the latest window back.
    NewestFirst,
}

/// Which devices are asked for: by their ids, ascending byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceQuery {
    /// What the id must hold somewhere, ASCII letters in either case; empty for all.
    pub search: String,
    /// Only devices after this one.
    pub after: Option<Name>,
    /// Only devices of this list; `None` for all.
    pub among: Option<Vec<Name>>,
    /// Devices at most; at least 1.
    pub limit: usize,
}

/// A device that the store has one-minute windows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSummary {
    /// Its id.
    pub device: Name,
    /// Its metrics, ascending.
    pub metrics: Vec<Name>,
    /// The start of its latest window.
    pub latest: EventTime,
}

/// Which dead letters are asked for: the latest first, by when their records were stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterQuery {
    /// Only those with this reason.
    pub reason: Option<Reason>,
    /// Only those that were stored before the one with this number.
    pub before: Option<u64>,
    /// Letters at most; at least 1.
    pub limit: usize,
}

/// A dead letter as a store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its number in the store: later ones have greater numbers.
    pub number: u64,
    /// The partition's name.
    pub partition: String,
    /// Where its record stands in the partition.
    pub offset: Offset,
    /// When the log says it arrived, milliseconds since 1970.
    pub log_time_ms: Option<i64>,
    /// Why it can't be used.
    pub reason: Reason,
    /// What exactly was wrong.
    pub detail: String,
    /// The record's key, if it had one.
    pub key: Option<Vec<u8>>,
    /// The record's bytes as they were read.
    pub payload: Vec<u8>,
    /// That it was put into its log again, or is on the way there.
    pub replay: Option<Replay>,
}

/// A dead letter that goes into its log again. It is noted before that, so that who finds it unfinished looks whether
/// the record is there, and never puts it there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Tells it from any other.
    pub id: u64,
    /// When it was asked for, milliseconds since 1970.
    pub at_ms: i64,
    /// The partition's end then: the record is there or behind.
    pub from: Offset,
    /// Where the record is, once that is known.
    pub offset: Option<Offset>,
}

/// Which anomalies are asked for: those that started last first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnomalyQuery {
    /// Only those of this device.
    pub device: Option<Name>,
    /// Only those of this metric.
    pub metric: Option<Name>,
    /// Only those of this rule.
    pub rule: Option<Name>,
    /// Only those that are so bad or worse.
    pub least: Option<Severity>,
    /// Only those that stand so; without it all but withdrawn ones.
    pub status: Option<AnomalyStatus>,
    /// Only those that go on at this instant or later; without it from the beginning.
    pub from: Option<EventTime>,
    /// Only those that started before this instant.
    pub to: Option<EventTime>,
    /// Only those after this one in the order of the answer.
    pub after: Option<AnomalyPlace>,
    /// Anomalies at most; at least 1.
    pub limit: usize,
}

/// Where an anomaly stands in the order of the answer: by when it started, the last first, then by device, metric and
/// rule, ascending byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnomalyPlace {
    /// When it started.
    pub started_at: EventTime,
    /// The device.
    pub device: Name,
    /// The metric; empty when it is about the whole device.
    pub metric: Name,
    /// The rule.
    pub rule: Name,
}

impl AnomalyQuery {
    /// Whether an anomaly is one of those asked for, wherever it stands in the order.
    pub fn matches(&self, anomaly: &Anomaly) -> bool {
        let is = |wanted: &Option<Name>, name: &Name| wanted.as_ref().is_none_or(|wanted| wanted == name);
        let stands = match self.status {
            Some(status) => anomaly.status == status,
            None => anomaly.status != AnomalyStatus::Withdrawn,
        };
        stands
            && is(&self.device, &anomaly.device)
            && is(&self.metric, &anomaly.metric)
            && is(&self.rule, &anomaly.rule)
            && self.least.is_none_or(|least| anomaly.severity >= least)
            && self.to.is_none_or(|to| anomaly.started_at < to)
            && self
                .from
                .is_none_or(|from| anomaly.ended_at.is_none_or(|end| end > from))
    }
}

impl AnomalyPlace {
    /// Where an anomaly stands.
    pub fn of(anomaly: &Anomaly) -> AnomalyPlace {
        AnomalyPlace {
            started_at: anomaly.started_at,
            device: anomaly.device.clone(),
            metric: anomaly.metric.clone(),
            rule: anomaly.rule.clone(),
        }
    }
}
