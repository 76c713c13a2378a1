//! What a native reader needs to know, and how it names things.

use crate::event::{EventHook, SourceEvent};
use std::time::Duration;
use tidewatch_proto::source::SourceError;

/// What the answer to one fetch may hold at most, over all partitions, in bytes.
const RESPONSE_BYTES_MAX: u64 = 50 << 20;
/// Into how many answers the queue should be divided at least.
const RESPONSES_IN_QUEUE: u64 = 4;

/// How a topic is read.
#[derive(Clone)]
pub(in super::super) struct NativeSettings {
    /// Addresses to find the cluster by, as they were written.
    pub(in super::super) brokers: String,
    pub(in super::super) topic: String,
    pub(in super::super) check_crcs: bool,
    pub(in super::super) queue_bytes_max: u64,
    pub(in super::super) fetch_bytes_max: u64,
    pub(in super::super) fetch_wait_ms: i64,
    /// Where a partition without position begins: with the newest record, or with the oldest.
    pub(in super::super) from_latest: bool,
    pub(in super::super) patience: Patience,
}

/// How long a reader waits for what should come at once.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Patience {
    /// How long a broker may send nothing that it owes.
    pub(in super::super) silence_max: Duration,
    /// How long a topic may be unknown to the brokers, as it is while they start, and how long they may name an old
    /// leader.
    pub(in super::super) doubt_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            silence_max: Duration::from_secs(30),
            doubt_max: Duration::from_secs(10),
        }
    }
}

impl NativeSettings {
    /// Bytes that are asked for at once from a partition; the configuration has limits that fit.
    pub(super) fn fetch_bytes(&self) -> i32 {
        i32::try_from(self.fetch_bytes_max).unwrap_or(i32::MAX)
    }

    /// Bytes that are asked for at once from a broker.
    pub(super) fn response_bytes(&self) -> i32 {
        let share = (self.queue_bytes_max / RESPONSES_IN_QUEUE).max(self.fetch_bytes_max);
        i32::try_from(share.min(RESPONSE_BYTES_MAX)).unwrap_or(i32::MAX)
    }

    /// How long a broker may hold back its answer, in milliseconds.
    pub(super) fn wait_ms(&self) -> i32 {
        i32::try_from(self.fetch_wait_ms).unwrap_or(i32::MAX)
    }

    /// The topic, for errors.
    pub(super) fn object(&self) -> String {
        format!("topic {} at {}", self.topic, self.brokers)
    }

    /// A place in the log, for errors.
    pub(super) fn place(&self, partition: i32, offset: i64) -> String {
        format!("{}/{partition} at {}, offset {offset}", self.topic, self.brokers)
    }
}

/// Tells that something is tried again.
pub(super) fn tell(hook: &EventHook, object: String, problem: String) {
    hook(SourceEvent::Retrying { object, problem });
}

/// Ends the reading.
pub(super) fn end(object: String, problem: &str, way_on: &str) -> SourceError {
    SourceError::new(object, format!("{problem}; {way_on}"))
}
