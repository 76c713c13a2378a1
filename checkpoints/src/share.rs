//! A checkpoint of a cluster: each process writes the segments of its own workers; the first one makes the manifest when
//! it knows all shares.

use serde::{Deserialize, Serialize};
use std::ops::Range;
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::checkpoint::file::{Manifest, SegmentRef};
use tidewatch_proto::ids::{Epoch, KeyGroup, Partition};

/// Which process of a cluster this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From 0; the first one makes the manifests.
    pub index: usize,
    /// How many there are.
    pub processes: usize,
    /// How many workers each has.
    pub threads: usize,
}

impl Member {
    /// The only process.
    pub fn alone(threads: usize) -> Member {
        Member {
            index: 0,
            processes: 1,
            threads,
        }
    }

    /// The numbers of its workers.
    pub fn workers(self) -> Range<usize> {
        self.index * self.threads..(self.index + 1) * self.threads
    }

    /// The process whose worker owns a key group.
    pub fn owner(self, group: KeyGroup) -> usize {
        group.worker(self.processes * self.threads) / self.threads
    }

    /// Whether it makes the manifests.
    pub fn is_first(self) -> bool {
        self.index == 0
    }

    /// Whether one of its workers reads a partition.
    pub fn reads(self, partition: Partition) -> bool {
        self.workers()
            .contains(&(partition.index() % (self.processes * self.threads)))
    }

    /// Whether a segment of this number is its own: they are dealt out in turn.
    pub(crate) fn owns(self, segment: u64) -> bool {
        segment % self.processes as u64 == self.index as u64
    }
}

/// What one process has of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The checkpoint's epoch.
    pub epoch: Epoch,
    /// The process's sinks have taken what epochs through this one have brought.
    pub delivered: Epoch,
    /// Where its workers stand, in the partitions that they read.
    pub positions: Vec<Position>,
    /// The segments that the checkpoint needs, durable; `None` when its state isn't whole yet.
    pub segments: Option<Vec<SegmentRef>>,
}

/// The manifest that shares make together; `None` while one of them isn't whole.
pub(crate) fn together(meta: &Meta, shares: Vec<Share>) -> Option<Manifest> {
    let mut meta = meta.clone();
    meta.delivered = shares.iter().map(|share| share.delivered).min()?;
    let (mut positions, mut segments) = (Vec::new(), Vec::new());
    for share in shares {
        positions.extend(share.positions);
        segments.extend(share.segments?);
    }
    positions.sort_by_key(|position| position.partition);
    meta.positions = positions;
    segments.sort_by_key(|segment| segment.number);
    Some(Manifest { meta, segments })
}
