//! Which records a worker is at, so that a crash can say where it was: while it decodes or applies them, and at no other
//! time. Nothing is sent to another worker meanwhile, so a process of the cluster that is lost is no record's fault.

use std::cell::Cell;
use tidewatch_proto::ids::{Offset, Partition};
#[cfg(feature = "failpoints")]
use tidewatch_proto::time::EventTime;

/// Records of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The partition.
    pub partition: Partition,
    /// The first of them.
    pub first: Offset,
    /// The last of them.
    pub last: Offset,
}

impl At {
    /// Whether a record is one of them.
    pub fn covers(&self, partition: Partition, offset: Offset) -> bool {
        self.partition == partition && (self.first..=self.last).contains(&offset)
    }
}

/// A worker has crashed at some records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Where it was.
    pub at: At,
    /// What it said.
    pub problem: String,
}

thread_local! {
    /// Where the worker on this thread is.
    static AT: Cell<Option<At>> = const { Cell::new(None) };
}

/// The worker on this thread begins with records.
#[inline]
pub(crate) fn begin(partition: Partition, first: Offset, last: Offset) {
    AT.set(Some(At { partition, first, last }));
}

/// The worker on this thread is done with them.
#[inline]
pub(crate) fn end() {
    AT.set(None);
}

/// Where the worker on this thread was when it crashed, if it was at records.
pub(crate) fn taken() -> Option<At> {
    AT.take()
}

/// For tests: decoding a message of this event time panics. It lies a day before all times that tests draw by chance.
#[cfg(feature = "failpoints")]
pub const POISON_TO_DECODE: EventTime = EventTime(1_749_900_011_111);
/// For tests: applying a message of this event time panics.
#[cfg(feature = "failpoints")]
pub const POISON_TO_APPLY: EventTime = EventTime(1_749_900_022_222);

/// For tests: panics at a poisonous message.
#[cfg(feature = "failpoints")]
pub(crate) fn trip(poison: EventTime, event_time: i64) {
    assert_ne!(poison.0, event_time, "poison for tests");
}
