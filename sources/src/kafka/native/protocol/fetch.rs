//! `Fetch`: whole batches of some partitions, committed ones only.

use super::{Api, Garbled, Input, Output};
use std::ops::Range;

/// The first version that tells of a truncated log, and the last that names topics by their names.
pub(in super::super) const API: Api = Api {
    name: "Fetch",
    key: 1,
    version: 12,
    flexible: true,
};

const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES_MIN: usize = 37;
const ABORTED_BYTES_MIN: usize = 17;
/// The tagged field of a partition that says from where on its log is another one.
const DIVERGING_EPOCH: u32 = 0;

/// How a broker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Limits {
    /// How long it may hold back its answer when it has nothing, in milliseconds.
    pub(in super::super) wait_ms: i32,
    /// Bytes of the answer; a first batch that is larger comes whole.
    pub(in super::super) bytes_max: i32,
}

/// A partition that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    pub(in super::super) partition: i32,
    pub(in super::super) leader_epoch: i32,
    pub(in super::super) offset: i64,
    /// The leader's epoch of the last batch that was read, -1 when there was none.
    pub(in super::super) fetched_epoch: i32,
    pub(in super::super) bytes_max: i32,
}

/// What came of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Fetched {
    pub(in super::super) partition: i32,
    /// What is wrong; 0 for nothing.
    pub(in super::super) code: i16,
    /// The offset after the last record that is safe in the log.
    pub(in super::super) high_watermark: i64,
    /// The offset before which no transaction is open.
    pub(in super::super) stable: i64,
    /// Transactions that were aborted: the producer and the first offset of each.
    pub(in super::super) aborted: Vec<(i64, i64)>,
    /// Whether the log was truncated below what was read.
    pub(in super::super) diverged: bool,
    /// Where in the answer its batches lie.
    pub(in super::super) records: Range<usize>,
}

/// An answer's head, and what came of each partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Answer {
    /// How long not to ask again, in milliseconds.
    pub(in super::super) throttle_ms: i32,
    /// What is wrong with the whole; 0 for nothing.
    pub(in super::super) code: i16,
    pub(in super::super) partitions: Vec<Fetched>,
}

pub(in super::super) fn request(correlation: i32, topic: &str, limits: Limits, wanted: &[Wanted]) -> Vec<u8> {
    const NO_REPLICA: i32 = -1;
    const BYTES_MIN: i32 = 1;
    const READ_COMMITTED: i8 = 1;
    const NO_SESSION: (i32, i32) = (0, -1);
    const NO_LOG_START: i64 = -1;
    let mut output = Output::new(API, correlation);
    output.i32(NO_REPLICA).i32(limits.wait_ms).i32(BYTES_MIN);
    output.i32(limits.bytes_max).i8(READ_COMMITTED);
    output.i32(NO_SESSION.0).i32(NO_SESSION.1);
    output.compact_count(1).compact_text(topic).compact_count(wanted.len());
    for one in wanted {
        output.i32(one.partition).i32(one.leader_epoch).i64(one.offset);
        output.i32(one.fetched_epoch).i64(NO_LOG_START).i32(one.bytes_max);
        output.no_tags();
    }
    output.no_tags();
    let forgotten_topics = 0;
    output.compact_count(forgotten_topics).compact_text("").no_tags();
    output.finish()
}

/// Reads an answer about one topic; ranges are within `whole`, of which `from` is where the answer begins.
pub(in super::super) fn read(whole: &[u8], from: usize) -> Result<Answer, Garbled> {
    let mut input = Input(whole.get(from..).ok_or(Garbled)?);
    input.skip_tags()?;
    let mut answer = Answer {
        throttle_ms: input.i32()?,
        code: input.i16()?,
        partitions: Vec::new(),
    };
    let _session = input.i32()?;
    for _ in 0..input.compact_count(TOPIC_BYTES_MIN)? {
        let name_len = input.compact_len()?.ok_or(Garbled)?;
        input.bytes(name_len)?;
        for _ in 0..input.compact_count(PARTITION_BYTES_MIN)? {
            answer.partitions.push(partition(&mut input, whole.len())?);
        }
        input.skip_tags()?;
    }
    input.skip_tags()?;
    Ok(answer)
}

fn partition(input: &mut Input<'_>, whole_bytes: usize) -> Result<Fetched, Garbled> {
    let mut fetched = Fetched {
        partition: input.i32()?,
        code: input.i16()?,
        high_watermark: input.i64()?,
        stable: input.i64()?,
        ..Fetched::default()
    };
    let _log_start = input.i64()?;
    for _ in 0..input.compact_count(ABORTED_BYTES_MIN)? {
        fetched.aborted.push((input.i64()?, input.i64()?));
        input.skip_tags()?;
    }
    let _preferred_replica = input.i32()?;
    let len = input.compact_len()?.unwrap_or(0);
    let start = whole_bytes - input.0.len();
    input.bytes(len)?;
    fetched.records = start..start + len;
    input.tags(|tag, mut field| {
        if tag == DIVERGING_EPOCH {
            let (epoch, _end) = (field.i32()?, field.i64()?);
            fetched.diverged = epoch >= 0;
        }
        Ok(())
    })?;
    Ok(fetched)
}
