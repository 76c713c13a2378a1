//! The suite that every source passes: given a factory and the records it must hand over.
//!
//! Each record exactly once and in order, from any position, over any split of the partitions; never more than about
//! what was asked for; and an end that is said only when there is one, and stays said.

use std::time::{Duration, Instant};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceFactory};
use tidewatch_proto::time::LogTime;

/// How long a source may take to hand over all of its records.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long an endless source is watched after its last record.
const QUIET: Duration = Duration::from_millis(60);
/// By how many records a poll may exceed what was asked for.
const OVERSHOOT: usize = 64;

/// A source and what it must hand over.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Opens the readers.
    pub factory: &'a dyn SourceFactory,
    /// The records of each partition.
    pub expected: &'a [Vec<Seen>],
    /// Whether the source has an end; if not, it must never report `Finished`.
    pub ends: bool,
}

/// A record as an intake saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log appended it.
    pub log_time: Option<LogTime>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's bytes.
    pub payload: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Why it is unusable, if it came as that.
    pub unusable: Option<Reason>,
}

impl From<Record<'_>> for Seen {
    fn from(record: Record<'_>) -> Seen {
        Seen {
            offset: record.offset,
            log_time: record.log_time,
            key: record.key.map(<[u8]>::to_vec),
            payload: record.payload.to_vec(),
            headers: owned(record.headers),
            unusable: None,
        }
    }
}

fn owned(headers: Headers<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let owned = headers
        .iter()
        .map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
    owned.collect()
}

/// An intake that keeps what it gets.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// The records of each partition, in the order in which they came.
    pub partitions: Vec<Vec<Seen>>,
    /// What was said about the unusable ones.
    pub details: Vec<String>,
    /// What was last said about each partition's lag.
    pub lags: Vec<Option<u64>>,
}

impl Collected {
    /// An empty intake for this many partitions.
    pub fn new(partitions: usize) -> Collected {
        Collected {
            partitions: vec![Vec::new(); partitions],
            details: Vec::new(),
            lags: vec![None; partitions],
        }
    }

    /// How many records came.
    pub fn total(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }
}

impl Intake for Collected {
    fn records(&mut self, partition: Partition, records: &[Record<'_>]) {
        self.partitions[partition.index()].extend(records.iter().map(|record| Seen::from(*record)));
    }

    fn unusable(&mut self, partition: Partition, record: Record<'_>, reason: Reason, detail: String) {
        assert!(!detail.is_empty(), "an unusable record says what is wrong with it");
        self.partitions[partition.index()].push(Seen {
            unusable: Some(reason),
            ..record.into()
        });
        self.details.push(detail);
    }

    fn lag(&mut self, partition: Partition, records: u64) {
        self.lags[partition.index()] = Some(records);
    }
}

/// Runs the suite.
///
/// # Panics
/// When the source doesn't keep the contract.
pub fn check(subject: &Subject<'_>) {
    assert_eq!(
        subject.factory.partitions().len(),
        subject.expected.len(),
        "the number of partitions"
    );
    let names = subject.factory.partitions();
    assert!(
        (1..names.len()).all(|n| !names[..n].contains(&names[n])),
        "partitions have different names: {names:?}"
    );
    everything_once_and_in_order(subject);
    from_any_position(subject);
    headers_only_for_whoever_wants_them(subject);
    nothing_for_nobody(subject);
    split_over_two_readers(subject);
}

fn everything_once_and_in_order(subject: &Subject<'_>) {
    let assigned: Vec<Assignment> = (0..subject.expected.len())
        .map(|index| from_start(subject, index))
        .collect();
    for records_max in [1, 7, 10_000] {
        let mut reader = Reader::open(subject, &assigned, records_max);
        reader.read_all(subject, count(subject.expected));
        compare(
            subject.expected,
            &reader.collected.partitions,
            &format!("read {records_max} at a time"),
        );
    }
}

fn from_any_position(subject: &Subject<'_>) {
    for (index, expected) in subject.expected.iter().enumerate() {
        for place in [
            0,
            1,
            expected.len() / 3,
            expected.len() / 2,
            expected.len().saturating_sub(1),
            expected.len(),
        ] {
            let from = match (expected.get(place), expected.last()) {
                (Some(record), _) => record.offset,
                (None, Some(last)) => last.offset.next(),
                (None, None) => continue,
            };
            let mut wanted = vec![Vec::new(); subject.expected.len()];
            wanted[index] = expected[place.min(expected.len())..].to_vec();
            let assigned = [Assignment {
                partition: Partition(index as u32),
                from: Some(from),
            }];
            let mut reader = Reader::open(subject, &assigned, 100);
            reader.read_all(subject, count(&wanted));
            compare(
                &wanted,
                &reader.collected.partitions,
                &format!("partition {index} read from offset {from}"),
            );
        }
    }
}

fn headers_only_for_whoever_wants_them(subject: &Subject<'_>) {
    let assigned: Vec<Assignment> = (0..subject.expected.len())
        .map(|index| from_start(subject, index))
        .collect();
    let source = subject.factory.open(&assigned);
    let source = source.unwrap_or_else(|error| panic!("can't open {assigned:?}: {error}"));
    let mut reader = Reader::of(source, subject, 100);
    reader.read_all(subject, count(subject.expected));
    let mut wanted = subject.expected.to_vec();
    // Where they cost nothing they may be there.
    for records in [&mut wanted, &mut reader.collected.partitions] {
        records.iter_mut().flatten().for_each(|record| record.headers.clear());
    }
    compare(&wanted, &reader.collected.partitions, "read without headers");
}

fn nothing_for_nobody(subject: &Subject<'_>) {
    let mut reader = Reader::open(subject, &[], 100);
    let start = Instant::now();
    while start.elapsed() < QUIET {
        let polled = reader.poll();
        assert_ne!(
            polled,
            Polled::Some,
            "a reader of no partition has nothing to hand over"
        );
        assert!(
            subject.ends || polled == Polled::Idle,
            "an endless source is never finished"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(
        reader.collected.total(),
        0,
        "a reader of no partition hands over nothing"
    );
}

fn split_over_two_readers(subject: &Subject<'_>) {
    let halves = [0, 1].map(|half| {
        let mine = (0..subject.expected.len()).filter(|index| index % 2 == half);
        let assigned: Vec<Assignment> = mine.map(|index| from_start(subject, index)).collect();
        Reader::open(subject, &assigned, 50)
    });
    let [mut even, mut odd] = halves;
    // A few turns each, so that they read at the same time.
    for _ in 0..3 {
        even.poll();
        odd.poll();
    }
    for (half, reader) in [&mut even, &mut odd].into_iter().enumerate() {
        let mut wanted = subject.expected.to_vec();
        wanted
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| index % 2 != half)
            .for_each(|(_, records)| records.clear());
        reader.read_all(subject, count(&wanted));
        compare(&wanted, &reader.collected.partitions, &format!("reader {half} of two"));
    }
}

/// The first position: what the configured start means is the source's own affair.
fn from_start(subject: &Subject<'_>, index: usize) -> Assignment {
    let from = subject.expected[index].first().map(|record| record.offset);
    Assignment {
        partition: Partition(index as u32),
        from,
    }
}

fn count(expected: &[Vec<Seen>]) -> usize {
    expected.iter().map(Vec::len).sum()
}

struct Reader {
    source: Box<dyn Source>,
    collected: Collected,
    records_max: usize,
}

impl Reader {
    fn open(subject: &Subject<'_>, assigned: &[Assignment], records_max: usize) -> Reader {
        let source = subject
            .factory
            .open_with_headers(assigned)
            .unwrap_or_else(|error| panic!("can't open {assigned:?}: {error}"));
        Reader::of(source, subject, records_max)
    }

    fn of(source: Box<dyn Source>, subject: &Subject<'_>, records_max: usize) -> Reader {
        Reader {
            source,
            collected: Collected::new(subject.expected.len()),
            records_max,
        }
    }

    fn poll(&mut self) -> Polled {
        let before = self.collected.total();
        let polled = self
            .source
            .poll(&mut self.collected, self.records_max)
            .unwrap_or_else(|error| panic!("reading can't go on: {error}"));
        let taken = self.collected.total() - before;
        assert!(
            taken <= self.records_max + OVERSHOOT,
            "{taken} records for {} asked",
            self.records_max
        );
        assert_eq!(
            polled == Polled::Some,
            taken > 0,
            "`Some` is said when, and only when, records were handed over"
        );
        polled
    }

    /// Reads until `wanted` records are there, then sees to it that no more come.
    fn read_all(&mut self, subject: &Subject<'_>, wanted: usize) {
        let start = Instant::now();
        while self.collected.total() < wanted {
            assert!(
                start.elapsed() < DEADLINE,
                "{} of {wanted} records in {DEADLINE:?}",
                self.collected.total()
            );
            match self.poll() {
                Polled::Some => {}
                Polled::Idle => std::thread::sleep(Duration::from_millis(1)),
                Polled::Finished => panic!("finished after {} of {wanted} records", self.collected.total()),
            }
        }
        match subject.ends {
            true => self.reach_the_end(),
            false => self.stay_quiet(),
        }
    }

    fn reach_the_end(&mut self) {
        let start = Instant::now();
        while self.poll() != Polled::Finished {
            assert!(
                start.elapsed() < DEADLINE,
                "not finished within {DEADLINE:?} after the last record"
            );
        }
        for _ in 0..3 {
            assert_eq!(self.poll(), Polled::Finished, "finished stays finished");
        }
    }

    fn stay_quiet(&mut self) {
        let start = Instant::now();
        while start.elapsed() < QUIET {
            assert_ne!(self.poll(), Polled::Finished, "an endless source is never finished");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn compare(expected: &[Vec<Seen>], got: &[Vec<Seen>], case: &str) {
    for (partition, (expected, got)) in expected.iter().zip(got).enumerate() {
        for (place, (expected, got)) in expected.iter().zip(got).enumerate() {
            assert_eq!(got, expected, "{case}: record {place} of partition {partition}");
        }
        assert_eq!(
            got.len(),
            expected.len(),
            "{case}: how many records of partition {partition}"
        );
    }
}
