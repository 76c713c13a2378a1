//! Whole reads from the tests' brokers: leaders that move, connections that break, answers that can't be believed.

use super::super::settings::{NativeSettings, Patience};
use super::super::source::NativeSource;
use super::broker::{Brokers, Mood, TOPIC};
use super::*;
use crate::conformance::Collected;
use crate::event::{EventHook, SourceEvent};
use crate::kafka::source::{DAMAGED, DENIED, LOST, MISSING};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::{Assignment, Polled, Source};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A reader and what it said.
struct Reader {
    source: NativeSource,
    collected: Collected,
    heard: Arc<Mutex<Vec<String>>>,
}

fn settings(address: String) -> NativeSettings {
    NativeSettings {
        brokers: address,
        topic: TOPIC.to_owned(),
        check_crcs: true,
        queue_bytes_max: 1 << 20,
        fetch_bytes_max: 1 << 16,
        fetch_wait_ms: 20,
        from_latest: false,
        patience: Patience {
            silence_max: Duration::from_millis(500),
            doubt_max: Duration::from_secs(2),
        },
    }
}

impl Reader {
    fn open(settings: &NativeSettings, from: Option<i64>) -> Reader {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hook = Arc::clone(&heard);
        let hook: EventHook = Arc::new(move |event: SourceEvent| hook.lock().unwrap().push(event.to_string()));
        let assigned = [Assignment {
            partition: Partition(0),
            from: from.map(Offset),
        }];
        Reader {
            source: NativeSource::open(settings, &assigned, hook).unwrap(),
            collected: Collected::new(1),
            heard,
        }
    }

    fn at(brokers: &Brokers, from: Option<i64>) -> Reader {
        Reader::open(&settings(brokers.address()), from)
    }

    /// Polls until something is so, or the reading ends with an error.
    fn until(&mut self, is_so: impl Fn(&Reader) -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < TIMEOUT, "{:?}", self.heard.lock().unwrap());
            match self.source.poll(&mut self.collected, 100) {
                Err(error) => return Err(error.to_string()),
                Ok(Polled::Idle) => std::thread::yield_now(),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Reads so many records in all; their offsets.
    fn read(&mut self, wanted: usize) -> Vec<i64> {
        self.until(|reader| reader.collected.total() >= wanted).unwrap();
        self.collected.partitions[0].iter().map(|seen| seen.offset.0).collect()
    }

    /// Reads until that can't go on.
    fn failure(&mut self) -> String {
        self.until(|_| false).unwrap_err()
    }

    fn has_heard(&self, text: &str) -> bool {
        self.heard.lock().unwrap().iter().any(|event| event.contains(text))
    }
}

fn append(brokers: &Brokers, offsets: std::ops::Range<i64>) {
    let records: Vec<Record> = offsets
        .clone()
        .map(|offset| record(offset, None, Some("value")))
        .collect();
    brokers.append(offsets.end, batch(&records, Compression::Zstd));
}

#[test]
fn from_a_position_inside_a_batch_and_on() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    append(&brokers, 10..20);
    let mut reader = Reader::at(&brokers, Some(7));
    assert_eq!(reader.read(13), Vec::from_iter(7..20));
    append(&brokers, 20..25);
    assert_eq!(reader.read(18), Vec::from_iter(7..25));
    reader.until(|reader| reader.collected.lags[0] == Some(0)).unwrap();
    assert_eq!(*reader.heard.lock().unwrap(), [""; 0]);
}

#[test]
fn from_either_end() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    assert_eq!(Reader::at(&brokers, None).read(10).len(), 10);
    let mut latest = settings(brokers.address());
    latest.from_latest = true;
    let mut reader = Reader::open(&latest, None);
    reader.until(|reader| reader.collected.lags[0] == Some(0)).unwrap();
    append(&brokers, 10..12);
    assert_eq!(reader.read(2), [10, 11]);
}

#[test]
fn a_leader_that_moves_is_followed() {
    let brokers = Brokers::start(2);
    append(&brokers, 0..10);
    let mut reader = Reader::at(&brokers, Some(0));
    reader.read(10);
    brokers.with(|state| (state.leader, state.epoch) = (1, 1));
    append(&brokers, 10..20);
    assert_eq!(reader.read(20), Vec::from_iter(0..20));
    assert!(reader.has_heard("raw.events/0 at 127.0.0.1:") && reader.has_heard("does not lead the partition"));
    // The same leader once more, as after a restart.
    brokers.with(|state| state.epoch = 2);
    append(&brokers, 20..30);
    assert_eq!(reader.read(30), Vec::from_iter(0..30));
    assert!(reader.has_heard("a newer leader"));
}

#[test]
fn a_connection_that_breaks_is_made_again() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    brokers.with(|state| state.mood = Mood::Closes(3));
    let mut reader = Reader::at(&brokers, Some(0));
    assert_eq!(reader.read(10), Vec::from_iter(0..10));
    assert!(
        reader.has_heard("closed the connection"),
        "{:?}",
        reader.heard.lock().unwrap()
    );
}

#[test]
fn a_broker_that_is_silent_is_asked_anew() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    brokers.with(|state| state.mood = Mood::IsSilent(1));
    let mut reader = Reader::at(&brokers, Some(0));
    assert_eq!(reader.read(10), Vec::from_iter(0..10));
    assert!(reader.has_heard("the broker is silent"));
}

#[test]
fn a_topic_that_stays_away_ends_the_reading() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    let mut reader = Reader::at(&brokers, Some(0));
    reader.read(10);
    // Away for a moment, as while a broker starts; then for good.
    for code in [3, 0, 3] {
        brokers.with(|state| (state.topic_code, state.epoch) = (code, state.epoch + 1));
        if code == 0 {
            append(&brokers, 10..20);
            assert_eq!(reader.read(20), Vec::from_iter(0..20));
        } else {
            reader.heard.lock().unwrap().clear();
            reader.until(|reader| reader.has_heard("no such topic")).unwrap();
        }
    }
    let failure = reader.failure();
    assert!(
        failure.contains("offset 20: there is no such topic") && failure.ends_with(MISSING),
        "{failure}"
    );
}

#[test]
fn an_answer_that_is_cut_off_is_asked_for_again() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    brokers.with(|state| state.mood = Mood::Garbles(2));
    let mut reader = Reader::at(&brokers, Some(0));
    assert_eq!(reader.read(10), Vec::from_iter(0..10));
}

#[test]
fn a_broker_that_is_not_there_is_waited_for() {
    let mut reader = Reader::open(&settings("127.0.0.1:1".to_owned()), Some(0));
    reader
        .until(|reader| reader.has_heard("127.0.0.1:1: Connection refused"))
        .unwrap();
}

#[test]
fn what_is_not_kafka_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    let mut reader = Reader::open(&settings(address), Some(0));
    reader
        .until(|reader| reader.has_heard("what answers is not Kafka"))
        .unwrap();
}

#[test]
fn a_batch_larger_than_a_fetch_is_asked_for_whole() {
    let brokers = Brokers::start(1);
    let text: String = (0..20_000).map(|n| n.to_string()).collect();
    brokers.append(1, batch(&[record(0, None, Some(&text))], Compression::None));
    append(&brokers, 1..3);
    let mut reader = Reader::at(&brokers, Some(0));
    assert_eq!(reader.read(3), [0, 1, 2]);
    let asked = brokers.with(|state| state.asked_bytes.clone());
    assert!(
        asked[0] == 1 << 16 && asked.iter().any(|bytes| *bytes as usize > text.len()),
        "{asked:?}"
    );
    assert_eq!(asked.last(), Some(&(1 << 16)), "only as long as it takes");
}

#[test]
fn what_does_not_get_better_ends_the_reading() {
    let cases = [
        (Mood::Says(29), "reading the topic is not allowed", DENIED),
        (Mood::Says(1), "the offset is out of range", LOST),
        (Mood::Truncates, "the log was truncated", LOST),
        (Mood::Says(2), "damaged", DAMAGED),
    ];
    for (mood, text, way_on) in cases {
        let brokers = Brokers::start(1);
        append(&brokers, 0..10);
        let mut reader = Reader::at(&brokers, Some(0));
        reader.read(10);
        brokers.with(|state| state.mood = mood);
        let failure = reader.failure();
        assert!(
            failure.starts_with("raw.events/0 at 127.0.0.1:") && failure.contains("offset 10: "),
            "{failure}"
        );
        assert!(failure.contains(text) && failure.ends_with(way_on), "{failure}");
    }
}

#[test]
fn what_may_get_better_is_tried_again() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    brokers.with(|state| (state.mood, state.topic_code) = (Mood::Says(78), 5));
    let mut reader = Reader::at(&brokers, Some(0));
    reader
        .until(|reader| reader.has_heard("the partition has no leader"))
        .unwrap();
    brokers.with(|state| state.topic_code = 0);
    reader.until(|reader| reader.has_heard("how far the log goes")).unwrap();
    brokers.with(|state| state.mood = Mood::Well);
    assert_eq!(reader.read(10), Vec::from_iter(0..10));
}

#[test]
fn a_damaged_batch_ends_the_reading_behind_the_good_ones() {
    let brokers = Brokers::start(1);
    append(&brokers, 0..10);
    append(&brokers, 10..20);
    brokers.with(|state| *state.log[1].1.last_mut().unwrap() ^= 1);
    let mut reader = Reader::at(&brokers, Some(0));
    let failure = reader.failure();
    assert!(
        failure.contains("offset 10: its checksum is wrong; ") && failure.ends_with(DAMAGED),
        "{failure}"
    );
    assert_eq!(reader.collected.total(), 10);
}

#[test]
fn an_old_broker_is_refused_by_name() {
    let brokers = Brokers::start(1);
    brokers.with(|state| state.fetch_version = 11);
    let failure = Reader::at(&brokers, Some(0)).failure();
    assert!(
        failure.contains("request Fetch") && failure.contains("kafka.client = \"rdkafka\""),
        "{failure}"
    );
}
