//! How fast a file is read: as fast as can be, by a rate, or by its own event times.

use tidewatch_proto::time::EventTime;

/// Says when the next record is due.
pub(super) struct Pace {
    /// Records a second.
    rate: Option<f64>,
    /// Milliseconds of event time a millisecond.
    speed: Option<f64>,
    /// When the first record was read, its event time, and how many were read since.
    begun: Option<(i64, Option<EventTime>, u64)>,
}

impl Pace {
    pub(super) fn new(rate: Option<f64>, speed: Option<f64>) -> Pace {
        Pace {
            rate,
            speed,
            begun: None,
        }
    }

    /// Whether a record need not be looked at before it is handed over.
    pub(super) fn is_free(&self) -> bool {
        self.rate.is_none() && self.speed.is_none()
    }

    /// Whether event times are needed.
    pub(super) fn needs_time(&self) -> bool {
        self.speed.is_some()
    }

    /// Whether a record of this event time may be handed over at `now_ms`; if so it counts as handed over.
    pub(super) fn admit(&mut self, ts: Option<EventTime>, now_ms: i64) -> bool {
        let (start, first_ts, count) = self.begun.get_or_insert((now_ms, ts, 0));
        let elapsed_ms = (now_ms - *start).max(0) as f64;
        let by_rate = self
            .rate
            .is_none_or(|rate| *count as f64 <= elapsed_ms * rate / 1_000.0);
        let by_time = match (self.speed, ts, &*first_ts) {
            (Some(speed), Some(ts), Some(first)) => ts.0.saturating_sub(first.0) as f64 <= elapsed_ms * speed,
            (Some(_), Some(_), None) => {
                *first_ts = ts;
                true
            }
            _ => true,
        };
        let due = by_rate && by_time;
        *count += u64::from(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_rate() {
        let mut pace = Pace::new(Some(100.0), None);
        let mut admitted = |now| (0..1_000).take_while(|_| pace.admit(None, now)).count();
        assert_eq!(
            (admitted(5_000), admitted(5_000), admitted(5_100), admitted(6_000)),
            (1, 0, 10, 90)
        );
    }

    #[test]
    fn by_event_time() {
        let mut pace = Pace::new(None, Some(60.0));
        let mut admit = |ts: i64, now: i64| pace.admit(Some(EventTime(ts)), now);
        assert!(admit(1_000_000, 7));
        assert!(!admit(1_060_000, 1_006));
        assert!(admit(1_060_000, 1_007));
        assert!(admit(900_000, 1_007), "what lies back is due at once");
    }
}
