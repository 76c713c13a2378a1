//! The watermark of a partition: the log bounds every clock.

use crate::config::EngineConfig;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::time::{EventTime, LogTime, PaneNo};

/// The progress of one partition, a function of its log alone.
///
/// The watermark is the running maximum of min(event time, log time) less the lateness: a fast clock can't
/// pull it past the log, and a silent device can't hold it back.
#[derive(Clone, Debug)]
pub struct PartitionClock {
    /// The offset where reading goes on; records before it were taken already.
    pub next: Offset,
    /// The running maximum; `i64::MIN` before the first record.
    pub clock_ms: i64,
    lateness_ms: i64,
    closed: PaneNo,
    expired: PaneNo,
    moves_at: i64,
}

impl PartitionClock {
    /// A clock that stands where it was left: at `clock_ms` (`i64::MIN` for never) before record `next`.
    pub fn new(next: Offset, clock_ms: i64, config: &EngineConfig) -> PartitionClock {
        let mut clock = PartitionClock {
            next,
            clock_ms: i64::MIN,
            lateness_ms: config.lateness_ms,
            closed: PaneNo::NONE,
            expired: PaneNo::NONE,
            moves_at: i64::MIN,
        };
        if clock_ms != i64::MIN {
            clock.advance(EventTime(clock_ms), None, config);
        }
        clock
    }

    /// Takes the times of a well-formed record.
    #[inline]
    pub fn advance(&mut self, event_time: EventTime, log_time: Option<LogTime>, config: &EngineConfig) {
        let time = log_time.map_or(event_time.0, |log| event_time.0.min(log.0));
        if time > self.clock_ms {
            self.clock_ms = time;
            if time >= self.moves_at {
                self.close(config);
            }
        }
    }

    #[cold]
    fn close(&mut self, config: &EngineConfig) {
        self.closed = PaneNo::closed_by(EventTime(self.watermark_ms()));
        self.expired = config.expired_by(self.watermark_ms());
        // Panes close and expire at multiples of a pane after the lateness (the horizon may be none).
        let by_close = self.closed.plus(1).end().0;
        let by_expiry = self
            .expired
            .plus(config.panes_per_window_max())
            .end()
            .0
            .saturating_add(config.correction_horizon_ms);
        self.moves_at = by_close.min(by_expiry).saturating_add(self.lateness_ms);
    }

    /// The watermark in milliseconds since 1970; `i64::MIN` before the first record.
    pub fn watermark_ms(&self) -> i64 {
        self.clock_ms.saturating_sub(self.lateness_ms)
    }

    /// The last pane that is closed.
    pub fn closed(&self) -> PaneNo {
        self.closed
    }

    /// The last pane whose windows have left memory.
    pub fn expired(&self) -> PaneNo {
        self.expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(config: &EngineConfig) -> PartitionClock {
        PartitionClock::new(Offset(0), i64::MIN, config)
    }

    #[test]
    fn a_fast_device_can_not_pull_it_past_the_log() {
        let config = EngineConfig::default();
        let mut clock = clock(&config);
        clock.advance(EventTime(500_000), Some(LogTime(100_000)), &config);
        assert_eq!(clock.watermark_ms(), 90_000);
        clock.advance(EventTime(50_000), Some(LogTime(200_000)), &config);
        assert_eq!(clock.watermark_ms(), 90_000);
        clock.advance(EventTime(110_000), None, &config);
        assert_eq!(clock.watermark_ms(), 100_000);
    }

    #[test]
    fn closing_and_expiry_are_what_the_watermark_says_at_every_millisecond() {
        for (horizon, five) in [(0, false), (0, true), (900_000, true), (30_500, true)] {
            let config = EngineConfig {
                correction_horizon_ms: horizon,
                five_minutes: five,
                ..EngineConfig::default()
            };
            let mut clock = clock(&config);
            for time in (-200_000..1_500_000).step_by(250) {
                clock.advance(EventTime(time), None, &config);
                assert_eq!(clock.closed(), PaneNo::closed_by(EventTime(time - 10_000)), "{time}");
                assert_eq!(clock.expired(), config.expired_by(time - 10_000), "{time}");
            }
            let restored = PartitionClock::new(clock.next, clock.clock_ms, &config);
            assert_eq!(
                (restored.closed(), restored.expired()),
                (clock.closed(), clock.expired())
            );
        }
    }
}
