//! The process's clocks, as the engine sees them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tidewatch_dataflow::Clock;
use tidewatch_proto::ids::{EPOCH_MS, Epoch};

/// Epochs by the monotonic clock, numbered on from a base.
#[derive(Debug)]
pub struct SystemClock {
    begun: Instant,
    base: AtomicU64,
}

/// A run begins so many epochs before a border: long enough for a source to answer, so that the first checkpoint has
/// something new.
const BEFORE_BORDER: u64 = 4;

impl SystemClock {
    /// The first epoch of a run that goes on from one: after it, and never before the epoch that the wall clock
    /// names, so that revisions grow even when a run could save nothing; and soon before a border, every so many epochs.
    pub fn first_epoch(restored: Option<Epoch>, border_epochs: u64) -> Epoch {
        let by_wall = wall_ms().max(0) as u64 / EPOCH_MS;
        let first = restored.map_or(by_wall, |epoch| by_wall.max(epoch.0 + 1));
        let before = BEFORE_BORDER.min(border_epochs - 1);
        Epoch((first + before).next_multiple_of(border_epochs) - before)
    }

    /// A clock that starts now at an epoch.
    pub fn starting_at(base: Epoch) -> SystemClock {
        SystemClock {
            begun: Instant::now(),
            base: AtomicU64::new(base.0),
        }
    }

    /// Goes on from the epoch that another process's clock shows, if this one is behind: an epoch is complete when the
    /// last process has come to its end, so all keep up with the fastest.
    pub fn catch_up(&self, other: Epoch) {
        let since = self.since_base();
        self.base.fetch_max(other.0.saturating_sub(since), Ordering::SeqCst);
    }

    fn since_base(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 / EPOCH_MS
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
        Epoch(self.base.load(Ordering::SeqCst) + self.since_base())
    }

    fn wall_ms(&self) -> i64 {
        wall_ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_catches_up_and_none_goes_back() {
        let clock = SystemClock::starting_at(Epoch(1_000));
        clock.catch_up(Epoch(5_000));
        let caught_up = clock.epoch();
        assert!((5_000..5_010).contains(&caught_up.0), "{caught_up:?}");
        clock.catch_up(Epoch(2_000));
        assert!(clock.epoch() >= caught_up);
    }

    #[test]
    fn a_run_begins_later_than_the_one_before_it_and_soon_before_a_border() {
        let by_wall = wall_ms() as u64 / EPOCH_MS;
        for ahead in 0..20 {
            let restored = Epoch(by_wall + 1_000 + ahead);
            let first = SystemClock::first_epoch(Some(restored), 10);
            assert!(
                first > restored && first.0 <= restored.0 + 10,
                "{first:?} after {restored:?}"
            );
            assert_eq!((first.0 + BEFORE_BORDER) % 10, 0, "{first:?}");
            assert!(SystemClock::first_epoch(Some(restored), 1) > restored);
        }
        assert!(SystemClock::first_epoch(None, 10).0 >= by_wall);
    }
}
