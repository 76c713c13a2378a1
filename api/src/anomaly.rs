//! An anomaly as JSON, and as a sentence.

use crate::rfc3339;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus, Evidence, Observation};
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::time::EventTime;
use utoipa::ToSchema;

/// What an address may hold as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How far around an anomaly its rows are linked.
const AROUND_MS: i64 = 15 * 60 * 1_000;
/// Digits of a number in a sentence that count.
const DIGITS: i32 = 6;

/// What a rule found wrong with a series or a device.
#[derive(Serialize, ToSchema)]
#[schema(as = Anomaly)]
pub(crate) struct One {
    #[schema(value_type = String)]
    rule: Name,
    /// What found it: more may be added.
    #[schema(value_type = String)]
    detector: Name,
    /// How bad it is: `info`, `warning` or `critical`.
    severity: &'static str,
    #[schema(value_type = String)]
    device_id: Name,
    /// Null when it is about the whole device.
    #[schema(required, value_type = Option<String>)]
    metric: Option<Name>,
    /// Its first instant.
    #[schema(format = DateTime)]
    started_at: String,
    /// The first instant after it; null while it goes on.
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    /// `raised` while it goes on, `cleared`, or `withdrawn`: late readings have shown that it never was.
    status: &'static str,
    /// The value farthest out; null when no value was seen.
    #[schema(required)]
    observed: Option<f64>,
    expected: Expected,
    evidence: Shown,
    /// What was found, in English.
    summary: String,
    /// Where the rows around it are; null when it is about the whole device.
    #[schema(required)]
    rows: Option<String>,
    /// The epoch that produced it: of the same rule, device, metric and start the greater one is newer.
    #[schema(value_type = u64)]
    revision: Epoch,
}

/// The least and the greatest value that was expected.
#[derive(Serialize, ToSchema)]
#[schema(as = AnomalyExpected)]
struct Expected {
    #[schema(required)]
    low: Option<f64>,
    #[schema(required)]
    high: Option<f64>,
}

/// Why it is one; more kinds may be added.
#[derive(Serialize, ToSchema)]
#[schema(as = AnomalyEvidence)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Shown {
    Threshold {
        /// Which value of a minute was looked at.
        of: &'static str,
        /// It was expected to be at least this.
        #[schema(required)]
        low: Option<f64>,
        /// It was expected to be at most this.
        #[schema(required)]
        high: Option<f64>,
        /// What began it.
        first: Seen,
        /// What was farthest out.
        worst: Seen,
    },
    DeadMan {
        /// So many whole minutes without a reading begin it.
        minutes: i32,
    },
}

/// A value of a minute.
#[derive(Serialize, ToSchema)]
#[schema(as = AnomalyObservation)]
struct Seen {
    /// The minute's first instant.
    #[schema(format = DateTime)]
    at: String,
    value: f64,
}

impl From<&Observation> for Seen {
    fn from(seen: &Observation) -> Seen {
        Seen {
            at: rfc3339::format(seen.at),
            value: seen.value,
        }
    }
}

impl From<&Evidence> for Shown {
    fn from(evidence: &Evidence) -> Shown {
        match evidence {
            Evidence::Threshold {
                of,
                low,
                high,
                first,
                worst,
            } => Shown::Threshold {
                of: of.as_str(),
                low: *low,
                high: *high,
                first: first.into(),
                worst: worst.into(),
            },
            Evidence::DeadMan { minutes } => Shown::DeadMan { minutes: *minutes },
        }
    }
}

impl From<&Anomaly> for One {
    fn from(anomaly: &Anomaly) -> One {
        let (low, high) = anomaly.expected();
        One {
            rule: anomaly.rule.clone(),
            detector: anomaly.detector.clone(),
            severity: anomaly.severity.as_str(),
            device_id: anomaly.device.clone(),
            metric: (!anomaly.metric.is_empty()).then(|| anomaly.metric.clone()),
            started_at: rfc3339::format(anomaly.started_at),
            ended_at: anomaly.ended_at.map(rfc3339::format),
            status: anomaly.status.as_str(),
            observed: anomaly.observed(),
            expected: Expected { low, high },
            evidence: (&anomaly.evidence).into(),
            summary: summary(anomaly),
            rows: rows(anomaly),
            revision: anomaly.revision,
        }
    }
}

/// Where the rows around it are.
fn rows(anomaly: &Anomaly) -> Option<String> {
    if anomaly.metric.is_empty() {
        return None;
    }
    let name = |name: &str| utf8_percent_encode(name, UNRESERVED).to_string();
    let (device, metric) = (name(&anomaly.device), name(&anomaly.metric));
    let from = rfc3339::format(EventTime(anomaly.started_at.0 - AROUND_MS));
    let to = anomaly.ended_at.map_or(String::new(), |end| {
        format!("&to={}", rfc3339::format(EventTime(end.0 + AROUND_MS)))
    });
    Some(format!("/v1/series/{device}/{metric}?from={from}{to}&limit=1000"))
}

/// What was found, as in `mean of temperature 41.3 above 38 from 2026-11-27 10:02 to 10:09 UTC`.
fn summary(anomaly: &Anomaly) -> String {
    let what = match &anomaly.evidence {
        Evidence::Threshold {
            of, low, high, worst, ..
        } => {
            let is_above = high.is_some_and(|high| worst.value > high);
            let limit = match (is_above, high, low) {
                (true, Some(high), _) => format!(" above {}", number(*high)),
                (false, _, Some(low)) => format!(" below {}", number(*low)),
                _ => String::new(),
            };
            format!("{} of {} {}{limit}", of.as_str(), anomaly.metric, number(worst.value))
        }
        Evidence::DeadMan { .. } => "no reading".to_owned(),
    };
    let start = minute(anomaly.started_at);
    let when = match anomaly.ended_at.map(minute) {
        None => format!("since {start} UTC"),
        Some(end) => match end.split_once(' ') {
            Some((day, time)) if start.starts_with(day) => format!("from {start} to {time} UTC"),
            _ => format!("from {start} to {end} UTC"),
        },
    };
    let but = match anomaly.status {
        AnomalyStatus::Withdrawn => "; withdrawn, since late readings have shown that it never was",
        AnomalyStatus::Raised | AnomalyStatus::Cleared => "",
    };
    format!("{what} {when}{but}")
}

/// A time to the minute, as in `2026-11-27 10:02`.
fn minute(time: EventTime) -> String {
    let text = rfc3339::format(time);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// A number as people read it.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let whole = if size < 1.0 { 0 } else { size.log10() as i32 + 1 };
    let text = format!("{value:.*}", (DIGITS - whole).max(0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;
    use tidewatch_proto::anomaly::{Field, Severity};

    /// 2026-11-27T10:02:00Z.
    const START: i64 = 1_795_773_720_000;

    fn threshold(low: Option<f64>, high: Option<f64>, worst: f64, ended_at: Option<i64>) -> Anomaly {
        let seen = Observation {
            at: EventTime(START),
            value: worst,
        };
        Anomaly {
            rule: "hot".into(),
            detector: "threshold".into(),
            severity: Severity::Warning,
            device: "dev 1/é".into(),
            metric: "temperature".into(),
            started_at: EventTime(START),
            ended_at: ended_at.map(|minutes| EventTime(START + minutes * 60_000)),
            status: match ended_at {
                None => AnomalyStatus::Raised,
                Some(_) => AnomalyStatus::Cleared,
            },
            evidence: Evidence::Threshold {
                of: Field::Mean,
                low,
                high,
                first: seen,
                worst: seen,
            },
            revision: Epoch(1),
        }
    }

    /// A device that has sent nothing since a minute.
    pub(crate) fn silent(minute: i64) -> Arc<Anomaly> {
        Arc::new(Anomaly {
            metric: "".into(),
            started_at: EventTime(START + minute * 60_000),
            evidence: Evidence::DeadMan { minutes: 10 },
            ..threshold(None, None, 0.0, None)
        })
    }

    #[test]
    fn sentences() {
        let hot = threshold(None, Some(38.0), 41.300000000000004, Some(7));
        let still = threshold(Some(-5.25), Some(38.0), -7.0, None);
        let long = threshold(Some(1e-9), None, 0.0, Some(24 * 60));
        let silent = Anomaly {
            metric: "".into(),
            status: AnomalyStatus::Withdrawn,
            evidence: Evidence::DeadMan { minutes: 10 },
            ..hot.clone()
        };
        for (anomaly, sentence) in [
            (
                hot,
                "mean of temperature 41.3 above 38 from 2026-11-27 10:02 to 10:09 UTC",
            ),
            (still, "mean of temperature -7 below -5.25 since 2026-11-27 10:02 UTC"),
            (
                long,
                "mean of temperature 0 below 1.000e-9 from 2026-11-27 10:02 to 2026-11-28 10:02 UTC",
            ),
            (
                silent,
                "no reading from 2026-11-27 10:02 to 10:09 UTC; withdrawn, since late readings have shown that it never was",
            ),
        ] {
            assert_eq!(summary(&anomaly), sentence);
        }
    }

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (100.0, "100"),
            (1013.25, "1013.25"),
            (1.0 / 3.0, "0.333333"),
            (-2.5, "-2.5"),
            (1_234_567.8, "1234568"),
            (f64::MAX, "1.798e308"),
            (0.00001, "1.000e-5"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn rows_around_it_are_linked() {
        let ended = One::from(&threshold(None, Some(1.0), 2.0, Some(7)));
        assert_eq!(
            ended.rows.as_deref(),
            Some(
                "/v1/series/dev%201%2F%C3%A9/temperature?from=2026-11-27T09:47:00.000Z&to=2026-11-27T10:24:00.000Z\
                 &limit=1000"
            )
        );
        let open = One::from(&threshold(None, Some(1.0), 2.0, None));
        assert!(open.rows.is_some_and(|rows| !rows.contains("&to=")));
    }
}
