//! JSON lines: an object a line.

use super::{Decoded, Decoder, Problem, time};
use crate::encode;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use tidewatch_proto::time::EventTime;

/// Decodes the lines of a JSON lines file.
pub(super) struct JsonDecoder;

impl Decoder for JsonDecoder {
    fn decode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Option<Decoded>, Problem> {
        if frame.trim_ascii().is_empty() {
            return Ok(None);
        }
        let line: Line<'_> = serde_json::from_slice(frame).map_err(|error| Problem::Frame(in_line(&error)))?;
        encode::head(out, &line.device_id, line.ts.0);
        for (name, value) in &line.metrics.0 {
            if let Some(value) = value {
                encode::metric(out, name, *value);
            }
        }
        Ok(Some(Decoded { ts: Some(line.ts.0) }))
    }
}

/// The error's text; the line that the parser saw is always its first.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    device_id: Cow<'a, str>,
    ts: Time,
    #[serde(borrow, default)]
    metrics: Metrics<'a>,
}

/// Epoch milliseconds, or a date and time.
struct Time(EventTime);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in epoch milliseconds or RFC 3339")
    }

    fn visit_i64<E: Error>(self, ms: i64) -> Result<Time, E> {
        Ok(Time(EventTime(ms)))
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<Time, E> {
        i64::try_from(ms)
            .map(|ms| Time(EventTime(ms)))
            .map_err(|_| E::custom(format!("`{ms}` is no time")))
    }

    fn visit_f64<E: Error>(self, ms: f64) -> Result<Time, E> {
        // Whole numbers up to here are exact.
        match ms.fract() == 0.0 && ms.abs() < (1_u64 << f64::MANTISSA_DIGITS) as f64 {
            true => Ok(Time(EventTime(ms as i64))),
            false => Err(E::custom(format!("`{ms}` is no time in whole milliseconds"))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        time::parse_date(text)
            .map(Time)
            .ok_or_else(|| E::custom(format!("`{text}` is no time")))
    }
}

/// Names and values in the order of the line; without a value where it is `null`.
#[derive(Default)]
struct Metrics<'a>(Vec<(Cow<'a, str>, Option<f64>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Metrics<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Metrics<'a>, D::Error> {
        deserializer.deserialize_map(MetricsVisitor)
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct MetricsVisitor;

impl<'de> Visitor<'de> for MetricsVisitor {
    type Value = Metrics<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics<'de>, A::Error> {
        let mut metrics = Vec::new();
        while let Some((Key(name), value)) = map.next_entry::<Key<'de>, Option<f64>>()? {
            metrics.push((name, value));
        }
        Ok(Metrics(metrics))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::shown;

    fn decode(line: &str) -> String {
        let mut out = Vec::new();
        match JsonDecoder.decode(line.as_bytes(), &mut out) {
            Ok(None) => "-".to_owned(),
            Ok(Some(_)) => shown(&out),
            Err(Problem::Frame(problem) | Problem::File(problem)) => problem,
        }
    }

    #[test]
    fn lines() {
        let check = |line: &str, expected: &str| assert_eq!(decode(line), expected, "{line}");
        check("  ", "-");
        check(
            r#"{"device_id": "a", "ts": 5, "metrics": {"t": 1.5, "h": null, "p": 3}}"#,
            "a@5 p=3 t=1.5",
        );
        check(
            r#"{"ts": "2026-01-01T00:00:00Z", "device_id": "\u0061\"", "extra": [1]}"#,
            "a\"@1767225600000",
        );
        check(
            r#"{"device_id": "a", "ts": 1e3, "metrics": {"t": 0.1}}"#,
            "a@1000 t=0.1",
        );
        check(
            r#"{"device_id": "a", "ts": 1.5}"#,
            "`1.5` is no time in whole milliseconds at column 28",
        );
        check(r#"{"device_id": "a"}"#, "missing field `ts` at column 18");
        check(
            r#"{"device_id": "a", "ts": 5, "metrics": {"t": "x"}}"#,
            "invalid type: string \"x\", expected f64 at column 48",
        );
        check("nonsense", "expected ident at column 2");
        assert!(decode("{\"device_id\": \"a").starts_with("EOF while parsing a string"));
    }
}
