//! What the log says of itself: whether it can be written, what waits for that, and what has left.

use super::partition::{Part, Shared};
use super::segment::Segment;
use super::source::LogFactory;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Why files leave the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Their time was over.
    Age,
    /// What came had to have room.
    Room,
}

/// What has left for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Files.
    pub files: u64,
    /// Their records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHealth {
    /// Bytes of all its files.
    pub bytes: u64,
    /// Since when it can't be written, milliseconds since 1970; none while it can.
    pub failing_since_ms: Option<i64>,
    /// Attempts to write that failed.
    pub failures: u64,
    /// Bytes that were appended and are not durable yet.
    pub waiting_bytes: u64,
    /// Since when the first of them wait, milliseconds since 1970.
    pub waiting_since_ms: Option<i64>,
    /// What has left since the start because its time was over.
    pub by_age: Left,
    /// What has left since the start to make room.
    pub by_room: Left,
}

/// The counters behind it.
#[derive(Debug)]
pub(super) struct Health {
    /// [`NEVER`] while it can be written.
    failing_since_ms: AtomicI64,
    failures: AtomicU64,
    waiting_bytes: AtomicU64,
    /// [`NEVER`] while nothing waits.
    waiting_since_ms: AtomicI64,
    left: [LeftCounters; 2],
}

const NEVER: i64 = i64::MIN;

#[derive(Debug, Default)]
struct LeftCounters {
    files: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            failing_since_ms: AtomicI64::new(NEVER),
            failures: AtomicU64::default(),
            waiting_bytes: AtomicU64::default(),
            waiting_since_ms: AtomicI64::new(NEVER),
            left: Default::default(),
        }
    }
}

impl Health {
    /// An attempt to write has failed.
    pub(super) fn failed(&self, now_ms: i64) {
        self.failures.fetch_add(1, Relaxed);
        // The first one counts until one succeeds.
        let _ = self.failing_since_ms.compare_exchange(NEVER, now_ms, Relaxed, Relaxed);
    }

    /// All was written.
    pub(super) fn succeeded(&self) {
        self.failing_since_ms.store(NEVER, Relaxed);
    }

    /// So many bytes wait, since then.
    pub(super) fn waits(&self, bytes: usize, since_ms: i64) {
        self.waiting_bytes.store(bytes as u64, Relaxed);
        self.waiting_since_ms
            .store(if bytes == 0 { NEVER } else { since_ms }, Relaxed);
    }

    /// A file has left.
    pub(super) fn left(&self, why: Leaving, segment: &Segment) {
        let left = &self.left[why as usize];
        left.files.fetch_add(1, Relaxed);
        left.records
            .fetch_add((segment.end().0 - segment.base.0).unsigned_abs(), Relaxed);
        left.bytes.fetch_add(segment.bytes(), Relaxed);
    }

    fn of(&self, why: Leaving) -> Left {
        let left = &self.left[why as usize];
        Left {
            files: left.files.load(Relaxed),
            records: left.records.load(Relaxed),
            bytes: left.bytes.load(Relaxed),
        }
    }
}

impl LogFactory {
    /// How the log is.
    pub fn health(&self) -> LogHealth {
        let health = &self.log.health;
        let some = |since: &AtomicI64| Some(since.load(Relaxed)).filter(|since| *since != NEVER);
        LogHealth {
            bytes: bytes(&self.log),
            failing_since_ms: some(&health.failing_since_ms),
            failures: health.failures.load(Relaxed),
            waiting_bytes: health.waiting_bytes.load(Relaxed),
            waiting_since_ms: some(&health.waiting_since_ms),
            by_age: health.of(Leaving::Age),
            by_room: health.of(Leaving::Room),
        }
    }
}

/// The bytes of all files.
pub(super) fn bytes(shared: &Shared) -> u64 {
    let of = |part: &Part| part.segments().iter().map(|segment| segment.bytes()).sum::<u64>();
    shared.parts.iter().map(of).sum()
}
