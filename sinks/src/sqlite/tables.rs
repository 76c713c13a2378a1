//! The tables of windows, and how a window and a series are one number.

use crate::SinkError;
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::{EventTime, PANE_MS};

/// A table of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Table {
    Minute,
    FiveMinutes,
    Hour,
    Rollups,
    Day,
}

/// The three kinds of names that rows are of, as numbers in the file.
pub(super) const DEVICE: i64 = 0;
const SITE: i64 = 1;
const FLEET: i64 = 2;

impl Table {
    /// How many there are.
    pub(super) const COUNT: usize = 5;
    /// All of them.
    pub(super) const ALL: [Table; Table::COUNT] = [
        Table::Minute,
        Table::FiveMinutes,
        Table::Hour,
        Table::Rollups,
        Table::Day,
    ];
    /// The order in which they leave when there is too much, those together that have windows as long.
    pub(super) const LEAVING: [&'static [Table]; 3] = [
        &[Table::Minute, Table::FiveMinutes, Table::Rollups],
        &[Table::Hour],
        &[Table::Day],
    ];

    /// The table of a job's rows.
    pub(super) fn of(job: Job) -> Table {
        match job {
            Job::Minute => Table::Minute,
            Job::FiveMinutes => Table::FiveMinutes,
            Job::Hour => Table::Hour,
            Job::Day => Table::Day,
            Job::SiteMinute | Job::FleetMinute => Table::Rollups,
        }
    }

    /// Its name in the file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Minute => "aggregates_minute",
            Table::FiveMinutes => "aggregates_five_minutes",
            Table::Hour => "aggregates_hour",
            Table::Day => "aggregates_day",
            Table::Rollups => "rollups_minute",
        }
    }

    /// How many minutes of one series are packed together.
    pub(super) fn period(self) -> i64 {
        match self {
            Table::Hour => 24 * 60,
            // Some months.
            Table::Day => 100 * 24 * 60,
            Table::Minute | Table::FiveMinutes | Table::Rollups => 60,
        }
    }

    /// The period that a minute is of.
    pub(super) fn period_of(self, minute: i64) -> i64 {
        minute.div_euclid(self.period())
    }

    /// The tables of SQLite's that its windows are in: fresh, packed, and what rows have taken of readings beyond the
    /// horizon; each with how many minutes a step of its key is.
    pub(super) fn parts(self) -> Vec<(String, i64)> {
        let name = self.name();
        let mut parts = vec![(name.to_owned(), 1), (format!("{name}_packed"), self.period())];
        if self != Table::Rollups {
            parts.push((format!("{name}_mended"), 1));
        }
        parts
    }
}

/// What kind of name a job's rows are of.
pub(super) fn kind(job: Job) -> i64 {
    match job {
        Job::Minute | Job::FiveMinutes | Job::Hour | Job::Day => DEVICE,
        Job::SiteMinute => SITE,
        Job::FleetMinute => FLEET,
    }
}

/// The number of the minute that a row's window starts with.
pub(super) fn minute(row: &Row) -> Result<i64, SinkError> {
    let start = row.window_start.0;
    if start.rem_euclid(PANE_MS) == 0 {
        return Ok(start.div_euclid(PANE_MS));
    }
    let problem = format!("a window of {} starts at {start} ms, within a minute", row.key);
    Err(SinkError::stop("embedded", problem))
}

/// The first instant of a minute.
pub(super) fn start_of(minute: i64) -> EventTime {
    EventTime(minute.saturating_mul(PANE_MS))
}

/// A window or period of a series as one number: in the order of the windows, and then of the series.
pub(super) fn id(slot: i64, series: u32) -> i64 {
    let slot = slot.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    (slot << 32) | i64::from(series)
}

/// The window or period of such a number.
pub(super) fn slot(id: i64) -> i64 {
    id >> 32
}

/// The series of such a number.
pub(super) fn series(id: i64) -> u32 {
    (id & i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN};

    #[test]
    fn numbers_keep_the_order_and_come_apart_again() {
        let minutes = [EVENT_TIME_MIN.0 / PANE_MS, -1, 0, 1, EVENT_TIME_MAX.0 / PANE_MS];
        let mut before = i64::MIN;
        for minute in minutes {
            for number in [0, 1, u32::MAX] {
                let id = id(minute, number);
                assert!(id > before);
                assert_eq!((slot(id), series(id)), (minute, number));
                before = id;
            }
        }
    }
}
