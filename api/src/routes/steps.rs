//! Rows put together in steps of time, so that a long range is not more points than a screen has.

use super::query::bad;
use crate::problem::Problem;
use crate::rfc3339;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::query::SeriesQuery;
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::time::{EventTime, PaneNo};
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
    each: Each,
    aggs: Vec<(&'static str, Agg)>,
}

/// How long a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Each {
    /// So many milliseconds, counted from 1970.
    Ms(i64),
    /// So many days of the calendar, counted from 1970 too.
    Days(i64, Arc<Calendar>),
}

impl Each {
    /// The start of the step that a time lies in.
    fn start(&self, at: EventTime) -> EventTime {
        match self {
            Each::Ms(ms) => EventTime(at.0.div_euclid(*ms) * ms),
            Each::Days(days, calendar) => {
                let date = calendar.date(PaneNo::of(at));
                calendar.first(date.div_euclid(*days) * days).start()
            }
        }
    }
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
    pub(super) fn parse(
        step: &str,
        agg: Option<&str>,
        query: &mut SeriesQuery,
        calendar: &Arc<Calendar>,
    ) -> Result<Steps, Problem> {
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
        let each = match query.job {
            Job::Day => Each::Days(step_ms / length_ms, calendar.clone()),
            _ => Each::Ms(step_ms),
        };
        query.from = each.start(query.from);
        query.limit = ROWS_MAX;
        Ok(Steps {
            text: step.to_owned(),
            each,
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
        let step = |row: &Row| self.each.start(row.window_start);
        rows.chunk_by(|one, other| step(one) == step(other))
            .map(|rows| self.point(rows))
            .collect()
    }

    fn point(&self, rows: &[Row]) -> Point {
        let with = |status: Status| rows.iter().filter(|row| row.status == status).count();
        let start = rows
            .first()
            .map_or(EventTime(0), |row| self.each.start(row.window_start));
        Point {
            start: rfc3339::format(start),
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

    fn parse(step: &str, agg: Option<&str>, query: &mut SeriesQuery) -> Result<Steps, Problem> {
        Steps::parse(step, agg, query, &Arc::default())
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
        let steps = parse("5m", Some("avg,min,max,count,first,last"), &mut query).expect("it is good");
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
    fn steps_of_days_are_the_calendars() {
        const HOUR: i64 = 3_600_000;
        // Clocks go forward at one in the morning, UTC, of the third of January.
        let calendar = Arc::new(Calendar::new(60, [(PaneNo(49 * 60), 120)]));
        let mut query = SeriesQuery {
            job: Job::Day,
            ..query(30 * HOUR, 100 * HOUR)
        };
        let steps = Steps::parse("1day", Some("count"), &mut query, &calendar).expect("it is good");
        assert_eq!(query.from, EventTime(23 * HOUR));
        let day = |hour: i64| Row {
            job: Job::Day,
            window_start: EventTime(hour * HOUR),
            ..row(0, 1, 1.0, Status::Final)
        };
        let starts = |steps: &Steps| {
            let points = steps.points(&[day(23), day(47), day(70)]);
            points
                .into_iter()
                .map(|point| (point.start, point.windows))
                .collect::<Vec<_>>()
        };
        let start = |hour: i64| rfc3339::format(EventTime(hour * HOUR));
        assert_eq!(starts(&steps), [(start(23), 1), (start(47), 1), (start(70), 1)]);
        let steps = Steps::parse("2days", None, &mut query, &calendar).expect("it is good");
        assert_eq!(starts(&steps), [(start(-1), 1), (start(47), 2)]);
        assert!(Steps::parse("36h", None, &mut query, &calendar).is_err());
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
            assert!(parse(step, agg, &mut query(0, 60_000)).is_err(), "{step} {agg:?}");
        }
        let days = 24 * 60 * 60_000;
        assert!(parse("1m", None, &mut query(0, days)).is_err(), "1,440 points");
        assert!(parse("5m", None, &mut query(0, days)).is_ok());
        let mut overlapping = SeriesQuery {
            job: Job::FiveMinutes,
            ..query(0, days)
        };
        assert!(parse("5m", None, &mut overlapping).is_err());
    }
}
