//! A time zone by its name, as the engine takes it: how far its clocks are ahead, and when that changes.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::time::{EventTime, PaneNo};

/// Until then changes are looked up, in the years of our era; later on the last one goes on holding.
const YEARS: i64 = 2_200;

/// The calendar of a zone of the IANA database, which is in the program.
///
/// Days begin at a full minute: of the local times before zones, which had seconds, these are left out.
pub(super) fn calendar(name: &str) -> Result<Calendar, String> {
    let zone = TimeZoneDatabase::bundled().get(name);
    let zone =
        zone.map_err(|_| format!("is \"{name}\", which is no zone: write one such as \"Europe/Berlin\" or \"UTC\""))?;
    let end = Timestamp::from_second((YEARS - 1_970) * 31_556_952).unwrap_or(Timestamp::MAX);
    let minutes = |at: Timestamp| zone.to_offset(at).seconds().div_euclid(60);
    let changes = zone
        .following(Timestamp::MIN)
        .take_while(|change| change.timestamp() < end);
    let changes: Vec<(PaneNo, i32)> = changes
        .map(|change| {
            (
                PaneNo::of(EventTime(change.timestamp().as_millisecond())),
                change.offset().seconds().div_euclid(60),
            )
        })
        .collect();
    Ok(Calendar::new(minutes(first(&zone)), changes))
}

/// An instant before all changes.
fn first(zone: &TimeZone) -> Timestamp {
    let first = zone.following(Timestamp::MIN).next();
    let before = first.and_then(|change| change.timestamp().checked_sub(SignedDuration::from_secs(1)).ok());
    before.unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::Date;

    /// What begins a day, by the library's own reckoning.
    fn start(zone: &TimeZone, date: Date) -> i64 {
        let start = date.to_zoned(zone.clone()).expect("a date has a beginning");
        start.timestamp().as_millisecond()
    }

    #[test]
    fn days_are_those_of_the_database() {
        for name in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
            "America/Asuncion",
            "Asia/Beirut",
            "America/Havana",
            "America/St_Johns",
            "Pacific/Apia",
            "Africa/Casablanca",
            "Pacific/Chatham",
        ] {
            let calendar = calendar(name).expect("a zone");
            let zone = TimeZoneDatabase::bundled().get(name).expect("a zone");
            let mut date = Date::constant(1975, 1, 1);
            let end = Date::constant(2040, 1, 1);
            while date < end {
                let next = date.tomorrow().expect("there is one");
                let (from, to) = (start(&zone, date), start(&zone, next));
                // A date that a zone has left out begins with the next one.
                if from < to {
                    for inside in [from, from + (to - from) / 2, to - 60_000] {
                        let day = calendar.day(PaneNo::of(EventTime(inside))).bounds();
                        assert_eq!((day.0.0, day.1.0), (from, to), "{name} {date} at {inside}");
                    }
                }
                date = next;
            }
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for name in ["", "Mars/Olympus", "+02:00", "Europe"] {
            assert!(
                calendar(name).is_err_and(|problem| problem.contains("which is no zone")),
                "{name}"
            );
        }
        assert_eq!(calendar("UTC"), Ok(Calendar::default()));
        assert_eq!(calendar("utc"), Ok(Calendar::default()));
    }
}
