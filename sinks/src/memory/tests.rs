//! Memory passes the suite and keeps to its bounds.

use super::{MemoryAnomalies, MemoryConfig, MemoryDeadLetters, MemorySink};
use crate::Sink;
use crate::conformance::{
    AnomalySubject, LARGE_BYTES, LetterSubject, Subject, anomaly, anomaly_sink, dead_letter_sink, letter_store, row,
    sink,
};
use crate::hot::{AnomalyStore, HotStore};
use tidewatch_proto::anomaly::AnomalyStatus;
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_proto::query::{AnomalyQuery, DeviceQuery};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::row::{Delivery, Job, Row};
use tidewatch_settings::Span;

/// Longer than all event time.
const FOR_EVER: Span = Span::from_secs(10_000 * 366 * 86_400);

fn delivery<T>(items: Vec<T>) -> Delivery<T> {
    Delivery {
        generation: Generation(1),
        through: Epoch(1),
        items,
    }
}

#[test]
fn memory_passes_the_suite() {
    let memory = MemorySink::new(&MemoryConfig {
        age_max: FOR_EVER,
        ..MemoryConfig::default()
    });
    sink(&Subject {
        sink: &|| Box::new(memory.clone()),
        store: &|| Box::new(memory.clone()),
        fences: true,
        non_finite: true,
    });
    let letters = MemoryDeadLetters::new(&MemoryConfig::default());
    dead_letter_sink(&LetterSubject {
        sink: &|| Box::new(letters.clone()),
        letters: &|| letters.latest(usize::MAX),
        fences: true,
        payload_bytes: LARGE_BYTES,
    });
}

#[test]
fn memory_gives_dead_letters_back() {
    let letters = MemoryDeadLetters::new(&MemoryConfig::default());
    let named = letters.clone().naming(&["raw.events/0".to_owned()]);
    letter_store(&mut letters.clone(), &named, "raw.events/0");
}

#[test]
fn memory_keeps_anomalies() {
    let anomalies = MemoryAnomalies::new(&MemoryConfig::default());
    anomaly_sink(&AnomalySubject {
        sink: &|| Box::new(anomalies.clone()),
        store: &|| Box::new(anomalies.clone()),
    });
}

#[test]
fn anomalies_that_ended_first_leave_first() {
    let mut anomalies = MemoryAnomalies::new(&MemoryConfig {
        anomalies_max: 3,
        ..MemoryConfig::default()
    });
    let mut given: Vec<_> = (0..6)
        .map(|minute| anomaly("rule", "dev", "load", minute, minute as u64))
        .collect();
    for ended in [1, 4, 5] {
        given[ended].status = AnomalyStatus::Cleared;
        given[ended].ended_at = Some(given[ended].started_at);
    }
    for one in &given {
        anomalies.deliver(&delivery(vec![one.clone()])).unwrap();
    }
    let query = AnomalyQuery {
        limit: 10,
        ..AnomalyQuery::default()
    };
    let left = anomalies.anomalies(&query).unwrap();
    assert_eq!(left, [given[3].clone(), given[2].clone(), given[0].clone()]);
    assert_eq!(
        (anomalies.len(), anomalies.evicted(), anomalies.raised().unwrap()),
        (3, 3, 3)
    );
}

#[test]
fn a_device_leaves_with_its_last_window() {
    let mut memory = MemorySink::new(&MemoryConfig {
        rows_max: 2,
        ..MemoryConfig::default()
    });
    let devices = |memory: &MemorySink| {
        let query = DeviceQuery {
            search: String::new(),
            after: None,
            among: None,
            limit: 10,
        };
        let devices = memory.devices(&query).unwrap();
        devices.iter().map(|one| one.device.to_string()).collect::<Vec<_>>()
    };
    memory.deliver(&delivery(vec![row(Job::Minute, "old", 0, 1)])).unwrap();
    assert_eq!(devices(&memory), ["old"]);
    let new = (1..3).map(|minute| row(Job::Minute, "new", minute, 1));
    memory.deliver(&delivery(new.collect())).unwrap();
    assert_eq!(devices(&memory), ["new"]);
}

/// The minutes of the rows that are left of `rows` rows, one a minute.
fn minutes_left(config: &MemoryConfig, rows: i64) -> Vec<i64> {
    let mut memory = MemorySink::new(config);
    let given: Vec<Row> = (0..rows).map(|minute| row(Job::Minute, "dev", minute, 1)).collect();
    for row in &given {
        memory.deliver(&delivery(vec![row.clone()])).unwrap();
    }
    let mut left: Vec<i64> = memory
        .rows()
        .iter()
        .map(|row| (row.window_start.0 - given[0].window_start.0) / 60_000)
        .collect();
    left.sort_unstable();
    assert_eq!(memory.len(), left.len());
    assert_eq!(memory.evicted(), rows as u64 - left.len() as u64);
    left
}

#[test]
fn the_oldest_windows_leave_at_each_bound() {
    let three = MemoryConfig {
        rows_max: 3,
        ..MemoryConfig::default()
    };
    assert_eq!(minutes_left(&three, 10), [7, 8, 9]);
    let young = MemoryConfig {
        age_max: Span::from_secs(120),
        ..MemoryConfig::default()
    };
    assert_eq!(minutes_left(&young, 10), [8, 9]);
    let small = MemoryConfig {
        bytes_max: 1000,
        ..MemoryConfig::default()
    };
    let left = minutes_left(&small, 100);
    assert!(!left.is_empty() && left.len() < 10, "{left:?}");
    assert_eq!(
        minutes_left(
            &MemoryConfig {
                rows_max: 0,
                ..MemoryConfig::default()
            },
            5
        ),
        [] as [i64; 0]
    );
}

#[test]
fn bytes_are_given_back() {
    let mut memory = MemorySink::new(&MemoryConfig {
        age_max: Span::from_secs(60),
        ..MemoryConfig::default()
    });
    memory
        .deliver(&delivery(
            (0..100).map(|n| row(Job::Minute, &format!("dev-{n}"), 0, 1)).collect(),
        ))
        .unwrap();
    let full = memory.bytes();
    assert!(full > 100 * size_of::<Row>());
    memory
        .deliver(&delivery(vec![row(Job::Minute, "dev-0", 60, 2)]))
        .unwrap();
    assert_eq!(memory.len(), 1);
    assert_eq!(memory.bytes(), full / 100);
}

#[test]
fn the_oldest_dead_letters_leave() {
    let mut letters = MemoryDeadLetters::new(&MemoryConfig {
        dead_letters_max: 2,
        ..MemoryConfig::default()
    });
    let letter = |offset| Reject {
        partition: Partition(0),
        offset: Offset(offset),
        log_time: None,
        reason: Reason::Future,
        detail: String::new(),
        key: None,
        payload: vec![1],
    };
    letters.deliver(&delivery((0..5).map(letter).collect())).unwrap();
    let offsets: Vec<i64> = letters.latest(10).iter().map(|reject| reject.offset.0).collect();
    assert_eq!(offsets, [4, 3]);
    assert_eq!(letters.evicted(), 3);
}
