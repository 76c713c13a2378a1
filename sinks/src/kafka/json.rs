//! A row as JSON, appended to a buffer: what serde makes of its fields, without a map or a text between.

use serde::Serialize;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Job, Row};

/// Appends the key of a row: job, key, metric and window.
pub(super) fn key(out: &mut Vec<u8>, row: &Row) -> serde_json::Result<()> {
    serde_json::to_writer(out, &(row.job.as_str(), &*row.key, &*row.metric, row.window_start.0))
}

/// Appends the value of a row as it stood at an epoch. The fields after the window are those of
/// [`tidewatch_proto::row::RowBody`], in its order.
pub(super) fn value(out: &mut Vec<u8>, row: &Row, as_of: Epoch) -> serde_json::Result<()> {
    let values = &row.values;
    out.extend_from_slice(b"{\"job\":");
    serde_json::to_writer(&mut *out, row.job.as_str())?;
    let mut object = Object(out);
    object.field(name_of_key(row.job), &*row.key)?;
    object.field(",\"metric\":", &*row.metric)?;
    object.field(",\"window_start\":", &row.window_start.0)?;
    object.field(",\"window_end\":", &row.window_end.0)?;
    if !row.job.is_per_series() {
        object.field(",\"devices\":", &values.devices)?;
    }
    object.field(",\"count\":", &values.count)?;
    object.field(",\"sum\":", &values.sum)?;
    object.field(",\"min\":", &values.min)?;
    object.field(",\"max\":", &values.max)?;
    object.field(",\"first\":", &values.first)?;
    object.field(",\"last\":", &values.last)?;
    object.field(",\"mean\":", &values.mean)?;
    object.field(",\"stddev\":", &values.stddev)?;
    object.field(",\"p50\":", &values.quantiles.map(|quantiles| quantiles.p50))?;
    object.field(",\"p95\":", &values.quantiles.map(|quantiles| quantiles.p95))?;
    object.field(",\"p99\":", &values.quantiles.map(|quantiles| quantiles.p99))?;
    object.field(",\"invalid_count\":", &values.invalid_count)?;
    object.field(",\"status\":", row.status.as_str())?;
    object.field(",\"revision\":", &row.revision.0)?;
    object.field(",\"as_of\":", &as_of.0)?;
    out.push(b'}');
    Ok(())
}

/// What the key of a row is, as the name of a field that follows another.
fn name_of_key(job: Job) -> &'static str {
    match job {
        Job::Minute | Job::FiveMinutes | Job::Hour | Job::Day => ",\"device_id\":",
        Job::SiteMinute => ",\"site\":",
        Job::FleetMinute => ",\"fleet\":",
    }
}

/// An object that has a field already.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    /// Appends a field: its name with the comma before and the colon after, and its value.
    fn field(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
        self.0.extend_from_slice(name.as_bytes());
        serde_json::to_writer(&mut *self.0, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::row;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_series_row_is_pinned() {
        let mut row = row(Job::Minute, "dev \"1\"", 0, 7);
        row.values.sum = f64::NAN;
        row.values.first = Some(f64::INFINITY);
        let expected = r#"["minute","dev \"1\"","temperature",1700006400000]"#;
        assert_eq!(text(|out| key(out, &row)), expected);
        assert_eq!(
            text(|out| value(out, &row, Epoch(9))),
            r#"{"job":"minute","device_id":"dev \"1\"","metric":"temperature","window_start":1700006400000,"#
                .to_owned()
                + r#""window_end":1700006460000,"count":67,"sum":null,"min":-11.4,"max":11.5,"first":null,"#
                + r#""last":11.700000000000001,"mean":11.8,"stddev":11.9,"p50":12.0,"p95":12.100000000000001,"#
                + r#""p99":12.200000000000001,"invalid_count":1,"status":"final","revision":7,"as_of":9}"#
        );
    }

    #[test]
    fn a_rollup_names_its_site_or_fleet() {
        let of = |job| text(|out| value(out, &row(job, "north", 0, 7), Epoch(9)));
        assert!(of(Job::SiteMinute).starts_with(r#"{"job":"site_minute","site":"north","metric":"#));
        assert!(of(Job::SiteMinute).contains(r#""devices":9,"count":67"#));
        assert!(of(Job::FleetMinute).starts_with(r#"{"job":"fleet_minute","fleet":"north","metric":"#));
    }

    #[test]
    fn what_follows_the_window_is_the_body_that_the_api_shows() {
        for job in Job::ALL {
            let mut row = row(job, "x", 0, 7);
            for without_quantiles in [false, true] {
                if without_quantiles {
                    row.values.quantiles = None;
                }
                let body = serde_json::to_string(&row.body(Epoch(9))).unwrap();
                let value = text(|out| value(out, &row, Epoch(9)));
                assert!(value.ends_with(&format!(",{}", &body[1..])), "{value} and {body}");
            }
        }
    }
}
