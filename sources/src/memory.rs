//! Records in memory, shared by everyone who reads them: for tests, benches and the conformance suite itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};
use tidewatch_proto::time::LogTime;

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRecord {
    /// Its place in the partition; greater than that of the record before, holes are allowed.
    pub offset: Offset,
    /// When the log appended it.
    pub log_time: Option<LogTime>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// A `Telemetry` message in protobuf.
    pub payload: Vec<u8>,
    /// Its headers, as [`Headers`] has them; empty for none.
    pub headers: Vec<u8>,
}

impl MemoryRecord {
    fn as_record(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            log_time: self.log_time,
            key: self.key.as_deref(),
            payload: &self.payload,
            headers: Headers::new(&self.headers),
        }
    }
}

#[derive(Debug)]
struct Log {
    names: Vec<String>,
    partitions: Vec<RwLock<Vec<MemoryRecord>>>,
    finished: AtomicBool,
}

/// A log in memory that opens readers of itself. A clone is the same log.
#[derive(Clone, Debug)]
pub struct MemoryFactory(Arc<Log>);

impl MemoryFactory {
    /// A log of these partitions that will get no more: readers report `Finished` at its end.
    pub fn finished(partitions: Vec<Vec<MemoryRecord>>) -> MemoryFactory {
        let log = MemoryFactory::open_ended(partitions);
        log.finish();
        log
    }

    /// A log of these partitions that may get more: readers report `Idle` at its end.
    pub fn open_ended(partitions: Vec<Vec<MemoryRecord>>) -> MemoryFactory {
        for records in &partitions {
            assert!(
                records.windows(2).all(|pair| pair[0].offset < pair[1].offset),
                "offsets grow"
            );
        }
        MemoryFactory(Arc::new(Log {
            names: (0..partitions.len()).map(|index| format!("memory/{index}")).collect(),
            partitions: partitions.into_iter().map(RwLock::new).collect(),
            finished: AtomicBool::new(false),
        }))
    }

    /// Adds a record to the end of a partition, behind the record before.
    pub fn append(&self, partition: Partition, record: MemoryRecord) {
        let mut records = self.0.partitions[partition.index()]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            records.last().is_none_or(|last| last.offset < record.offset),
            "offsets grow"
        );
        records.push(record);
    }

    /// Says that nothing will be appended any more.
    pub fn finish(&self) {
        self.0.finished.store(true, Ordering::Release);
    }
}

impl SourceFactory for MemoryFactory {
    fn partitions(&self) -> &[String] {
        &self.0.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        let mut cursors = Vec::with_capacity(assigned.len());
        for assignment in assigned {
            let Some(records) = self.0.partitions.get(assignment.partition.index()) else {
                return Err(SourceError::new(
                    format!("memory/{}", assignment.partition),
                    format!("there are only {} partitions", self.0.partitions.len()),
                ));
            };
            let records = records.read().unwrap_or_else(PoisonError::into_inner);
            let from = assignment.from.unwrap_or(Offset(i64::MIN));
            let next = records.partition_point(|record| record.offset < from);
            cursors.push(Cursor {
                partition: assignment.partition,
                next,
            });
        }
        Ok(Box::new(MemorySource {
            log: Arc::clone(&self.0),
            cursors,
            turn: 0,
        }))
    }
}

struct Cursor {
    partition: Partition,
    /// The index of the next record.
    next: usize,
}

struct MemorySource {
    log: Arc<Log>,
    cursors: Vec<Cursor>,
    /// The partition that is served first, so that none waits for ever behind the others.
    turn: usize,
}

impl Source for MemorySource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        // Before the partitions, so that no record can come between reading them and saying that there are no more.
        let finished = self.log.finished.load(Ordering::Acquire);
        let mut left = records_max;
        self.turn += 1;
        for step in 0..self.cursors.len() {
            if left == 0 {
                break;
            }
            let place = (self.turn + step) % self.cursors.len();
            left -= hand_over(&self.log, &mut self.cursors[place], intake, left);
        }
        match left < records_max {
            true => Ok(Polled::Some),
            false if finished && records_max > 0 => Ok(Polled::Finished),
            false => Ok(Polled::Idle),
        }
    }
}

/// Hands over up to `left` records of a partition and returns how many.
fn hand_over(log: &Log, cursor: &mut Cursor, intake: &mut dyn Intake, left: usize) -> usize {
    let records = log.partitions[cursor.partition.index()]
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    let end = records.len().min(cursor.next + left);
    let batch: Vec<Record<'_>> = records[cursor.next..end].iter().map(MemoryRecord::as_record).collect();
    if batch.is_empty() {
        return 0;
    }
    intake.records(cursor.partition, &batch);
    cursor.next = end;
    intake.lag(cursor.partition, (records.len() - end) as u64);
    batch.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Subject, check};

    fn record(offset: i64) -> MemoryRecord {
        let key = (offset % 3 != 0).then(|| vec![offset as u8]);
        let header = (&b"n"[..], (offset % 2 != 0).then_some(&b"odd"[..]));
        let mut headers = Vec::new();
        Headers::write(vec![header; offset as usize % 4].into_iter(), &mut headers);
        MemoryRecord {
            offset: Offset(offset),
            log_time: Some(LogTime(offset)),
            key,
            payload: vec![7; offset as usize % 9],
            headers,
        }
    }

    fn partitions() -> Vec<Vec<MemoryRecord>> {
        vec![
            (0..100).map(record).collect(),
            Vec::new(),
            (40..70).filter(|n| n % 7 != 0).map(record).collect(),
        ]
    }

    #[test]
    fn conforms() {
        let expected: Vec<Vec<_>> = partitions()
            .iter()
            .map(|p| p.iter().map(|r| r.as_record().into()).collect())
            .collect();
        check(&Subject {
            factory: &MemoryFactory::finished(partitions()),
            expected: &expected,
            ends: true,
        });
        check(&Subject {
            factory: &MemoryFactory::open_ended(partitions()),
            expected: &expected,
            ends: false,
        });
    }

    #[test]
    fn what_is_appended_is_read() {
        let log = MemoryFactory::open_ended(vec![Vec::new()]);
        let mut source = log
            .open(&[Assignment {
                partition: Partition(0),
                from: None,
            }])
            .unwrap();
        let mut intake = crate::conformance::Collected::new(1);
        assert_eq!(source.poll(&mut intake, 10).unwrap(), Polled::Idle);
        log.append(Partition(0), record(5));
        assert_eq!(source.poll(&mut intake, 10).unwrap(), Polled::Some);
        log.finish();
        assert_eq!(source.poll(&mut intake, 10).unwrap(), Polled::Finished);
        assert_eq!(intake.partitions[0].len(), 1);
    }
}
