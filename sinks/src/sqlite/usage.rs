//! What the store says of its size.

use std::sync::atomic::{AtomicU64, Ordering};

/// How large the store is, and what had to leave early for that. It outlives the store and costs nothing to look at.
#[derive(Debug, Default)]
pub struct Usage {
    bytes: AtomicU64,
    evicted: [AtomicU64; 4],
}

/// What leaves before its retention is over, since the store has reached its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evicted {
    /// An hour of one-minute and five-minute windows and rollups, of all series.
    Minutes,
    /// A day of one-hour windows, of all series.
    Hours,
    /// A hundred days of windows of a day, of all series.
    Days,
    /// A dead letter.
    Letter,
}

impl Evicted {
    /// All of them.
    pub const ALL: [Evicted; 4] = [Evicted::Minutes, Evicted::Hours, Evicted::Days, Evicted::Letter];

    /// What it is called in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Evicted::Minutes => "hours_of_minutes",
            Evicted::Hours => "days_of_hours",
            Evicted::Days => "hundreds_of_days",
            Evicted::Letter => "dead_letters",
        }
    }
}

impl Usage {
    /// Bytes of the file that are in use, as of the last delivery.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many have left early since the start.
    pub fn evicted(&self, what: Evicted) -> u64 {
        self.evicted[what as usize].load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn evict(&self, what: Evicted, count: u64) {
        self.evicted[what as usize].fetch_add(count, Ordering::Relaxed);
    }
}
