//! Readings in columns: what moves between operators.

use serde::{Deserialize, Serialize};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::time::PaneNo;

/// Readings of one partition for one worker, in the order of the log, message by message.
///
/// Devices, metrics and shapes go by numbers that the sending worker (`origin`) gave them; a number is explained in
/// `new_devices`, `new_metrics` or `new_shapes` of the batch that uses it first, or of an earlier one. Batches of one
/// origin arrive in the order they were sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The worker that the batch is for.
    pub target: u32,
    /// The worker that made it.
    pub origin: u32,
    /// Its number among the origin's batches for the target, from 0.
    pub sequence: u64,
    /// The partition it was read from.
    pub partition: Partition,
    /// Names of devices numbered on from the last ones, for this target.
    pub new_devices: Vec<Box<str>>,
    /// Names of metrics numbered on from the last ones, for this target.
    pub new_metrics: Vec<Box<str>>,
    /// Shapes numbered on from the last ones, for this target: the metrics that a message holds, in their order.
    pub new_shapes: Vec<Box<[u32]>>,
    /// The messages' columns.
    pub messages: Messages,
    /// The metrics of the readings of messages without a shape, one message after the other.
    pub metric: Vec<u32>,
    /// By reading: its value.
    pub value: Vec<f64>,
    /// The partition's progress after the last message.
    pub progress: Progress,
}

/// The number of no shape: the message's metrics stand in [`Batch::metric`].
pub const NO_SHAPE: u32 = u32::MAX;

/// The columns of messages, all of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// The device's number.
    pub device: Vec<u32>,
    /// The shape's number, or [`NO_SHAPE`].
    pub shape: Vec<u32>,
    /// The event time in milliseconds since 1970.
    pub event_time: Vec<i64>,
    /// The last pane that the partition's watermark had closed when the message came.
    pub closed: Vec<PaneNo>,
    /// The places of messages whose panes have left memory, ascending.
    pub beyond: Vec<u32>,
    /// A hash of event time, metrics and value bits, whatever their order.
    pub fingerprint: Vec<u64>,
    /// The message's place in the partition.
    pub offset: Vec<Offset>,
    /// Where the message's readings end in the columns of readings.
    pub readings_end: Vec<u32>,
}

impl Messages {
    /// No messages, with room for some.
    pub fn with_capacity(messages: usize) -> Messages {
        Messages {
            device: Vec::with_capacity(messages),
            shape: Vec::with_capacity(messages),
            event_time: Vec::with_capacity(messages),
            closed: Vec::with_capacity(messages),
            beyond: Vec::new(),
            fingerprint: Vec::with_capacity(messages),
            offset: Vec::with_capacity(messages),
            readings_end: Vec::with_capacity(messages),
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.device.len()
    }

    /// Whether the pane of a message has left memory.
    #[inline]
    pub fn is_beyond(&self, message: usize) -> bool {
        !self.beyond.is_empty() && self.beyond.binary_search(&(message as u32)).is_ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.device.is_empty()
    }
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The watermark in milliseconds since 1970; `i64::MIN` before the first record.
    pub watermark_ms: i64,
    /// Windows that end with this pane or before are published although they may not be closed: the
    /// partition is idle, or its input has ended.
    pub publish_through: PaneNo,
    /// The watermark has not moved for the idle time: what spans partitions no longer waits for this one.
    pub idle: bool,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            watermark_ms: i64::MIN,
            publish_through: PaneNo::NONE,
            idle: false,
        }
    }
}

impl Batch {
    /// About how many bytes its columns take.
    pub fn bytes(&self) -> usize {
        const PER_MESSAGE: usize = 2 * size_of::<i64>() + 2 * size_of::<u64>() + 3 * size_of::<u32>();
        self.messages.len() * PER_MESSAGE + self.value.len() * size_of::<f64>()
    }

    /// The range of the readings of a message.
    pub fn readings(&self, message: usize) -> std::ops::Range<usize> {
        let begin = match message {
            0 => 0,
            _ => self.messages.readings_end[message - 1] as usize,
        };
        begin..self.messages.readings_end[message] as usize
    }
}

/// What the ingest operator says of a partition's position at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// Where reading goes on.
    pub next: Offset,
    /// The running maximum that the watermark follows, in milliseconds since 1970.
    pub clock_ms: i64,
}
