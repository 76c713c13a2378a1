//! Which devices have reported lately: counted from the one-minute rows as they become durable.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::{EventTime, PaneNo};

/// A device is expected in a minute when it has reported in one of so many before it.
const EXPECTED_MINUTES: i32 = 15;
/// A minute's rows come with several checkpoints: this long after the first of them all are taken to be there.
const SETTLE: Duration = Duration::from_secs(3);
/// Silent devices that are named at most.
const SILENT_MAX: usize = 10;

/// Who has reported, minute by minute.
#[derive(Debug, Default)]
pub(crate) struct Census {
    devices: HashMap<Name, Seen>,
    /// The latest minute of all rows, when its first row came, and the minute before it.
    latest: Option<(PaneNo, Instant, Option<PaneNo>)>,
}

/// In which minutes a device has reported: the latest, and a bit for each before it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    latest: PaneNo,
    bits: u16,
}

/// One closed minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Minute {
    /// Its first instant.
    pub(crate) start: EventTime,
    /// How many devices reported.
    pub(crate) reporting: usize,
    /// How many were expected: they have reported in the quarter of an hour until then.
    pub(crate) expected: usize,
    /// Some of those that didn't report, by their ids.
    pub(crate) silent: Vec<Name>,
}

impl Census {
    /// Takes the one-minute rows among these.
    pub(crate) fn note(&mut self, rows: &[Row]) {
        let mut last: Option<(&Name, PaneNo)> = None;
        for row in rows.iter().filter(|row| row.job == Job::Minute) {
            let this = (&row.key, PaneNo::of(row.window_start));
            // The metrics of a device mostly come one after the other.
            if last != Some(this) {
                self.note_one(this.0, this.1);
                last = Some(this);
            }
        }
    }

    fn note_one(&mut self, device: &Name, minute: PaneNo) {
        if self.latest.is_none_or(|(latest, ..)| minute > latest) {
            let before = self.latest.map(|(latest, ..)| latest);
            self.latest = Some((minute, Instant::now(), before));
            self.devices
                .retain(|_, seen| seen.latest.0 >= minute.0 - EXPECTED_MINUTES);
        }
        match self.devices.entry(device.clone()) {
            Entry::Vacant(new) => drop(new.insert(Seen {
                latest: minute,
                bits: 1,
            })),
            Entry::Occupied(mut known) => known.get_mut().add(minute),
        }
    }

    /// The last minute of which all rows are there, not later than a pane.
    pub(crate) fn minute(&self, closed: Option<PaneNo>) -> Option<Minute> {
        let (latest, since, before) = self.latest?;
        let settled = match before {
            Some(before) if since.elapsed() < SETTLE => before,
            _ => latest,
        };
        let minute = closed.map_or(settled, |closed| closed.min(settled));
        let (mut reporting, mut expected, mut silent) = (0, 0, Vec::new());
        for (device, seen) in &self.devices {
            if seen.in_minutes(minute, EXPECTED_MINUTES) {
                expected += 1;
                match seen.in_minutes(minute, 1) {
                    true => reporting += 1,
                    false => silent.push(device.clone()),
                }
            }
        }
        silent.sort();
        silent.truncate(SILENT_MAX);
        Some(Minute {
            start: minute.start(),
            reporting,
            expected,
            silent,
        })
    }
}

impl Seen {
    fn add(&mut self, minute: PaneNo) {
        let ahead = i64::from(minute.0) - i64::from(self.latest.0);
        match ahead {
            1.. => {
                self.bits = u32::try_from(ahead)
                    .ok()
                    .and_then(|ahead| self.bits.checked_shl(ahead))
                    .unwrap_or(0)
                    | 1;
                self.latest = minute;
            }
            -15..=0 => self.bits |= 1 << -ahead,
            _ => {}
        }
    }

    /// Whether it has reported in one of so many minutes that end with this one.
    fn in_minutes(self, minute: PaneNo, count: i32) -> bool {
        (0..count).any(|by| {
            let behind = i64::from(self.latest.0) - i64::from(minute.0) + i64::from(by);
            (0..16).contains(&behind) && self.bits & (1 << behind) != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::ids::Epoch;
    use tidewatch_proto::row::{Status, Values};

    fn row(device: &str, metric: &str, minute: i32) -> Row {
        Row {
            job: Job::Minute,
            key: device.into(),
            metric: metric.into(),
            window_start: PaneNo(minute).start(),
            window_end: PaneNo(minute).end(),
            values: Values::default(),
            status: Status::Final,
            revision: Epoch(1),
        }
    }

    fn minute(census: &Census, closed: i32) -> (i64, usize, usize, Vec<String>) {
        let minute = census.minute(Some(PaneNo(closed))).expect("there are rows");
        let silent = minute.silent.iter().map(|device| device.to_string()).collect();
        (minute.start.0 / 60_000, minute.reporting, minute.expected, silent)
    }

    #[test]
    fn a_device_that_reported_lately_is_expected() {
        let mut census = Census::default();
        assert_eq!(census.minute(None), None);
        census.note(&[
            row("a", "t", 100),
            row("a", "p", 100),
            row("b", "t", 100),
            row("c", "t", 100),
        ]);
        census.note(&[row("a", "t", 101), row("c", "t", 101)]);
        assert_eq!(
            minute(&census, 101),
            (100, 3, 3, vec![]),
            "the rest of 101 may still come"
        );
        census.note(&[row("a", "t", 102)]);
        assert_eq!(minute(&census, 102), (101, 2, 3, vec!["b".to_owned()]));
        assert_eq!(
            minute(&census, 100),
            (100, 3, 3, vec![]),
            "not later than what is closed"
        );
        census.note(&[row("b", "t", 101)]);
        assert_eq!(minute(&census, 102), (101, 3, 3, vec![]), "late is not silent");
        census.note(&[row("a", "t", 120), row("a", "t", 121)]);
        assert_eq!(minute(&census, 121), (120, 1, 1, vec![]), "the others have left");
    }

    #[test]
    fn minutes_long_ago_count_for_nobody() {
        let mut census = Census::default();
        census.note(&[row("a", "t", 100), row("slow", "t", 10), row("a", "t", 101)]);
        assert_eq!(minute(&census, 101), (100, 1, 1, vec![]));
        let mut seen = Seen {
            latest: PaneNo(100),
            bits: 1,
        };
        seen.add(PaneNo(85));
        seen.add(PaneNo(84));
        seen.add(PaneNo(103));
        assert_eq!((seen.latest, seen.bits), (PaneNo(103), 0b1001));
        seen.add(PaneNo(2_000));
        assert_eq!(seen.bits, 1);
    }
}
