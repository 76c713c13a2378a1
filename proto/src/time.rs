//! Times: when a device says it measured, when the log says it arrived, and the panes between.

use serde::{Deserialize, Serialize};

/// When the device says that it measured: milliseconds since the epoch of 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventTime(pub i64);

/// When the log says that the record was appended: milliseconds since the epoch of 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogTime(pub i64);

/// The length of a pane in milliseconds: one minute.
pub const PANE_MS: i64 = 60_000;

/// A minute of event time, numbered from 1970: the slice that per-series windows are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PaneNo(pub i32);

impl PaneNo {
    /// Before every pane that can hold a reading.
    pub const NONE: PaneNo = PaneNo(i32::MIN);

    /// The pane that an event time falls into.
    pub fn of(time: EventTime) -> PaneNo {
        let pane = time.0.div_euclid(PANE_MS);
        PaneNo(pane.clamp(i64::from(i32::MIN) + 2, i64::from(i32::MAX) - 2) as i32)
    }

    /// The last pane that is closed when the watermark stands at `watermark`: its end is not after it.
    pub fn closed_by(watermark: EventTime) -> PaneNo {
        PaneNo(PaneNo::of(watermark).0 - 1)
    }

    /// The first instant of the pane.
    pub fn start(self) -> EventTime {
        EventTime(i64::from(self.0) * PANE_MS)
    }

    /// The first instant after the pane.
    pub fn end(self) -> EventTime {
        EventTime((i64::from(self.0) + 1) * PANE_MS)
    }

    /// The pane `by` panes later (earlier when negative), without overflow.
    pub fn plus(self, by: i32) -> PaneNo {
        PaneNo(self.0.saturating_add(by))
    }
}

/// The earliest event time that is accepted: the first instant of the year 0000.
pub const EVENT_TIME_MIN: EventTime = EventTime(-62_167_219_200_000);
/// The latest event time that is accepted: the last instant of the year 5999, so that pane numbers fit 32 bits.
pub const EVENT_TIME_MAX: EventTime = EventTime(127_174_492_799_999);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_before_1970_are_whole() {
        assert_eq!(PaneNo::of(EventTime(-1)), PaneNo(-1));
        assert_eq!(PaneNo::of(EventTime(0)), PaneNo(0));
        assert_eq!(PaneNo::of(EventTime(59_999)), PaneNo(0));
        assert_eq!(PaneNo(-1).end(), EventTime(0));
    }

    #[test]
    fn a_pane_closes_when_the_watermark_reaches_its_end() {
        assert_eq!(PaneNo::closed_by(EventTime(59_999)), PaneNo(-1));
        assert_eq!(PaneNo::closed_by(EventTime(60_000)), PaneNo(0));
    }

    #[test]
    fn the_limits_fit_a_pane_number() {
        for time in [EVENT_TIME_MIN, EVENT_TIME_MAX] {
            assert_eq!(PaneNo::of(time).start().0, time.0.div_euclid(PANE_MS) * PANE_MS);
        }
    }
}
