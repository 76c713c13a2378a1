//! A message that came too late for memory: a store adds its readings to the rows that it keeps.

use crate::ids::{KeyGroup, Name, Offset, Partition};
use crate::row::Jobs;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// The readings of a message some of whose windows have left memory, on their way to a store that keeps these windows' rows.
///
/// Stragglers of one device and partition come in the order of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Straggler {
    /// Where the message stands in the log.
    pub partition: Partition,
    /// Where the message stands in its partition.
    pub offset: Offset,
    /// The device.
    pub device: Name,
    /// The event time.
    pub at: EventTime,
    /// Metrics and values, in the message's order.
    pub readings: Vec<(Name, f64)>,
    /// The jobs whose windows were still in memory and have taken it there: a store leaves their rows alone.
    pub taken: Jobs,
}

impl Straggler {
    /// The outbox part it belongs to: the key group of its device.
    pub fn part(&self) -> KeyGroup {
        KeyGroup::of(self.device.as_bytes())
    }

    /// About how many bytes it takes while it waits for a store.
    pub fn bytes(&self) -> i64 {
        (size_of::<Straggler>() + self.readings.len() * size_of::<(Name, f64)>()) as i64
    }
}
