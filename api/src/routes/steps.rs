//! Rows put together in steps of time, so that a long range is not more points than a screen has.

use super::query::bad;
use crate::problem::Problem;
use crate::rfc3339;
use serde::Serialize;
use serde_json::{Map, Value};
use tidewatch_proto::query::SeriesQuery;
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::time::EventTime;
use utoipa::ToSchema;

/// Steps of an answer at most.
const POINTS_MAX: i64 = 1_000;
/// Rows that are put together for an answer at most: minutes of two weeks.
const ROWS_MAX: usize = 20_160;

/// What a step can say of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agg {
    /// The mean of all readings: of the rows' means weighted by their counts.
    Avg,
    Min,
    Max,
    Sum,
    Count,
    First,
    Last,
}

const AGGS: [(&str, Agg); 7] = [
    ("avg", Agg::Avg),
    ("min", Agg::Min),
    ("max", Agg::Max),
    ("sum", Agg::Sum),
    ("count", Agg::Count),
    ("first", Agg::First),
    ("last", Agg::Last),
];

/// Into which steps, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// As it was asked for.
    pub(super) text: String,
    step_ms: i64,
    aggs: Vec<(&'static str, Agg)>,
}

/// One step that has rows.
#[derive(Serialize, ToSchema)]
#[schema(as = Step)]
pub(super) struct Point {
    #[schema(format = DateTime)]
    start: String,
    /// How many rows it is made of, and how many of these were corrected or are still open.
    windows: usize,
    corrected: usize,
    live: usize,
    #[serde(flatten)]
    #[schema(value_type = StepValues)]
    values: Map<String, Value>,
}

/// What a step says of its rows: what was asked for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form of a map")]
struct StepValues {
    /// The mean of all readings.
    avg: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    sum: Option<f64>,
    #[schema(nullable = false)]
    count: Option<u64>,
    first: Option<f64>,
    last: Option<f64>,
}

/// The names of what a step can say.
pub(super) fn agg_names() -> [&'static str; 7] {
    AGGS.map(|(name, _)| name)
}

impl Steps {
    /// Checks step, aggregates and range, and asks for all rows of whole steps.
    pub(super) fn parse(step: &str, agg: Option<&str>, query: &mut SeriesQuery) -> Result<Steps, Problem> {
        if query.job == Job::FiveMinutes {
            return Err(bad("step: windows of 5m overlap; put 1m or 1h together".to_owned()));
        }
        let length_ms = query.job.length_ms();
        let duration = humantime::parse_duration(step).ok();
        let step_ms = duration.and_then(|duration| i64::try_from(duration.as_millis()).ok());
        let step_ms = step_ms.filter(|ms| *ms > 0 && ms % length_ms == 0);
        let step_ms = step_ms.ok_or_else(|| {
            let minutes = length_ms / 60_000;
            bad(format!(
                "step: a multiple of the windows' {minutes} min, such as 5m, 1h or 1day"
            ))
        })?;
        let points = (query.to.0.saturating_sub(query.from.0)) / step_ms;
        if points > POINTS_MAX {
            return Err(bad(format!(
                "step: {points} steps are more than {POINTS_MAX}; ask for longer ones"
            )));
        }
        let names = agg.unwrap_or("avg,min,max").split(',');
        let known = |name: &str| AGGS.into_iter().find(|(known, _)| *known == name);
        let aggs: Option<Vec<_>> = names.map(|name| known(name.trim())).collect();
        let aggs = aggs.ok_or_else(|| bad(format!("agg: {}", agg_names().join(", "))))?;
        query.from = EventTime(query.from.0.div_euclid(step_ms) * step_ms);
        query.limit = ROWS_MAX;
        Ok(Steps {
            text: step.to_owned(),
            step_ms,
            aggs,
        })
    }

    /// Refuses what would be cut off.
    pub(super) fn refuse_too_many(&self, rows: &[Row]) -> Result<(), Problem> {
        if rows.len() <= ROWS_MAX {
            return Ok(());
        }
        Err(bad(format!(
            "more than {ROWS_MAX} rows: ask for a shorter range, or put window=1h together"
        )))
    }

    /// The steps that have rows, which are ascending.
    pub(super) fn points(&self, rows: &[Row]) -> Vec<Point> {
        let step = |row: &Row| row.window_start.0.div_euclid(self.step_ms);
        rows.chunk_by(|one, other| step(one) == step(other))
            .map(|rows| self.point(rows))
            .collect()
    }

    fn point(&self, rows: &[Row]) -> Point {
        let with = |status: Status| rows.iter().filter(|row| row.status == status).count();
        let start = rows
            .first()
            .map_or(0, |row| row.window_start.0)
            .div_euclid(self.step_ms)
            * self.step_ms;
        Point {
            start: rfc3339::format(EventTime(start)),
            windows: rows.len(),
            corrected: with(Status::Corrected),
            live: with(Status::Live),
            values: self
                .aggs
                .iter()
                .map(|(name, agg)| ((*name).to_owned(), agg.of(rows)))
                .collect(),
        }
    }
}

impl Agg {
    fn of(self, rows: &[Row]) -> Value {
        let values = || rows.iter().map(|row| &row.values);
        let count: u64 = values().map(|values| values.count).sum();
        let sum: f64 = values().map(|values| values.sum).sum();
        match self {
            Agg::Count => count.into(),
            Agg::Sum => sum.into(),
            Agg::Avg => (count > 0).then(|| sum / count as f64).into(),
            Agg::Min => values().filter_map(|values| values.min).reduce(f64::min).into(),
            Agg::Max => values().filter_map(|values| values.max).reduce(f64::max).into(),
            Agg::First => values().find_map(|values| values.first).into(),
            Agg::Last => values().rev().find_map(|values| values.last).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::ids::Epoch;
    use tidewatch_proto::query::Order;
    use tidewatch_proto::row::Values;

    fn query(from: i64, to: i64) -> SeriesQuery {
        SeriesQuery {
            job: Job::Minute,
            key: "a".into(),
            metric: "t".into(),
            from: EventTime(from),
            to: EventTime(to),
            limit: 100,
            order: Order::OldestFirst,
        }
    }

    fn row(minute: i64, count: u64, mean: f64, status: Status) -> Row {
        Row {
            job: Job::Minute,
            key: "a".into(),
            metric: "t".into(),
            window_start: EventTime(minute * 60_000),
            window_end: EventTime(minute * 60_000 + 60_000),
            values: Values {
                count,
                sum: mean * count as f64,
                min: (count > 0).then_some(mean - 1.0),
                max: (count > 0).then_some(mean + 1.0),
                first: (count > 0).then_some(mean),
                last: (count > 0).then_some(mean),
                ..Values::default()
            },
            status,
            revision: Epoch(1),
        }
    }

    #[test]
    fn means_are_weighted_and_steps_begin_at_their_multiples() {
        let mut query = query(7 * 60_000, 20 * 60_000);
        let steps = Steps::parse("5m", Some("avg,min,max,count,first,last"), &mut query).expect("it is good");
        assert_eq!((query.from, query.limit), (EventTime(5 * 60_000), ROWS_MAX));
        let rows = [
            row(8, 1, 10.0, Status::Final),
            row(9, 3, 20.0, Status::Corrected),
            row(10, 0, 0.0, Status::Final),
            row(15, 2, 5.0, Status::Live),
        ];
        let points = serde_json::to_value(steps.points(&rows)).expect("JSON");
        let expected = serde_json::json!([
            {"start": "1970-01-01T00:05:00.000Z", "windows": 2, "corrected": 1, "live": 0,
             "avg": 17.5, "min": 9.0, "max": 21.0, "count": 4, "first": 10.0, "last": 20.0},
            {"start": "1970-01-01T00:10:00.000Z", "windows": 1, "corrected": 0, "live": 0,
             "avg": null, "min": null, "max": null, "count": 0, "first": null, "last": null},
            {"start": "1970-01-01T00:15:00.000Z", "windows": 1, "corrected": 0, "live": 1,
             "avg": 5.0, "min": 4.0, "max": 6.0, "count": 2, "first": 5.0, "last": 5.0},
        ]);
        assert_eq!(points, expected);
    }

    #[test]
    fn what_cant_be_put_together_is_refused() {
        for (step, agg) in [
            ("90s", None),
            ("0s", None),
            ("5", None),
            ("", None),
            ("5m", Some("p95")),
            ("5m", Some("")),
        ] {
            assert!(
                Steps::parse(step, agg, &mut query(0, 60_000)).is_err(),
                "{step} {agg:?}"
            );
        }
        let days = 24 * 60 * 60_000;
        assert!(Steps::parse("1m", None, &mut query(0, days)).is_err(), "1,440 points");
        assert!(Steps::parse("5m", None, &mut query(0, days)).is_ok());
        let mut overlapping = SeriesQuery {
            job: Job::FiveMinutes,
            ..query(0, days)
        };
        assert!(Steps::parse("5m", None, &mut overlapping).is_err());
    }
}
