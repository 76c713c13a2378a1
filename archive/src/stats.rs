//! What is counted about the archive: written by the archiver, read by `/metrics`.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tidewatch_proto::ids::{Offset, Partition};

/// The counters of a process's archive. Cheap enough to be written for each object.
#[derive(Debug, Default)]
pub struct Stats {
    /// Objects put, merged ones too.
    pub objects: AtomicU64,
    /// Bytes of these.
    pub bytes: AtomicU64,
    /// Records in objects of what was read.
    pub records: AtomicU64,
    /// Objects that others were merged into.
    pub merged: AtomicU64,
    /// Objects let go because their time was over.
    pub expired: AtomicU64,
    /// Files removed that no manifest named.
    pub removed: AtomicU64,
    /// Attempts that failed and were made again.
    pub failures: AtomicU64,
    /// Since when every attempt fails, milliseconds since 1970; 0 while they don't.
    pub failing_since_ms: AtomicI64,
    /// Bytes read and not put yet.
    pub buffered_bytes: AtomicU64,
    /// When the log appended the first record of these, milliseconds since 1970; 0 when there is none.
    pub buffered_since_ms: AtomicI64,
    /// Where each partition stands, in their order.
    pub partitions: Vec<PartitionStats>,
}

/// Where a partition stands.
#[derive(Debug)]
pub struct PartitionStats {
    /// The first position that isn't in the archive; less than 0 while that isn't known.
    pub next: AtomicI64,
    /// Records known to lie ahead of what was read for it.
    pub lag: AtomicU64,
}

impl Stats {
    /// Counters of a log of so many partitions.
    pub fn new(partitions: usize) -> Stats {
        let unknown = || PartitionStats {
            next: AtomicI64::new(-1),
            lag: AtomicU64::new(0),
        };
        Stats {
            partitions: (0..partitions).map(|_| unknown()).collect(),
            ..Stats::default()
        }
    }

    /// Notes that an object was put.
    pub(crate) fn put(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes an attempt that failed, now.
    pub fn failed(&self, now_ms: i64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        // The first one counts until one succeeds.
        let _ = self
            .failing_since_ms
            .compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Notes one that succeeded.
    pub fn succeeded(&self) {
        self.failing_since_ms.store(0, Ordering::Relaxed);
    }

    /// Notes how far a partition is in the archive.
    pub(crate) fn archived(&self, partition: Partition, next: Option<Offset>) {
        if let (Some(stats), Some(next)) = (self.partitions.get(partition.index()), next) {
            stats.next.store(next.0, Ordering::Relaxed);
        }
    }

    /// Notes how many records lie ahead.
    pub(crate) fn lags(&self, partition: Partition, records: u64) {
        if let Some(stats) = self.partitions.get(partition.index()) {
            stats.lag.store(records, Ordering::Relaxed);
        }
    }
}
