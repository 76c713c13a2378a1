//! Devices that send nothing.

use serde::{Deserialize, Serialize};
use tidewatch_proto::anomaly::DeadMan;
use tidewatch_proto::time::PaneNo;

/// The first and the last minute in which a device was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The first one.
    pub first: PaneNo,
    /// The last one.
    pub last: PaneNo,
}

impl Heard {
    /// Of a device that was never heard.
    pub const NEVER: Heard = Heard {
        first: PaneNo(i32::MAX),
        last: PaneNo::NONE,
    };

    /// With one minute more.
    pub fn with(self, pane: PaneNo) -> Heard {
        Heard {
            first: self.first.min(pane),
            last: self.last.max(pane),
        }
    }
}

/// A silence of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The last minute with a reading before it.
    pub since: PaneNo,
    /// The first minute with a reading after it; `None` while it goes on.
    pub until: Option<PaneNo>,
}

impl Silence {
    /// Whether a minute lies in it.
    fn covers(&self, pane: PaneNo) -> bool {
        self.since < pane && self.until.is_none_or(|until| pane < until)
    }
}

/// Whether the minutes between two with readings are too many.
pub fn is_too_long(rule: &DeadMan, since: PaneNo, until: PaneNo) -> bool {
    i64::from(until.0) - i64::from(since.0) > i64::from(rule.minutes)
}

/// Takes a minute with a reading: what a device was known to be silent for, when it was heard before, and the last
/// minute that the log has closed. Gives what the silences come to.
pub fn heard(rule: &DeadMan, mut known: Vec<Silence>, before: Heard, pane: PaneNo, closed: PaneNo) -> Vec<Silence> {
    if let Some(place) = known.iter().position(|silence| silence.covers(pane)) {
        let silence = known.remove(place);
        // A minute that is still to come ends nothing.
        let until = silence.until.unwrap_or(closed.plus(1));
        let parts = [(silence.since, pane, Some(pane)), (pane, until, silence.until)];
        let parts = parts
            .into_iter()
            .filter(|(since, until, _)| is_too_long(rule, *since, *until));
        let parts = parts.map(|(since, _, until)| Silence { since, until });
        known.splice(place..place, parts);
        return known;
    }
    let gap = match before {
        Heard::NEVER => None,
        Heard { last, .. } if pane > last => Some((last, pane)),
        Heard { first, .. } if pane < first => Some((pane, first)),
        Heard { .. } => None,
    };
    let gap = gap.filter(|(since, until)| is_too_long(rule, *since, *until));
    known.extend(gap.map(|(since, until)| Silence {
        since,
        until: Some(until),
    }));
    known
}

/// Whether a device that was last heard in a minute is silent when the log has closed another.
pub fn is_silent(rule: &DeadMan, last: PaneNo, closed: PaneNo) -> bool {
    last != PaneNo::NONE && is_too_long(rule, last, closed.plus(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: DeadMan = DeadMan { minutes: 5 };

    /// What minutes with readings come to that are taken in this order, when the log has closed `closed` at last.
    fn silences(heard_in: &[i32], closed: i32) -> Vec<(i32, Option<i32>)> {
        let (mut known, mut before) = (Vec::new(), Heard::NEVER);
        for pane in heard_in.iter().copied().map(PaneNo) {
            let closed = before.last.max(pane);
            known = heard(&RULE, known, before, pane, closed);
            before = before.with(pane);
        }
        if is_silent(&RULE, before.last, PaneNo(closed)) {
            known.push(Silence {
                since: before.last,
                until: None,
            });
        }
        known
            .iter()
            .map(|one| (one.since.0, one.until.map(|until| until.0)))
            .collect()
    }

    #[test]
    fn so_many_minutes_without_a_reading_begin_it() {
        assert_eq!(silences(&[0], 4), []);
        assert_eq!(silences(&[0], 5), [(0, None)]);
        assert_eq!(silences(&[0, 5, 10], 14), []);
        assert_eq!(silences(&[0, 6, 20], 20), [(0, Some(6)), (6, Some(20))]);
        assert_eq!(silences(&[], 100), []);
    }

    #[test]
    fn a_late_reading_divides_it_and_takes_back_what_is_too_short() {
        assert_eq!(silences(&[0, 20, 10], 20), [(0, Some(10)), (10, Some(20))]);
        assert_eq!(silences(&[0, 20, 3], 20), [(3, Some(20))]);
        assert_eq!(silences(&[0, 8, 4], 8), []);
        assert_eq!(silences(&[0, 20, 20, 0, 3], 20), [(3, Some(20))]);
        assert_eq!(silences(&[20, 10, 7], 20), [(10, Some(20))]);
        let open = vec![Silence {
            since: PaneNo(0),
            until: None,
        }];
        let before = Heard::NEVER.with(PaneNo(0));
        let after = |pane, closed| heard(&RULE, open.clone(), before, PaneNo(pane), PaneNo(closed));
        assert_eq!(
            after(2, 9),
            [Silence {
                since: PaneNo(2),
                until: None
            }]
        );
        assert_eq!(
            after(6, 9),
            [Silence {
                since: PaneNo(0),
                until: Some(PaneNo(6))
            }]
        );
        assert_eq!(after(2, 6), []);
    }
}
