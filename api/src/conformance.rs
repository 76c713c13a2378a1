//! The suite of [`SeriesReader`]: every implementation runs it in its tests.

use crate::reader::SeriesReader;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Job, Quantiles, Row, Status, Values};
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime, PANE_MS};

/// The start of the first window of the suite's rows: 2023-11-14T22:13:00Z.
const START: i64 = 1_699_999_980_000;
/// Rows of each of the suite's series.
const ROWS: i64 = 10;

/// Fills the reader through `put`, in the order a sink would, and panics with the query where an answer is wrong.
///
/// The keys begin with `conformance-`, so that it can run on a store that holds other rows.
pub fn check(reader: &dyn SeriesReader, mut put: impl FnMut(Row)) {
    for job in Job::ALL {
        for n in 0..ROWS {
            put(row(job, "conformance-a", n, 1));
        }
        put(row(job, "conformance-a", 4, 2));
        put(row(job, "conformance-b", 0, 1));
    }
    for job in Job::ALL {
        unknown_is_none(reader, job);
        ranges_are_half_open(reader, job);
        limits_take_the_right_end(reader, job);
        the_last_revision_wins(reader, job);
    }
}

/// The suite's `n`th row of a key, published at a revision.
fn row(job: Job, key: &str, n: i64, revision: u64) -> Row {
    let (hop_ms, length_ms) = match job {
        Job::Minute | Job::SiteMinute | Job::FleetMinute => (PANE_MS, PANE_MS),
        Job::FiveMinutes => (PANE_MS, 5 * PANE_MS),
        Job::Hour => (60 * PANE_MS, 60 * PANE_MS),
        Job::Day => (24 * 60 * PANE_MS, 24 * 60 * PANE_MS),
    };
    let start = START.div_euclid(hop_ms) * hop_ms + n * hop_ms;
    let value = n as f64 + revision as f64 / 8.0;
    let of_series = job.is_per_series().then_some(value);
    Row {
        job,
        key: Name::from(key),
        metric: Name::from("temperature"),
        window_start: EventTime(start),
        window_end: EventTime(start + length_ms),
        values: Values {
            count: 2,
            invalid_count: 1,
            devices: 1,
            sum: 2.0 * value,
            min: Some(value),
            max: Some(value),
            first: of_series,
            last: of_series,
            mean: Some(value),
            stddev: of_series.map(|_| 0.0),
            quantiles: of_series.map(|value| Quantiles {
                p50: value,
                p95: value,
                p99: value,
            }),
        },
        status: if revision == 1 {
            Status::Final
        } else {
            Status::Corrected
        },
        revision: Epoch(revision),
    }
}

/// The suite's last row of each window of the longer series.
fn expected(job: Job) -> Vec<Row> {
    (0..ROWS)
        .map(|n| row(job, "conformance-a", n, if n == 4 { 2 } else { 1 }))
        .collect()
}

fn query(job: Job, limit: usize, order: Order) -> SeriesQuery {
    SeriesQuery {
        job,
        key: Name::from("conformance-a"),
        metric: Name::from("temperature"),
        from: EVENT_TIME_MIN,
        to: EVENT_TIME_MAX,
        limit,
        order,
    }
}

fn answers(reader: &dyn SeriesReader, query: SeriesQuery, expected: Option<&[Row]>) {
    match reader.series(query.clone()) {
        Ok(rows) => assert_eq!(rows.as_deref(), expected, "the answer to {query:?}"),
        Err(error) => panic!("{query:?} failed: {error}"),
    }
}

fn unknown_is_none(reader: &dyn SeriesReader, job: Job) {
    let known = query(job, 5, Order::NewestFirst);
    answers(
        reader,
        SeriesQuery {
            key: Name::from("conformance-none"),
            ..known.clone()
        },
        None,
    );
    answers(
        reader,
        SeriesQuery {
            metric: Name::from("conformance-none"),
            ..known.clone()
        },
        None,
    );
    answers(
        reader,
        SeriesQuery {
            key: Name::from("conformance-'\"%_\\"),
            ..known.clone()
        },
        None,
    );
    answers(
        reader,
        SeriesQuery {
            to: EventTime(0),
            ..known
        },
        Some(&[]),
    );
}

fn ranges_are_half_open(reader: &dyn SeriesReader, job: Job) {
    let rows = expected(job);
    let (from, to) = (rows[2].window_start, rows[6].window_start);
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let all = query(job, 100, order);
        answers(reader, all.clone(), Some(&rows));
        answers(
            reader,
            SeriesQuery {
                from,
                to,
                ..all.clone()
            },
            Some(&rows[2..6]),
        );
        answers(
            reader,
            SeriesQuery {
                from: EventTime(from.0 + 1),
                to,
                ..all.clone()
            },
            Some(&rows[3..6]),
        );
        answers(
            reader,
            SeriesQuery {
                from,
                to: EventTime(to.0 + 1),
                ..all.clone()
            },
            Some(&rows[2..7]),
        );
        answers(
            reader,
            SeriesQuery {
                from,
                to: from,
                ..all.clone()
            },
            Some(&[]),
        );
        answers(
            reader,
            SeriesQuery {
                from: to,
                to: from,
                ..all
            },
            Some(&[]),
        );
    }
}

fn limits_take_the_right_end(reader: &dyn SeriesReader, job: Job) {
    let rows = expected(job);
    answers(reader, query(job, 1, Order::OldestFirst), Some(&rows[..1]));
    answers(reader, query(job, 3, Order::OldestFirst), Some(&rows[..3]));
    answers(reader, query(job, 1, Order::NewestFirst), Some(&rows[9..]));
    answers(reader, query(job, 3, Order::NewestFirst), Some(&rows[7..]));
    let to = rows[5].window_start;
    answers(
        reader,
        SeriesQuery {
            to,
            ..query(job, 3, Order::NewestFirst)
        },
        Some(&rows[2..5]),
    );
}

fn the_last_revision_wins(reader: &dyn SeriesReader, job: Job) {
    let corrected = &expected(job)[4..5];
    let from = corrected[0].window_start;
    answers(
        reader,
        SeriesQuery {
            from,
            ..query(job, 1, Order::OldestFirst)
        },
        Some(corrected),
    );
}
