//! The store passes the suites, survives what it has to, lets go what it must, and does as a model does.

mod anomalies;
mod crashes;
mod leaving;
mod model;
mod suites;

use super::{Sqlite, SqliteConfig, SqliteSettings};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidewatch_proto::ids::{Epoch, Generation, Name};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Delivery, Job};
use tidewatch_proto::time::EventTime;
use tidewatch_settings::Span;

/// Longer than all event time.
const FOR_EVER: Span = Span::from_secs(10_000 * 366 * 86_400);
/// The first minute of the sample rows.
const DAY_MS: i64 = 1_700_006_400_000;
const MINUTE_MS: i64 = 60_000;

/// A store in which windows stay, and are packed after so many milliseconds.
fn settings(folder: &Path, alone_ms: u64) -> SqliteSettings {
    let config = SqliteConfig {
        minute_retention: FOR_EVER,
        five_minute_retention: FOR_EVER,
        hour_retention: FOR_EVER,
        rollup_retention: FOR_EVER,
        ..SqliteConfig::default()
    };
    SqliteSettings {
        alone: Duration::from_millis(alone_ms),
        ..config.resolve(folder).unwrap()
    }
}

fn open(settings: &SqliteSettings) -> Sqlite {
    Sqlite::open(settings.clone(), Arc::new(|_| ())).unwrap()
}

fn delivery<T>(generation: u64, through: u64, items: Vec<T>) -> Delivery<T> {
    Delivery {
        generation: Generation(generation),
        through: Epoch(through),
        items,
    }
}

/// All rows of a series of the sample metric.
fn all(job: Job, key: &str) -> SeriesQuery {
    SeriesQuery {
        job,
        key: Name::from(key),
        metric: "temperature".into(),
        from: EventTime(i64::MIN),
        to: EventTime(i64::MAX),
        limit: usize::MAX,
        order: Order::OldestFirst,
    }
}
