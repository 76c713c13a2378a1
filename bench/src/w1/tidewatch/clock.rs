//! The engine's clock in a run: the real one, but it can be put forward when there is nothing left to wait for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidewatch_dataflow::Clock;
use tidewatch_proto::ids::{EPOCH_MS, Epoch};

/// A clock that starts with epoch 1.
pub struct RunClock {
    begun: Instant,
    /// Epochs by which it was put forward.
    skipped: AtomicU64,
}

impl RunClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            begun: Instant::now(),
            skipped: AtomicU64::new(0),
        }
    }

    /// Puts the clock forward by so many epochs, and gives the one that it then shows.
    pub fn skip(&self, epochs: u64) -> Epoch {
        self.skipped.fetch_add(epochs, Ordering::SeqCst);
        self.epoch()
    }
}

impl Clock for RunClock {
    fn epoch(&self) -> Epoch {
        let elapsed = self.begun.elapsed().as_millis() as u64 / EPOCH_MS;
        Epoch(1 + elapsed + self.skipped.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64)
    }
}
