//! The contract between whatever holds a log and the engine that reads it.
//!
//! The connectors live in the crate `sources`, with the conformance suite that each of them passes.

use crate::headers::Headers;
use crate::ids::{Offset, Partition};
use crate::reject::Reason;
use crate::time::LogTime;

/// One record as it lies in the log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log appended it; `None` when the source doesn't know, then the event time counts.
    pub log_time: Option<LogTime>,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// A `Telemetry` message in protobuf.
    pub payload: &'a [u8],
    /// Its headers; none when the reader was not opened for them.
    pub headers: Headers<'a>,
}

/// Takes what a source has read. Implemented by the engine.
pub trait Intake {
    /// Takes records of one partition, in the order of the log.
    fn records(&mut self, partition: Partition, records: &[Record<'_>]);

    /// Takes a record that isn't telemetry in the source's own format (a broken line of a file, say);
    /// `record.payload` is its bytes as they were read.
    fn unusable(&mut self, partition: Partition, record: Record<'_>, reason: Reason, detail: String);

    /// Says how many records of the partition are known to lie ahead of what was handed over.
    fn lag(&mut self, partition: Partition, records: u64);
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Records were handed over; there may be more at once.
    Some,
    /// Nothing is there just now.
    Idle,
    /// The input has an end and it was reached: there will never be more.
    Finished,
}

/// A reader of some partitions of a log, owned by one worker.
///
/// * `poll` hands over each record of the assigned partitions exactly once, from the position given
///   when the reader was opened, in the order of the partition's log.
/// * It never blocks and hands over at most about `records_max` records a call.
/// * It retries by itself what can be retried. An error says that reading can't go on: it ends the run.
pub trait Source {
    /// Hands over what has arrived.
    ///
    /// # Errors
    /// When reading can't go on; the error names the object and what to do.
    fn poll(&mut self, intake: &mut dyn Intake, records_max: usize) -> Result<Polled, SourceError>;
}

/// Where to start reading a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: Partition,
    /// The first offset to read; `None` is the source's configured start.
    pub from: Option<Offset>,
}

/// Opens readers: one for each worker, on the worker's own thread.
pub trait SourceFactory: Send + Sync {
    /// The names of the partitions, such as `raw.events/3`; a [`Partition`] is an index into this list.
    fn partitions(&self) -> &[String];

    /// Opens a reader of the assigned partitions. An empty assignment is allowed and reads nothing.
    ///
    /// # Errors
    /// When the log can't be opened at these positions.
    fn open(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError>;

    /// Opens a reader whose records have their headers, if the log has any: [`open`](SourceFactory::open) leaves them out
    /// where they cost something.
    ///
    /// # Errors
    /// As of `open`.
    fn open_with_headers(&self, assigned: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        self.open(assigned)
    }
}

/// Reading can't go on.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct SourceError {
    /// What was being read: a broker's address, a topic, a file with its line.
    pub object: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl SourceError {
    /// An error about an object.
    pub fn new(object: impl Into<String>, problem: impl Into<String>) -> SourceError {
        SourceError {
            object: object.into(),
            problem: problem.into(),
        }
    }
}
