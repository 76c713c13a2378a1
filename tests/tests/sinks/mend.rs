//! Readings beyond the horizon, added to the rows of PostgreSQL and TimescaleDB: as a recomputation has it, once.

use super::delivery;
use std::sync::PoisonError;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::row::{Job, Jobs};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;
use tidewatch_settings::Span;
use tidewatch_sinks::Storing;
use tidewatch_sinks::conformance::{StoringSubject, mending, storing_sink};
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::postgres::{PostgresHotStore, PostgresSink, Timescale};
use tidewatch_tests::sinks::component;
use tidewatch_tests::sinks::postgres::Database;

fn sink(database: &Database) -> PostgresSink {
    PostgresSink::new(database.settings(), Parts::all()).mending(mending())
}

/// With a connection of its own each time: TimescaleDB takes one at a time.
fn mended_once(database: &Database) {
    storing_sink(&StoringSubject {
        sink: &|| Box::new(sink(database)),
        store: &|| Box::new(PostgresHotStore::new(database.settings())),
    });
}

#[test]
fn postgres_adds_each_reading_once() {
    mended_once(&Database::new(&component("TIDEWATCH_TEST_POSTGRES")));
}

#[test]
fn timescale_adds_each_reading_once() {
    let _one_at_a_time = super::postgres::TIMESCALE
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut database = Database::new(&component("TIDEWATCH_TEST_TIMESCALE"));
    database.config.timescale = Timescale::Require;
    database.config.statement_rows_max = 100;
    // Its connections share a session, which keeps what an earlier process has prepared.
    let forget = || database.client().batch_execute("DEALLOCATE ALL").expect("it forgets");
    forget();
    mended_once(&database);
    forget();
}

#[test]
fn rows_past_the_retention_are_not_made_again() {
    let mut database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
    database.config.minute_retention = Span::from_secs(30 * 86_400);
    database.config.five_minute_retention = Span::from_secs(30 * 86_400);
    let late = [Straggler {
        partition: Partition(1),
        offset: Offset(100),
        device: "late-0".into(),
        at: EventTime(1_750_003_200_000),
        readings: vec![("load".into(), 1.0)],
        taken: Jobs::default(),
    }];
    let rows = sink(&database).mend(&delivery(1, 5, Vec::new()), &late).unwrap();
    let jobs: Vec<Job> = rows.iter().map(|row| row.job).collect();
    assert_eq!(jobs, [Job::Hour, Job::Day], "what is kept longer takes the reading");
    assert_eq!(database.number("SELECT count(*) FROM aggregates_minute"), 0);
}
