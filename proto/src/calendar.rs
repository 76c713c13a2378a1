//! The windows that cover an event time. Days are a calendar's, which is given: nobody here knows a clock or a zone.

use crate::row::Job;
use crate::time::{EventTime, PANE_MS, PaneNo};

/// The minutes of a day on which no clock is changed.
const DAY_PANES: i64 = 24 * 60;
/// The minutes of an hour.
const HOUR_PANES: i32 = 60;

/// Some panes, one behind the other: the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first pane.
    pub first: PaneNo,
    /// The last pane.
    pub last: PaneNo,
}

impl Span {
    /// The hour that a pane lies in; hours are those of UTC.
    pub fn hour(pane: PaneNo) -> Span {
        let first = PaneNo(pane.0.div_euclid(HOUR_PANES).saturating_mul(HOUR_PANES));
        let last = first.plus(HOUR_PANES - 1);
        Span { first, last }
    }

    /// The first instant, and the first one after the last pane.
    pub fn bounds(self) -> (EventTime, EventTime) {
        (self.first.start(), self.last.end())
    }
}

/// How far a zone's clocks are ahead of UTC, stretch by stretch: what its days follow from.
///
/// A day begins when its date is first reached: at midnight, or where clocks jump over it right behind the jump. So days
/// lie one behind the other and each has its minutes: 1,440 of them, or as many more or fewer as clocks are changed by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// From this pane on, so many minutes ahead. The first stretch begins before all panes.
    stretches: Vec<(PaneNo, i32)>,
}

impl Default for Calendar {
    /// Days of UTC.
    fn default() -> Calendar {
        Calendar::new(0, [])
    }
}

impl Calendar {
    /// A calendar whose clocks are so many minutes ahead of UTC at first, and from each of these panes on so many.
    pub fn new(first: i32, changes: impl IntoIterator<Item = (PaneNo, i32)>) -> Calendar {
        let mut stretches = vec![(PaneNo::NONE, first)];
        stretches.extend(changes);
        assert!(
            stretches.is_sorted_by_key(|stretch| stretch.0),
            "changes in their order"
        );
        Calendar { stretches }
    }

    /// The day that a pane lies in.
    pub fn day(&self, pane: PaneNo) -> Span {
        let (at, date) = self.dated(pane);
        let (first, mut next) = (self.begins(date, at), date + 1);
        // A date that was left out has no minute.
        while self.begins(next, at) <= first {
            next += 1;
        }
        Span {
            first: within(first),
            last: within(self.begins(next, at) - 1),
        }
    }

    /// The date of the day that a pane lies in, in days since 1970.
    pub fn date(&self, pane: PaneNo) -> i64 {
        self.dated(pane).1
    }

    /// The first pane of a date.
    pub fn first(&self, date: i64) -> PaneNo {
        let near = within(date.saturating_mul(DAY_PANES));
        within(self.begins(date, self.stretch(near).saturating_sub(1)))
    }

    /// The stretch that a pane lies in.
    fn stretch(&self, pane: PaneNo) -> usize {
        self.stretches.partition_point(|stretch| stretch.0 <= pane).max(1) - 1
    }

    /// The stretch and the date that a pane lies in.
    fn dated(&self, pane: PaneNo) -> (usize, i64) {
        let at = self.stretch(pane);
        let mut date = (i64::from(pane.0) + i64::from(self.stretches[at].1)).div_euclid(DAY_PANES);
        // Where clocks are put back over midnight the evening's second half is of the day that had begun.
        while self.begins(date + 1, at) <= i64::from(pane.0) {
            date += 1;
        }
        (at, date)
    }

    /// The first pane at which the clocks show this date or a later one, near a stretch.
    fn begins(&self, date: i64, near: usize) -> i64 {
        let stretches = &self.stretches[near.saturating_sub(1)..];
        let ends = stretches
            .iter()
            .skip(1)
            .map(|next| i64::from(next.0.0))
            .chain([i64::MAX]);
        let mut firsts = stretches.iter().zip(ends).filter_map(|((from, ahead), end)| {
            let first = (date * DAY_PANES - i64::from(*ahead)).max(i64::from(from.0));
            (first < end).then_some(first)
        });
        firsts.next().unwrap_or(i64::MAX)
    }

    /// The windows of a job that cover an event time, the latest first: their first instants, and the first ones after.
    pub fn windows(&self, job: Job, at: EventTime) -> impl Iterator<Item = (EventTime, EventTime)> + use<> {
        let pane = PaneNo::of(at);
        let (first, hops, length) = match job {
            Job::Day => {
                let day = self.day(pane);
                (day.first, 1, day.last.0.wrapping_sub(day.first.0).wrapping_add(1))
            }
            Job::Hour => (Span::hour(pane).first, 1, HOUR_PANES),
            Job::FiveMinutes => (pane, 5, 5),
            Job::Minute | Job::SiteMinute | Job::FleetMinute => (pane, 1, 1),
        };
        (0..hops).map(move |by| {
            let start = first.plus(-by).start();
            (start, EventTime(start.0 + i64::from(length) * PANE_MS))
        })
    }
}

fn within(pane: i64) -> PaneNo {
    PaneNo(pane.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i32 = 60;
    const DAY: i32 = 24 * HOUR;

    /// The lengths in hours of the days around one, from their first panes.
    fn lengths(calendar: &Calendar, from: i32, days: usize) -> Vec<f64> {
        let mut pane = PaneNo(from);
        let mut lengths = Vec::new();
        for _ in 0..days {
            let day = calendar.day(pane);
            for inside in [day.first, PaneNo(day.first.0 + 1), day.last] {
                assert_eq!(calendar.day(inside), day, "{inside:?}");
                assert_eq!(calendar.first(calendar.date(inside)), day.first, "{inside:?}");
            }
            assert_eq!(
                day.first,
                if lengths.is_empty() { day.first } else { pane },
                "days have no holes"
            );
            lengths.push(f64::from(day.last.0 - day.first.0 + 1) / 60.0);
            pane = day.last.plus(1);
        }
        lengths
    }

    #[test]
    fn days_of_utc_are_alike() {
        let day = |pane| Calendar::default().day(PaneNo(pane));
        assert_eq!(
            day(-1),
            Span {
                first: PaneNo(-DAY),
                last: PaneNo(-1)
            }
        );
        assert_eq!(
            day(DAY + 5),
            Span {
                first: PaneNo(DAY),
                last: PaneNo(2 * DAY - 1)
            }
        );
        assert_eq!(lengths(&Calendar::default(), i32::MAX - 9 * DAY, 3), [24.0; 3]);
        assert_eq!(lengths(&Calendar::default(), i32::MIN + 9 * DAY, 3), [24.0; 3]);
    }

    #[test]
    fn a_day_is_as_long_as_its_clocks_say() {
        // Two hours past midnight, UTC, of the third day.
        let at = PaneNo(2 * DAY + 2 * HOUR);
        let spring = Calendar::new(60, [(PaneNo(at.0 - HOUR), 120)]);
        assert_eq!(lengths(&spring, DAY, 3), [24.0, 23.0, 24.0]);
        let autumn = Calendar::new(120, [(PaneNo(at.0 - HOUR), 60)]);
        assert_eq!(lengths(&autumn, DAY, 3), [24.0, 25.0, 24.0]);
        let half = Calendar::new(330, []);
        assert_eq!(half.day(PaneNo(0)).first, PaneNo(-330));
        assert_eq!(lengths(&half, 0, 2), [24.0, 24.0]);
    }

    #[test]
    fn midnight_may_be_missing_or_come_twice() {
        // Clocks jump from midnight to one, as in Asuncion.
        let missing = Calendar::new(-240, [(PaneNo(2 * DAY + 240), -180)]);
        assert_eq!(missing.day(PaneNo(2 * DAY + 240)).first, PaneNo(2 * DAY + 240));
        assert_eq!(lengths(&missing, DAY + 300, 3), [24.0, 23.0, 24.0]);
        // At a minute past midnight they go back by an hour, as once in St. John's: the new day goes on.
        let twice = Calendar::new(0, [(PaneNo(2 * DAY + 1), -60)]);
        assert_eq!(lengths(&twice, DAY, 3), [24.0, 25.0, 24.0]);
        assert_eq!(twice.day(PaneNo(2 * DAY + 30)).first, PaneNo(2 * DAY));
        // A date is left out, as in Apia.
        let none = Calendar::new(-600, [(PaneNo(2 * DAY + 600), 840)]);
        assert_eq!(lengths(&none, DAY + 600, 2), [24.0, 24.0]);
    }

    #[test]
    fn windows_cover_their_time() {
        let calendar = Calendar::new(330, []);
        let of = |job, at: i64| {
            let windows = calendar.windows(job, EventTime(at * PANE_MS + 5));
            windows
                .map(|(start, end)| (start.0 / PANE_MS, end.0 / PANE_MS))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Job::Minute, 7), [(7, 8)]);
        assert_eq!(of(Job::FiveMinutes, 7), [(7, 12), (6, 11), (5, 10), (4, 9), (3, 8)]);
        assert_eq!(of(Job::Hour, 67), [(60, 120)]);
        assert_eq!(of(Job::Day, 67), [(-330, 1_110)]);
    }
}
