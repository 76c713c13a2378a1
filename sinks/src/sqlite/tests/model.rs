//! Any deliveries, in any order and again, come to the same as in a map.

use super::{DAY_MS, MINUTE_MS, delivery, open, settings};
use crate::Sink;
use crate::conformance::row;
use crate::hot::HotStore;
use crate::parts::Parts;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;

/// A step of a test.
#[derive(Clone, Debug)]
enum Step {
    /// Rows are delivered: job, device, window, revision.
    Deliver(Vec<(usize, u8, i64, u64)>),
    /// The last delivery comes again.
    Again,
    /// The store is closed and opened.
    Reopen,
    /// A series is read: job, device, from, length, limit, whether the oldest come first.
    Read(usize, u8, i64, i64, usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let one = (0..Job::ALL.len(), 0..3u8, 0..200i64, 1..6u64);
    let read = (
        0..Job::ALL.len(),
        0..3u8,
        -20..220i64,
        0..220i64,
        1..60usize,
        any::<bool>(),
    );
    prop_oneof![
        4 => prop::collection::vec(one, 0..60).prop_map(Step::Deliver),
        1 => Just(Step::Again),
        1 => Just(Step::Reopen),
        4 => read.prop_map(|(job, device, from, length, limit, oldest)| {
            Step::Read(job, device, from, length, limit, oldest)
        }),
    ]
}

type Model = BTreeMap<(Job, String, EventTime), Row>;

fn take(model: &mut Model, rows: &[Row]) {
    // Of the rows of a delivery with the same key the last counts.
    let mut last = Model::new();
    for row in rows {
        last.insert((row.job, row.key.to_string(), row.window_start), row.clone());
    }
    for (key, row) in last {
        match model.get(&key) {
            Some(stored) if stored.revision >= row.revision => {}
            _ => drop(model.insert(key, row)),
        }
    }
}

fn expected(model: &Model, query: &SeriesQuery) -> Vec<Row> {
    let own = model.values().filter(|row| {
        (row.job, &row.key) == (query.job, &query.key) && (query.from..query.to).contains(&row.window_start)
    });
    match query.order {
        Order::OldestFirst => own.take(query.limit).cloned().collect(),
        Order::NewestFirst => own.rev().take(query.limit).cloned().collect(),
    }
}

fn sample(job: usize, device: u8, window: i64, revision: u64) -> Row {
    let job = Job::ALL[job];
    let minute = if job == Job::Hour { window * 60 } else { window };
    row(job, &format!("dev-{device}"), minute, revision)
}

fn query((job, device, from, length): (usize, u8, i64, i64), limit: usize, oldest: bool) -> SeriesQuery {
    let (job, key) = (Job::ALL[job], format!("dev-{device}").into());
    let minutes = if job == Job::Hour { 60 } else { 1 };
    let at = |window: i64| EventTime(DAY_MS + window * minutes * MINUTE_MS);
    SeriesQuery {
        job,
        key,
        metric: "temperature".into(),
        from: at(from),
        to: at(from + length),
        limit,
        order: if oldest { Order::OldestFirst } else { Order::NewestFirst },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_store_does_as_a_map_does(steps in prop::collection::vec(step(), 1..40), alone_ms in prop_oneof![Just(0), Just(2), Just(1_000_000)]) {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), alone_ms);
        let mut store = open(&settings);
        let (mut model, mut last) = (Model::new(), Vec::new());
        for step in steps {
            match step {
                Step::Deliver(rows) => {
                    last = rows.into_iter().map(|(job, device, at, revision)| sample(job, device, at, revision)).collect();
                    store.sink(Parts::all()).deliver(&delivery(1, 1, last.clone())).unwrap();
                    take(&mut model, &last);
                }
                Step::Again => {
                    store.sink(Parts::all()).deliver(&delivery(1, 1, last.clone())).unwrap();
                    take(&mut model, &last);
                }
                Step::Reopen => {
                    drop(store);
                    store = open(&settings);
                }
                Step::Read(job, device, from, length, limit, oldest) => {
                    let query = query((job, device, from, length), limit, oldest);
                    prop_assert_eq!(store.reader().series(&query).unwrap(), expected(&model, &query));
                }
            }
        }
    }
}
