//! What reading begins with, and what to do when the log doesn't have that.

use serde::{Deserialize, Serialize};
use tidewatch_proto::ids::{Offset, Partition};

/// What a checkpoint says of the log.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// Which log it was: a topic's id, or that of an embedded log. Empty when a topic's brokers gave none.
    pub log: &'a str,
    /// Where reading of each partition goes on; one that isn't named was added since.
    pub positions: &'a [(Partition, Offset)],
}

/// What to do when the log doesn't have what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnGap {
    /// To start no reading, and say what is missing.
    Stop,
    /// To go on with what there is, and say what is missing.
    Skip,
}
