//! The sinks against real components: the suite, and what only a real component does.

mod anomalies;
mod kafka;
mod mend;
mod postgres;

use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Delivery, Job, Row};
use tidewatch_sinks::conformance::row;

/// The names of the partitions of a source.
fn partitions() -> Vec<String> {
    vec!["raw.events/0".to_owned(), "raw.events/1".to_owned()]
}

/// A delivery of rows.
fn delivery(generation: u64, through: u64, items: Vec<Row>) -> Delivery<Row> {
    Delivery {
        generation: Generation(generation),
        through: Epoch(through),
        items,
    }
}

/// The rows of some minutes of a device.
fn minutes(key: &str, minutes: impl Iterator<Item = i64>) -> Vec<Row> {
    minutes.map(|minute| row(Job::Minute, key, minute, 1)).collect()
}

/// A query for every row of a device.
fn all_of(key: &str) -> SeriesQuery {
    let (first, last) = (row(Job::Minute, key, -100_000, 0), row(Job::Minute, key, 100_000, 0));
    SeriesQuery {
        job: Job::Minute,
        key: key.into(),
        metric: first.metric,
        from: first.window_start,
        to: last.window_start,
        limit: usize::MAX,
        order: Order::OldestFirst,
    }
}
