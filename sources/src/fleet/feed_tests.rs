//! The fleet as what writes to the log, over stops at any moment.

use super::*;
use crate::conformance::{Collected, Seen};
use crate::event::unheard;
use crate::fleet::{FaultConfig, FleetConfig};
use crate::log::{self, LogConfig, LogFactory};
use std::sync::atomic::{AtomicI64, Ordering};
use tidewatch_proto::time::LogTime;
use tidewatch_settings::Span;

/// A day in 2026.
const START_MS: i64 = 1_767_225_600_000;
const HOUR_MS: i64 = 3_600_000;
const LIMIT: Duration = Duration::from_secs(10);

/// A log, and a clock that is put forward.
struct Fleet {
    folder: tempfile::TempDir,
    config: FleetConfig,
    now_ms: Arc<AtomicI64>,
}

impl Fleet {
    fn new() -> Fleet {
        Fleet {
            folder: tempfile::tempdir().unwrap(),
            config: FleetConfig {
                devices: 20,
                history: Some(Span::from_secs(3 * 3_600)),
                history_interval: Span::from_secs(60),
                retention: Span::from_secs(600),
                faults: FaultConfig {
                    silence: 0.0,
                    fast_clock: 0.0,
                    ..FaultConfig::default()
                },
                ..FleetConfig::default()
            },
            now_ms: Arc::new(AtomicI64::new(START_MS)),
        }
    }

    fn later(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn open(&self) -> (FleetFeed, LogWriter, LogFactory) {
        let config = LogConfig {
            partitions: 3,
            sync_interval: Span::from_millis(1),
            retention: Span::from_secs(36_500 * 86_400),
            ..LogConfig::default()
        };
        let settings = config.resolve(&self.folder.path().join("log")).unwrap();
        let (writer, log) = log::open(&settings, unheard()).unwrap();
        let now_ms = self.now_ms.clone();
        let clock: Clock = Arc::new(move || now_ms.load(Ordering::Relaxed));
        (
            FleetFeed::new(&self.config.resolve().unwrap(), writer.clone(), clock),
            writer,
            log,
        )
    }

    /// Runs until nothing is due or so many steps are made, and ends as if killed: with what happens to be durable.
    fn run(&self, steps_max: usize) -> Vec<String> {
        let (mut feed, writer, _log) = self.open();
        let mut news = Vec::new();
        for _ in 0..steps_max {
            match feed.step().unwrap() {
                Step::Idle => break,
                Step::News(line) => news.push(line),
                Step::Wrote => {}
                Step::Full => writer.wait_for_room(LIMIT),
            }
        }
        news
    }

    /// All records, in the order of their partitions.
    fn records(&self) -> Vec<Vec<Seen>> {
        let (_, _, log) = self.open();
        let partitions = (0..3).map(|index| Assignment {
            partition: Partition(index),
            from: None,
        });
        let mut source = log.open(&partitions.collect::<Vec<_>>()).unwrap();
        let mut collected = Collected::new(3);
        while source.poll(&mut collected, 1_000).unwrap() == Polled::Some {}
        collected.partitions
    }

    /// What a fleet of this interval sends in some time: log time, key and payload, in the order of the partitions.
    fn sends(&self, interval: Span, from_ms: i64, to_ms: i64) -> Vec<Vec<(LogTime, Vec<u8>)>> {
        let config = FleetConfig {
            interval,
            partitions: 3,
            ..self.config.clone()
        };
        let settings = FleetSettings {
            retention_ms: i64::MAX,
            ..config.resolve().unwrap()
        };
        let fleet = FleetFactory::with_clock(settings, Arc::new(move || to_ms));
        let from = fleet.places(&[from_ms; 3]).into_iter().enumerate();
        let from: Vec<_> = from.map(|(index, from)| at(Partition(index as u32), from)).collect();
        let mut source = fleet.open(&from).unwrap();
        let mut collected = Collected::new(3);
        while source.poll(&mut collected, 1_000).unwrap() == Polled::Some {}
        collected.partitions.iter().map(|records| sent(records)).collect()
    }
}

fn sent(records: &[Seen]) -> Vec<(LogTime, Vec<u8>)> {
    let of = |seen: &Seen| (seen.log_time.unwrap(), seen.payload.clone());
    records.iter().map(of).collect()
}

#[test]
fn the_first_start_plays_the_past_and_goes_live_without_a_gap() {
    let fleet = Fleet::new();
    let (mut feed, writer, log) = fleet.open();
    let first = feed.step().unwrap();
    assert_eq!(
        first,
        Step::News("the fleet plays the last 3h into the log, then it goes live".to_owned())
    );
    while feed.step().unwrap() != Step::Idle {}
    fleet.later(5_000);
    while feed.step().unwrap() != Step::Idle {}
    assert!(writer.flush(LIMIT));
    drop((feed, writer, log));
    let past = fleet.sends(fleet.config.history_interval, START_MS - 3 * HOUR_MS + 1, START_MS);
    let live = fleet.sends(fleet.config.interval, START_MS + 1, START_MS + 5_000);
    let records = fleet.records();
    for partition in 0..3 {
        let expected = [&past[partition][..], &live[partition][..]].concat();
        assert!(sent(&records[partition]) == expected, "partition {partition}");
    }
    let count: usize = past.iter().map(Vec::len).sum();
    assert!(
        (3_500..3_800).contains(&count),
        "{count}: a message a minute of twenty devices"
    );
}

#[test]
fn a_stop_at_any_moment_loses_nothing_and_nothing_comes_twice() {
    let fleet = Fleet::new();
    // Within the past.
    for steps in [1, 2, 2, 1, 3] {
        fleet.run(steps);
    }
    // A run that sends something of its own time.
    let (mut feed, writer, log) = fleet.open();
    while feed.step().unwrap() != Step::Idle {}
    fleet.later(1_000);
    while feed.step().unwrap() != Step::Idle {}
    drop((feed, writer, log));
    for n in 0..20 {
        fleet.later(1_500 + 100 * n);
        fleet.run(if n % 4 == 3 { 3 } else { usize::MAX });
    }
    fleet.run(usize::MAX);
    let end_ms = fleet.now_ms.load(Ordering::Relaxed);
    let past = fleet.sends(fleet.config.history_interval, START_MS - 3 * HOUR_MS + 1, START_MS);
    let live = fleet.sends(fleet.config.interval, START_MS + 1, end_ms);
    for (partition, records) in fleet.records().iter().enumerate() {
        let expected = [&past[partition][..], &live[partition][..]].concat();
        assert!(sent(records) == expected, "partition {partition}");
    }
}

#[test]
fn what_fell_due_in_a_long_stop_is_played() {
    let fleet = Fleet::new();
    fleet.run(usize::MAX);
    // Longer than the retention, shorter than the past.
    fleet.later(2 * HOUR_MS);
    let news = fleet.run(usize::MAX);
    assert!(
        news[0].starts_with("the fleet plays the last 2h into the log"),
        "{news:?}"
    );
    // Longer than both: what is further back was never there.
    fleet.later(30 * HOUR_MS);
    let news = fleet.run(usize::MAX);
    assert!(
        news[0].starts_with("the fleet plays the last 3h into the log"),
        "{news:?}"
    );
    let now_ms = fleet.now_ms.load(Ordering::Relaxed);
    let interval = fleet.config.history_interval;
    let past = fleet.sends(interval, START_MS - 3 * HOUR_MS + 1, START_MS + 2 * HOUR_MS);
    let later = fleet.sends(interval, now_ms - 3 * HOUR_MS + 1, now_ms);
    for (partition, records) in fleet.records().iter().enumerate() {
        let expected = [&past[partition][..], &later[partition][..]].concat();
        assert!(sent(records) == expected, "partition {partition}");
    }
}

#[test]
fn another_fleet_begins_behind_the_end() {
    let mut fleet = Fleet::new();
    fleet.run(usize::MAX);
    fleet.later(60_000);
    fleet.config.devices = 30;
    fleet.run(usize::MAX);
    let records = fleet.records();
    let times = records.iter().flat_map(|records| records.windows(2));
    assert!(times.clone().count() > 3_000);
    assert!(times.clone().all(|pair| pair[0].log_time <= pair[1].log_time));
    let new: usize = records
        .iter()
        .flatten()
        .filter(|seen| seen.key.as_deref() == Some(b"dev-000025"))
        .count();
    assert!((1..=2).contains(&new), "{new}");
}

#[test]
fn a_clock_that_was_put_back_is_waited_for() {
    let fleet = Fleet::new();
    fleet.run(usize::MAX);
    fleet.later(-HOUR_MS);
    let (mut feed, _writer, _log) = fleet.open();
    let error = feed.step().unwrap_err().to_string();
    assert!(error.contains("ahead of this machine's clock"), "{error}");
    fleet.later(HOUR_MS);
    assert!(feed.step().is_ok());
}
