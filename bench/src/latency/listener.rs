//! Listens to open windows, and notes when a record was first in one.

use super::{Pace, now_us};
use crate::w1::METRICS;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use tidewatch_dataflow::{Live, Watch};
use tidewatch_proto::block::{RowList, RowRef};

/// How long one waits at most before looking whether to go on.
const WAIT: Duration = Duration::from_millis(10);

/// What is listened to: the open minutes of all series, with every batch.
pub(super) fn all() -> Watch {
    Watch {
        every_ms: 0,
        ..Watch::default()
    }
}

/// Each record of all devices with the microseconds since 1970 at which an open window first held it.
pub(super) fn listen(live: &Live, pace: &Pace, stop: &AtomicBool) -> Vec<(u64, u64)> {
    let mut ledger = Ledger::new(pace);
    while !stop.load(Ordering::Acquire) {
        match live.recv_timeout(WAIT) {
            Ok(list) => ledger.take(&list, now_us()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    ledger.seen
}

/// What was seen of each device.
struct Ledger {
    /// Its next record.
    next: Vec<u64>,
    seen: Vec<(u64, u64)>,
}

impl Ledger {
    fn new(pace: &Pace) -> Self {
        Self {
            next: (0..u64::from(pace.devices)).collect(),
            seen: Vec::new(),
        }
    }

    fn take(&mut self, list: &RowList, now_us: u64) {
        let Ok(()) = list.try_each(|row| {
            self.see(&row, now_us);
            Ok::<(), Infallible>(())
        });
    }

    fn see(&mut self, row: &RowRef<'_>, now_us: u64) {
        if **row.metric != *METRICS[0] {
            return;
        }
        let devices = self.next.len() as u64;
        let device = row.key.strip_prefix("dev-").and_then(|digits| digits.parse().ok());
        let Some(next) = device.and_then(|device: usize| self.next.get_mut(device)) else {
            return;
        };
        // A record's first metric is its number: the last of a window is that of the newest record in it.
        while row.values.last.is_some_and(|newest| *next as f64 <= newest) {
            self.seen.push((*next, now_us));
            *next += devices;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::ids::Epoch;
    use tidewatch_proto::row::{Job, Row, Status, Values};
    use tidewatch_proto::time::EventTime;

    #[test]
    fn a_record_is_seen_once_when_a_window_first_holds_it_or_a_later_one() {
        let row = |metric: &str, last: f64| Row {
            job: Job::Minute,
            key: "dev-000003".into(),
            metric: metric.into(),
            window_start: EventTime(0),
            window_end: EventTime(60_000),
            values: Values {
                last: Some(last),
                ..Values::default()
            },
            status: Status::Live,
            revision: Epoch(1),
        };
        let mut ledger = Ledger {
            next: (0..10).collect(),
            seen: Vec::new(),
        };
        ledger.take(&RowList::Rows(vec![row(METRICS[0], 3.0), row(METRICS[1], 99.0)]), 7);
        ledger.take(&RowList::Rows(vec![row(METRICS[0], 3.0)]), 8);
        ledger.take(&RowList::Rows(vec![row(METRICS[0], 23.0)]), 9);
        assert_eq!(ledger.seen, [(3, 7), (13, 9), (23, 9)]);
    }
}
