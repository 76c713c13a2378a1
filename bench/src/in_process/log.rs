//! A log in memory that hands over its records where they lie: one buffer for each partition.

use crate::w1::generate::Telemetry;
use crate::w1::outputs::{Output, generate};
use crate::w1::record::Record;
use crate::w1::spec::Spec;
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{self, Assignment, Intake, Polled, Source, SourceError, SourceFactory};

/// Bytes of a record at most, more or less.
const RECORD_BYTES_MAX: usize = 140;

/// The records of one partition: their bytes one behind the other, and where each ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Lane {
    fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// Records in it.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a record.
    pub(super) fn value(&self, index: usize) -> &[u8] {
        let from = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[from..self.ends[index]]
    }
}

/// A log in memory. A clone is the same log.
#[derive(Clone, Debug)]
pub struct SliceLog {
    names: Arc<[String]>,
    pub(super) lanes: Arc<[Lane]>,
    /// Records at the end of each partition that are kept back until the log is released.
    held: usize,
    released: Arc<AtomicBool>,
}

impl SliceLog {
    /// The records of a stream, flush messages included.
    ///
    /// # Errors
    /// When the stream's lateness is not what the oracle assumes.
    pub fn of_stream(spec: Spec) -> Result<Self> {
        let mut output = SliceOutput::new(spec);
        generate(spec, &mut [Box::new(&mut output)])?;
        Ok(output.into_log())
    }

    /// The offset at which a partition is held, in the order of the partitions.
    pub fn held_at(&self) -> Vec<Offset> {
        self.lanes
            .iter()
            .map(|lane| Offset((lane.len() - self.held) as i64))
            .collect()
    }

    /// Lets readers go on to the end.
    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
    }
}

/// Builds a log from a stream.
pub struct SliceOutput {
    spec: Spec,
    lanes: Vec<Lane>,
}

impl SliceOutput {
    /// For a stream.
    pub fn new(spec: Spec) -> Self {
        // Enough for all: a buffer that grows leaves freed memory behind, which whoever is measured would use.
        let records = (spec.messages * 5 / 4 / u64::from(spec.partitions)) as usize;
        let lane = || Lane {
            bytes: Vec::with_capacity(records * RECORD_BYTES_MAX),
            ends: Vec::with_capacity(records),
        };
        Self {
            spec,
            lanes: (0..spec.partitions).map(|_| lane()).collect(),
        }
    }

    /// Takes a record.
    pub fn push(&mut self, record: &Record) {
        self.lanes[record.partition as usize].push(&record.value);
    }

    /// The log, all of which can be read at once.
    pub fn into_log(self) -> SliceLog {
        let log = self.into_held_log();
        log.release();
        log
    }

    /// The log, whose readers get the flush messages only when it is released.
    pub fn into_held_log(mut self) -> SliceLog {
        for partition in 0..self.spec.partitions {
            let flush = Record::flush(&self.spec, partition);
            self.push(&flush);
        }
        SliceLog {
            names: (0..self.lanes.len()).map(|index| format!("slices/{index}")).collect(),
            lanes: self.lanes.into(),
            held: 1,
            released: Arc::default(),
        }
    }
}

impl Output for &mut SliceOutput {
    fn write(&mut self, _telemetry: &Telemetry, record: &Record) -> Result<()> {
        self.push(record);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl SourceFactory for SliceLog {
    fn partitions(&self) -> &[String] {
        &self.names
    }

    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        let cursors = assigned.iter().map(|assignment| Cursor {
            partition: assignment.partition,
            next: assignment.from.map_or(0, |from| from.0.max(0) as usize),
        });
        Ok(Box::new(SliceSource {
            log: self.clone(),
            cursors: cursors.collect(),
            turn: 0,
        }))
    }
}

struct Cursor {
    partition: Partition,
    /// The index of the next record, which is its offset.
    next: usize,
}

struct SliceSource {
    log: SliceLog,
    cursors: Vec<Cursor>,
    /// The partition that is served first, so that event time grows alike in all of them.
    turn: usize,
}

impl Source for SliceSource {
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError> {
        let released = self.log.released.load(Ordering::Acquire);
        let held = if released { 0 } else { self.log.held };
        let mut left = records_max;
        self.turn += 1;
        for step in 0..self.cursors.len() {
            let place = (self.turn + step) % self.cursors.len();
            left -= hand_over(&self.log, &mut self.cursors[place], held, intake, left);
        }
        match left < records_max {
            true => Ok(Polled::Some),
            false if released && records_max > 0 => Ok(Polled::Finished),
            false => Ok(Polled::Idle),
        }
    }
}

/// Hands over up to `left` records of a partition, without those held, and returns how many.
fn hand_over(log: &SliceLog, cursor: &mut Cursor, held: usize, intake: &mut dyn Intake, left: usize) -> usize {
    let lane = &log.lanes[cursor.partition.index()];
    let end = (lane.len() - held).min(cursor.next + left);
    if cursor.next >= end {
        return 0;
    }
    let records = (cursor.next..end).map(|index| source::Record {
        offset: Offset(index as i64),
        log_time: None,
        key: None,
        payload: lane.value(index),
        headers: Headers::NONE,
    });
    let records: Vec<source::Record<'_>> = records.collect();
    intake.records(cursor.partition, &records);
    intake.lag(cursor.partition, (lane.len() - end) as u64);
    cursor.next = end;
    records.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_sources::conformance::{Subject, check};

    const SPEC: Spec = Spec {
        messages: 100,
        devices: 1_000,
        ..Spec::S
    };

    #[test]
    fn conforms() {
        let log = SliceLog::of_stream(SPEC).unwrap();
        let record = |lane: &Lane, index: usize| {
            (source::Record {
                offset: Offset(index as i64),
                log_time: None,
                key: None,
                payload: lane.value(index),
                headers: Headers::NONE,
            })
            .into()
        };
        let expected: Vec<Vec<_>> = log
            .lanes
            .iter()
            .map(|lane| (0..lane.len()).map(|index| record(lane, index)).collect())
            .collect();
        assert_eq!(expected.iter().map(Vec::len).sum::<usize>() as u64, SPEC.records());
        check(&Subject {
            factory: &log,
            expected: &expected,
            ends: true,
        });
    }

    #[test]
    fn the_flush_is_held_until_the_log_is_released() {
        let mut output = SliceOutput::new(Spec { partitions: 1, ..SPEC });
        output.push(&Record::flush(&SPEC, 0));
        let log = output.into_held_log();
        let mut source = log
            .open(&[Assignment {
                partition: Partition(0),
                from: None,
            }])
            .unwrap();
        let mut intake = tidewatch_sources::conformance::Collected::new(1);
        let mut polled = || source.poll(&mut intake, 10).unwrap();
        assert_eq!((polled(), polled()), (Polled::Some, Polled::Idle));
        assert_eq!(log.held_at(), [Offset(1)]);
        log.release();
        assert_eq!((polled(), polled()), (Polled::Some, Polled::Finished));
        assert_eq!(intake.partitions[0].len(), 2);
    }
}
