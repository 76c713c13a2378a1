//! The process's clocks, as the engine sees them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidewatch_dataflow::Clock;
use tidewatch_proto::ids::{EPOCH_MS, Epoch};

/// Epochs by the monotonic clock, numbered on from a base.
#[derive(Debug)]
pub struct SystemClock {
    begun: Instant,
    base: Epoch,
}

impl SystemClock {
    /// The first epoch of a run that goes on from one: after it, and never before the epoch that the wall clock
    /// names, so that revisions grow even when a run could save nothing.
    pub fn first_epoch(restored: Option<Epoch>) -> Epoch {
        let by_wall = wall_ms().max(0) as u64 / EPOCH_MS;
        Epoch(restored.map_or(by_wall, |epoch| by_wall.max(epoch.0 + 1)))
    }

    /// A clock that starts now at an epoch.
    pub fn starting_at(base: Epoch) -> SystemClock {
        SystemClock {
            begun: Instant::now(),
            base,
        }
    }
}

/// The wall clock, milliseconds since 1970.
pub fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}

impl Clock for SystemClock {
    fn epoch(&self) -> Epoch {
        Epoch(self.base.0 + self.begun.elapsed().as_millis() as u64 / EPOCH_MS)
    }

    fn wall_ms(&self) -> i64 {
        wall_ms()
    }
}
