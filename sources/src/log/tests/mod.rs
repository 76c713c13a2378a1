//! The log: the conformance suite, and what is special about it.

mod damage;
mod full;
mod retention;

use super::frame::{Batch, Origin};
use super::{AppendError, LogConfig, LogFactory, LogWriter, open_by_clock};
use crate::begin::{Before, OnGap};
use crate::conformance::{Collected, Seen, Subject, check};
use crate::event::SourceEvent;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Polled, SourceError, SourceFactory};
use tidewatch_proto::time::LogTime;
use tidewatch_settings::{Size, Span};

const LIMIT: Duration = Duration::from_secs(10);
const HOUR_MS: i64 = 3_600_000;

/// A folder for a log, and what is heard of it.
struct Place {
    folder: tempfile::TempDir,
    config: LogConfig,
    now_ms: Arc<AtomicI64>,
    events: Arc<Mutex<Vec<SourceEvent>>>,
}

impl Place {
    fn new(config: LogConfig) -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
            config,
            now_ms: Arc::default(),
            events: Arc::default(),
        }
    }

    /// One partition of small files.
    fn small() -> Place {
        Place::new(LogConfig {
            partitions: 1,
            segment_bytes: Size(1_500),
            ..quick()
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn try_open(&self) -> Result<(LogWriter, LogFactory), SourceError> {
        self.open_at(&self.path())
    }

    fn open_at(&self, path: &Path) -> Result<(LogWriter, LogFactory), SourceError> {
        let (events, now_ms) = (self.events.clone(), self.now_ms.clone());
        let hook = Arc::new(move |event| events.lock().unwrap().push(event));
        let clock = Arc::new(move || now_ms.load(Ordering::Relaxed));
        open_by_clock(&self.config.resolve(path).unwrap(), hook, clock)
    }

    fn open(&self) -> (LogWriter, LogFactory) {
        self.try_open().unwrap()
    }

    /// What was heard since the last time.
    fn heard(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.iter().map(ToString::to_string).collect()
    }

    /// The files of a partition, in their order.
    fn files(&self, partition: u32) -> Vec<PathBuf> {
        files(&self.path(), partition)
    }
}

/// Nothing waits long to be durable.
fn quick() -> LogConfig {
    LogConfig {
        sync_interval: Span::from_millis(1),
        ..LogConfig::default()
    }
}

fn files(log: &Path, partition: u32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(log.join(partition.to_string())).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A record of its own, as it will be read.
fn record(n: i64) -> Seen {
    Seen {
        offset: Offset(n),
        log_time: Some(LogTime(1_000 * n - 7 * (n % 3))),
        key: (n % 4 != 0).then(|| vec![n as u8; (n % 4) as usize]),
        payload: vec![n as u8; 20 + n as usize % 50],
        headers: Vec::new(),
        unusable: None,
    }
}

fn records(from: i64, to: i64) -> Vec<Seen> {
    (from..to).map(record).collect()
}

fn batch(records: &[Seen]) -> Batch {
    let mut batch = Batch::default();
    for record in records {
        batch.push(record.key.as_deref(), &record.payload, record.log_time.unwrap());
    }
    batch
}

/// Appends these records, some together, and waits until they are durable.
fn append(writer: &LogWriter, partition: u32, records: &[Seen], together: usize) {
    for some in records.chunks(together) {
        let next = some[some.len() - 1].offset.next();
        let origin = Origin { feed: 7, next };
        assert_eq!(writer.append(Partition(partition), &batch(some), origin), Ok(next));
        assert!(writer.wait(Partition(partition), next, LIMIT), "{next} is durable");
    }
}

/// What a partition holds from an offset on.
fn read(log: &LogFactory, partition: u32, from: i64) -> Result<Vec<Seen>, SourceError> {
    let assigned = [Assignment {
        partition: Partition(partition),
        from: Some(Offset(from)),
    }];
    let mut source = log.open(&assigned)?;
    let mut collected = Collected::new(partition as usize + 1);
    while source.poll(&mut collected, 100)? == Polled::Some {}
    Ok(collected.partitions.remove(partition as usize))
}

fn begin(log: &LogFactory, id: &str, position: i64) -> Result<Vec<Offset>, String> {
    let positions = [(Partition(0), Offset(position))];
    let before = Before {
        log: id,
        positions: &positions,
    };
    log.begin(Some(before)).map_err(|error| error.to_string())
}

#[test]
fn conforms() {
    let place = Place::new(LogConfig {
        segment_bytes: Size(1_500),
        ..quick()
    });
    let expected = [records(0, 300), Vec::new(), records(0, 1), records(0, 77)];
    let (writer, log) = place.open();
    for (partition, records) in expected.iter().enumerate() {
        append(&writer, partition as u32, records, 9);
    }
    assert!(place.files(0).len() > 5, "records are in several files");
    let conforms = |log: &LogFactory| {
        check(&Subject {
            factory: log,
            expected: &expected,
            ends: false,
        });
    };
    conforms(&log);
    drop((writer, log));
    conforms(&place.open().1);
    assert_eq!(place.heard(), [] as [&str; 0]);
}

#[test]
fn what_is_durable_is_read_while_more_is_written() {
    let place = Place::small();
    let (writer, log) = place.open();
    let writing = std::thread::spawn(move || {
        for some in records(0, 5_000).chunks(50) {
            writer.append(Partition(0), &batch(some), Origin::default()).unwrap();
            std::thread::yield_now();
        }
        assert!(writer.flush(LIMIT));
    });
    let assigned = [Assignment {
        partition: Partition(0),
        from: None,
    }];
    let mut source = log.open(&assigned).unwrap();
    let (mut collected, begun) = (Collected::new(1), Instant::now());
    while collected.total() < 5_000 {
        assert!(begun.elapsed() < LIMIT, "{} records", collected.total());
        source.poll(&mut collected, 64).unwrap();
        assert!(
            collected.total() as i64 <= log.log.parts[0].end().0,
            "only what is durable"
        );
    }
    writing.join().unwrap();
    assert!(collected.partitions[0] == records(0, 5_000));
    source.poll(&mut collected, 64).unwrap();
    assert_eq!(collected.lags, [Some(0)]);
}

#[test]
fn a_writer_goes_on_where_the_log_ends() {
    let place = Place::small();
    let (writer, _) = place.open();
    append(&writer, 0, &records(0, 100), 10);
    let tail = writer.tail(Partition(0)).unwrap();
    let expected = (Offset(100), Offset(100), Some(LogTime(99_000)));
    assert_eq!((tail.end, tail.origin.next, tail.time), expected);
    drop(writer);
    let (writer, log) = place.open();
    assert_eq!(writer.tail(Partition(0)), Some(tail));
    append(&writer, 0, &records(100, 120), 7);
    assert_eq!(read(&log, 0, 0).unwrap(), records(0, 120));
    assert_eq!(writer.tail(Partition(1)), None);
}

#[test]
fn a_log_is_one_process() {
    let place = Place::small();
    let (writer, log) = place.open();
    let problem = place.try_open().err().expect("it is taken").to_string();
    assert!(problem.contains("another tidewatch writes to it"), "{problem}");
    drop(writer);
    assert!(place.try_open().is_err(), "a reader has it too");
    drop(log);
    place.open();
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut place = Place::small();
    let (writer, log) = place.open();
    append(&writer, 0, &records(0, 5), 5);
    drop((writer, log));
    place.config.partitions = 3;
    let (writer, log) = place.open();
    append(&writer, 2, &records(0, 5), 5);
    assert_eq!(log.partitions(), ["log/0", "log/1", "log/2"]);
    assert_eq!(read(&log, 0, 0).unwrap(), records(0, 5));
    let positions = [(Partition(0), Offset(5))];
    let (id, positions) = (log.id(), &positions);
    let begun = log.begin(Some(Before { log: &id, positions })).unwrap();
    assert_eq!(begun, [5, 0, 0].map(Offset));
    drop((writer, log));
    place.config.partitions = 2;
    let problem = place.try_open().err().expect("there are three").to_string();
    assert!(
        problem.starts_with("log.partitions: is 2, but the log in "),
        "{problem}"
    );
    assert!(problem.contains("has 3"), "{problem}");
}

#[test]
fn a_log_that_lacks_what_comes_next_is_not_read_unless_it_is_said() {
    let mut place = Place::small();
    let (writer, log) = place.open();
    append(&writer, 0, &records(0, 100), 10);
    let (id, first) = (log.id(), place.files(0)[2].clone());
    assert_eq!(begin(&log, &id, 100), Ok(vec![Offset(100)]));
    assert_eq!(log.begin(None).unwrap(), [Offset(0)]);
    drop((writer, log));
    for file in &place.files(0)[..2] {
        std::fs::remove_file(file).unwrap();
    }
    let first: i64 = first.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let cases = [
        (
            &*id,
            0,
            Some(format!(
                "log/0, offset 0: the log begins at {first}: {first} offsets are gone"
            )),
            first,
        ),
        (&*id, first, None, first),
        (
            &*id,
            101,
            Some("log/0, offset 101: the log ends at 100: what was read there is lost to it".to_owned()),
            100,
        ),
        (
            "another",
            50,
            Some(format!("the log was made anew: its id was another and is {id}")),
            first,
        ),
        ("", 50, None, 50),
    ];
    for on_gap in [OnGap::Stop, OnGap::Skip] {
        place.config.on_gap = on_gap;
        let (_writer, log) = place.open();
        for (id, position, problem, next) in &cases {
            let begun = begin(&log, id, *position);
            match (problem, on_gap) {
                (Some(problem), OnGap::Stop) => {
                    let error = begun.unwrap_err();
                    assert!(
                        error.contains(problem) && error.contains("log.on_gap = \"skip\""),
                        "{error}"
                    );
                }
                _ => assert_eq!(begun, Ok(vec![Offset(*next)])),
            }
            let heard = place.heard();
            assert_eq!(
                heard.len(),
                usize::from(problem.is_some() && on_gap == OnGap::Skip),
                "{heard:?}"
            );
        }
        let error = read(&log, 0, 0).unwrap_err().to_string();
        assert!(error.contains(&format!("the log begins at {first}")), "{error}");
    }
}

#[test]
fn what_is_no_batch_of_the_log_is_refused() {
    let place = Place::small();
    let (writer, log) = place.open();
    assert_eq!(
        writer.append(Partition(1), &batch(&records(0, 1)), Origin::default()),
        Err(AppendError::NoPartition)
    );
    assert_eq!(
        writer.append(Partition(0), &Batch::default(), Origin::default()),
        Ok(Offset(0))
    );
    let mut large = Batch::default();
    large.push(None, &vec![1; writer.batch_bytes_max()], LogTime(0));
    let refused = writer.append(Partition(0), &large, Origin::default());
    assert_eq!(refused, Err(AppendError::TooLarge));
    writer.close();
    let refused = writer.append(Partition(0), &batch(&records(0, 1)), Origin::default());
    assert_eq!(refused, Err(AppendError::Closed));
    let nobody = Assignment {
        partition: Partition(1),
        from: None,
    };
    assert!(log.open(&[nobody]).is_err());
}
