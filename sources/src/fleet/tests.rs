//! The fleet as a source: the conformance suite, and what is special about it.

use super::FleetFactory;
use crate::conformance::{Collected, Seen, Subject, check};
use crate::fleet::{FaultConfig, FleetConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Polled, Source, SourceFactory};
use tidewatch_settings::Span;

/// A day in 2026.
const START_MS: i64 = 1_767_225_600_000;

struct Fleet {
    factory: FleetFactory,
    now_ms: Arc<AtomicI64>,
}

fn fleet(config: &FleetConfig) -> Fleet {
    let now_ms = Arc::new(AtomicI64::new(START_MS));
    let clock = Arc::clone(&now_ms);
    let clock = Arc::new(move || clock.load(Ordering::Relaxed));
    Fleet {
        factory: FleetFactory::with_clock(config.resolve().unwrap(), clock),
        now_ms,
    }
}

impl Fleet {
    fn at(&self, ms: i64) {
        self.now_ms.store(START_MS + ms, Ordering::Relaxed);
    }

    fn open(&self, from: Option<Offset>) -> Box<dyn Source> {
        let partitions = 0..self.factory.partitions().len() as u32;
        let assigned: Vec<_> = partitions
            .map(|index| Assignment {
                partition: Partition(index),
                from,
            })
            .collect();
        self.factory.open(&assigned).unwrap()
    }
}

fn drain(source: &mut dyn Source, partitions: usize) -> Vec<Vec<Seen>> {
    let mut intake = Collected::new(partitions);
    while source.poll(&mut intake, 1_000).unwrap() == Polled::Some {}
    intake.partitions
}

fn faulty() -> FleetConfig {
    let faults = FaultConfig {
        spike: 0.1,
        drift: 0.1,
        silence: 0.1,
        fast_clock: 0.1,
        slow_clock: 0.1,
        late: 0.1,
        flood: 0.05,
        garbage: 0.05,
        duplicate: 0.1,
        nan: 0.1,
    };
    FleetConfig {
        devices: 40,
        partitions: 3,
        faults,
        ..FleetConfig::default()
    }
}

#[test]
fn conforms() {
    let fleet = fleet(&faulty());
    let mut source = fleet.open(None);
    fleet.at(20_000);
    let expected = drain(source.as_mut(), 3);
    assert!(expected.iter().all(|records| records.len() > 100));
    check(&Subject {
        factory: &fleet.factory,
        expected: &expected,
        ends: false,
    });
}

#[test]
fn records_fall_due_by_the_clock() {
    let fleet = fleet(&FleetConfig {
        devices: 100,
        partitions: 1,
        faults: FaultConfig::NONE,
        ..FleetConfig::default()
    });
    let mut source = fleet.open(None);
    let mut at = |ms| {
        fleet.at(ms);
        drain(source.as_mut(), 1).remove(0)
    };
    assert_eq!(at(0).len(), 1);
    assert_eq!(at(9).len(), 0);
    assert_eq!(at(499).len(), 49);
    let rest = at(2_000);
    assert_eq!(rest.len(), 151);
    let times: Vec<i64> = rest.iter().map(|seen| seen.log_time.unwrap().0 - START_MS).collect();
    assert_eq!((times[0], times[1], times[150]), (500, 510, 2_000));
    assert!(
        rest.iter()
            .all(|seen| seen.key.as_deref().is_some_and(|key| key.starts_with(b"dev-")))
    );
}

#[test]
fn history_and_retention() {
    let config = FleetConfig {
        devices: 10,
        partitions: 1,
        history: Some(Span::from_millis(60_000)),
        retention: Span::from_millis(120_000),
        faults: FaultConfig::NONE,
        ..FleetConfig::default()
    };
    let fleet = fleet(&config);
    let records = drain(fleet.open(None).as_mut(), 1).remove(0);
    assert_eq!(records.len(), 601, "a minute of ten devices, and what is due just now");
    fleet.at(30_000);
    let again = drain(fleet.open(Some(records[0].offset)).as_mut(), 1).remove(0);
    assert_eq!(
        (again.len(), &again[..601]),
        (901, records.as_slice()),
        "the same, and what came since"
    );
    fleet.at(600_000);
    let after = drain(fleet.open(Some(records[0].offset)).as_mut(), 1).remove(0);
    assert_eq!(after.len(), 1_201, "two minutes are kept");
    fleet.at(-60_000);
    let assigned = [Assignment {
        partition: Partition(0),
        from: Some(after[0].offset),
    }];
    let error = fleet.factory.open(&assigned).err().expect("an error").to_string();
    assert!(error.contains("lies in the future; were fleet.devices"), "{error}");
}

#[test]
fn a_fleet_may_be_smaller_than_its_partitions() {
    let fleet = fleet(&FleetConfig {
        devices: 1,
        partitions: 8,
        faults: FaultConfig::NONE,
        ..FleetConfig::default()
    });
    let mut source = fleet.open(None);
    fleet.at(10_000);
    assert_eq!(drain(source.as_mut(), 8).concat().len(), 11);
}
