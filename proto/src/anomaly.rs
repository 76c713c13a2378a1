//! Anomalies: what a rule found wrong with a series or a device, from when to when, and why it says so.

use crate::ids::{Epoch, KeyGroup, Name};
use crate::time::{EventTime, PaneNo};
use serde::{Deserialize, Serialize};

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is called: part of an anomaly's key.
    pub name: Name,
    /// How bad it is.
    pub severity: Severity,
    /// What finds it.
    pub detector: Detector,
}

/// How bad an anomaly is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    #[default]
    Warning,
    /// Somebody must act.
    Critical,
}

impl Severity {
    /// Every severity, the least first.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The word in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// What finds anomalies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A minute's value beyond a limit.
    Threshold(Threshold),
    /// A device that sends nothing.
    DeadMan(DeadMan),
}

impl Detector {
    /// The word in tables and messages.
    pub fn as_str(&self) -> &'static str {
        match self {
            Detector::Threshold(_) => "threshold",
            Detector::DeadMan(_) => "dead_man",
        }
    }
}

/// Minutes of a metric whose value is above or below a limit: from the first of so many in a row to the last before one
/// that is clear of the limit by the hysteresis. Minutes without readings neither begin nor end it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The metric.
    pub metric: Name,
    /// Which value of a minute.
    pub of: Field,
    /// It begins above this.
    pub above: Option<f64>,
    /// It begins below this.
    pub below: Option<f64>,
    /// How far back within the limits a minute has to be to end it, in the metric's unit.
    pub hysteresis: f64,
    /// How many minutes in a row begin it; at least 1.
    pub windows: u32,
}

/// A value of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// The mean of its readings.
    #[default]
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The latest.
    Last,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 4] = [Field::Mean, Field::Min, Field::Max, Field::Last];

    /// The word in configuration and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::Mean => "mean",
            Field::Min => "min",
            Field::Max => "max",
            Field::Last => "last",
        }
    }
}

/// A device of which there was no reading, of any metric, for a time: from the end of its last minute with one to the
/// beginning of the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadMan {
    /// So many whole minutes without a reading begin it; at least 1.
    pub minutes: i32,
}

/// Where an anomaly stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyStatus {
    /// It goes on.
    Raised,
    /// It has ended.
    Cleared,
    /// Late readings have shown that it never was.
    Withdrawn,
}

impl AnomalyStatus {
    /// Every status.
    pub const ALL: [AnomalyStatus; 3] = [AnomalyStatus::Raised, AnomalyStatus::Cleared, AnomalyStatus::Withdrawn];

    /// The word in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            AnomalyStatus::Raised => "raised",
            AnomalyStatus::Cleared => "cleared",
            AnomalyStatus::Withdrawn => "withdrawn",
        }
    }
}

/// A value of a series in a minute. It is finite: what isn't is taken as the greatest or least number there is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The minute's first instant.
    pub at: EventTime,
    /// The value.
    pub value: f64,
}

impl Observation {
    /// What a minute's value is.
    pub fn of(pane: PaneNo, value: f64) -> Observation {
        Observation {
            at: pane.start(),
            value: value.clamp(f64::MIN, f64::MAX),
        }
    }
}

/// Why an anomaly is one: what was expected, and what was there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// What a threshold saw.
    Threshold {
        /// Which value of a minute was looked at.
        of: Field,
        /// It was expected to be at least this.
        low: Option<f64>,
        /// It was expected to be at most this.
        high: Option<f64>,
        /// What began it.
        first: Observation,
        /// What was farthest out, the first of several.
        worst: Observation,
    },
    /// What a dead man's switch saw.
    DeadMan {
        /// So many whole minutes without a reading begin it.
        minutes: i32,
    },
}

/// What a rule found, as it stands as of an epoch. Its key is rule, device, metric and start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The rule.
    pub rule: Name,
    /// What found it: the word of a [`Detector`].
    pub detector: Name,
    /// How bad it is.
    pub severity: Severity,
    /// The device.
    pub device: Name,
    /// The metric; empty when it is about the whole device.
    pub metric: Name,
    /// Its first instant.
    pub started_at: EventTime,
    /// The first instant after it; `None` while it goes on.
    pub ended_at: Option<EventTime>,
    /// Where it stands.
    pub status: AnomalyStatus,
    /// Why it is one.
    pub evidence: Evidence,
    /// The epoch that produced it: it only grows, so a store keeps the greatest.
    pub revision: Epoch,
}

impl Anomaly {
    /// The outbox part it belongs to: the key group of its device.
    pub fn part(&self) -> KeyGroup {
        KeyGroup::of(self.device.as_bytes())
    }

    /// The value farthest out, for detectors that see values.
    pub fn observed(&self) -> Option<f64> {
        match &self.evidence {
            Evidence::Threshold { worst, .. } => Some(worst.value),
            Evidence::DeadMan { .. } => None,
        }
    }

    /// The least and the greatest value that was expected, for detectors that see values.
    pub fn expected(&self) -> (Option<f64>, Option<f64>) {
        match &self.evidence {
            Evidence::Threshold { low, high, .. } => (*low, *high),
            Evidence::DeadMan { .. } => (None, None),
        }
    }

    /// About how many bytes it takes while it waits for a sink.
    pub fn bytes(&self) -> i64 {
        size_of::<Anomaly>() as i64
    }
}
