//! `ListOffsets`: where a partition begins and ends.

use super::{Api, Garbled, Input, Output};

pub(in super::super) const API: Api = Api {
    name: "ListOffsets",
    key: 2,
    version: 5,
    flexible: false,
};

/// The timestamps that stand for the two ends of a log.
pub(in super::super) const EARLIEST: i64 = -2;
pub(in super::super) const LATEST: i64 = -1;

const TOPIC_BYTES_MIN: usize = 6;
const PARTITION_BYTES: usize = 26;

/// A partition whose end is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    pub(in super::super) partition: i32,
    pub(in super::super) leader_epoch: i32,
    /// [`EARLIEST`] or [`LATEST`].
    pub(in super::super) end: i64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Found {
    pub(in super::super) partition: i32,
    /// What is wrong; 0 for nothing.
    pub(in super::super) code: i16,
    pub(in super::super) offset: i64,
}

pub(in super::super) fn request(correlation: i32, topic: &str, wanted: &[Wanted]) -> Vec<u8> {
    const NO_REPLICA: i32 = -1;
    const READ_COMMITTED: i8 = 1;
    let mut output = Output::new(API, correlation);
    output.i32(NO_REPLICA).i8(READ_COMMITTED);
    output.count(1).text(topic).count(wanted.len());
    for one in wanted {
        output.i32(one.partition).i32(one.leader_epoch).i64(one.end);
    }
    output.finish()
}

/// Reads an answer about one topic.
pub(in super::super) fn read(mut input: Input<'_>) -> Result<Vec<Found>, Garbled> {
    let _throttle_ms = input.i32()?;
    let mut found = Vec::new();
    for _ in 0..input.count(TOPIC_BYTES_MIN)? {
        let _name = input.text()?;
        for _ in 0..input.count(PARTITION_BYTES)? {
            let (partition, code) = (input.i32()?, input.i16()?);
            let (_timestamp, offset, _epoch) = (input.i64()?, input.i64()?, input.i32()?);
            found.push(Found {
                partition,
                code,
                offset,
            });
        }
    }
    Ok(found)
}
