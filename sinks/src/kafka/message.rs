//! A row as a message: a JSON object under a JSON key.

use super::producer::Message;
use crate::SinkError;
use rdkafka::message::{Header, OwnedHeaders};
use serde::Serialize;
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::row::{Job, Row, RowBody};

/// The value, in the order of its fields.
#[derive(Serialize)]
struct Value<'a> {
    job: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<&'a str>,
    metric: &'a str,
    window_start: i64,
    window_end: i64,
    #[serde(flatten)]
    body: RowBody,
}

impl<'a> Value<'a> {
    fn of(row: &'a Row, as_of: Epoch) -> Value<'a> {
        let key: &str = &row.key;
        Value {
            job: row.job.as_str(),
            device_id: row.job.is_per_series().then_some(key),
            site: (row.job == Job::SiteMinute).then_some(key),
            fleet: (row.job == Job::FleetMinute).then_some(key),
            metric: &row.metric,
            window_start: row.window_start.0,
            window_end: row.window_end.0,
            body: row.body(as_of),
        }
    }
}

/// The message of a row, as it stood at an epoch.
pub(super) fn message(row: &Row, generation: Generation, as_of: Epoch) -> Result<Message, SinkError> {
    let wrong = |error: serde_json::Error| SinkError::stop("kafka", format!("a row is no JSON: {error}"));
    let key = (row.job.as_str(), &*row.key, &*row.metric, row.window_start.0);
    Ok(Message {
        key: Some(serde_json::to_vec(&key).map_err(wrong)?),
        payload: serde_json::to_vec(&Value::of(row, as_of)).map_err(wrong)?,
        headers: OwnedHeaders::new_with_capacity(3)
            .insert(header("epoch", &as_of.to_string()))
            .insert(header("generation", &generation.to_string()))
            .insert(header("revision", &row.revision.to_string())),
    })
}

/// A header with a text.
pub(super) fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header {
        key,
        value: Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::row;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_series_row_is_pinned() {
        let mut row = row(Job::Minute, "dev \"1\"", 0, 7);
        row.values.sum = f64::NAN;
        row.values.first = Some(f64::INFINITY);
        let message = message(&row, Generation(3), Epoch(9)).unwrap();
        let key = message.key.unwrap();
        assert_eq!(text(&key), r#"["minute","dev \"1\"","temperature",1700006400000]"#);
        assert_eq!(
            text(&message.payload),
            r#"{"job":"minute","device_id":"dev \"1\"","metric":"temperature","window_start":1700006400000,"#
                .to_owned()
                + r#""window_end":1700006460000,"count":67,"sum":null,"min":-11.4,"max":11.5,"first":null,"#
                + r#""last":11.700000000000001,"mean":11.8,"stddev":11.9,"p50":12.0,"p95":12.100000000000001,"#
                + r#""p99":12.200000000000001,"invalid_count":1,"status":"final","revision":7,"as_of":9}"#
        );
    }

    #[test]
    fn a_rollup_names_its_site_or_fleet() {
        let site = message(&row(Job::SiteMinute, "north", 0, 7), Generation(3), Epoch(9)).unwrap();
        assert!(text(&site.payload).starts_with(r#"{"job":"site_minute","site":"north","metric":"#));
        assert!(text(&site.payload).contains(r#""devices":9,"count":67"#));
        let fleet = message(&row(Job::FleetMinute, "north", 0, 7), Generation(3), Epoch(9)).unwrap();
        assert!(text(&fleet.payload).starts_with(r#"{"job":"fleet_minute","fleet":"north","metric":"#));
    }
}
