//! What objects and manifests are called.

use std::fmt;
use tidewatch_proto::ids::{Offset, Partition};

/// An hour in milliseconds.
const HOUR_MS: i64 = 3_600_000;
/// The folder of objects.
pub(crate) const RAW: &str = "raw/";
/// The folder of manifests.
pub(crate) const MANIFEST: &str = "manifest/";
const PARQUET: &str = ".parquet";
const JSON: &str = ".json";

/// An hour of the log's time, counted from 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(pub i64);

impl Hour {
    /// The hour of a time in milliseconds.
    pub fn of(ms: i64) -> Hour {
        Hour(ms.div_euclid(HOUR_MS))
    }

    /// Its first instant in milliseconds.
    pub fn start_ms(self) -> i64 {
        self.0 * HOUR_MS
    }

    /// The hour behind it.
    pub fn next(self) -> Hour {
        Hour(self.0 + 1)
    }

    /// The hour that a folder's name says.
    fn parse(date: &str, hour: &str) -> Option<Hour> {
        let mut parts = date.split('-').map(str::parse::<i64>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let parsed = Hour(days(year, month, day) * 24 + hour.parse::<i64>().ok()?);
        (parsed.to_string() == format!("date={date}/hour={hour}")).then_some(parsed)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(24));
        write!(
            f,
            "date={year:04}-{month:02}-{day:02}/hour={:02}",
            self.0.rem_euclid(24)
        )
    }
}

/// The days from 1970 until a date: years begin in March, so that leap days are last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468
}

/// The date of a day since 1970.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, in_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let of_month = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_month)
}

/// What a log is called in names: the source's own name, and which log of that name it is, if that is known.
pub fn log_name(partition_name: &str, id: &str) -> String {
    let name = partition_name.rsplit_once('/').map_or(partition_name, |(name, _)| name);
    let whole = match id {
        "" => name.to_owned(),
        id => format!("{name}.{id}"),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    whole.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

/// An object: the positions of a partition that it holds, and the hour in which the log had come to them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The hour of the latest of its records.
    pub hour: Hour,
    /// The log.
    pub log: String,
    /// The partition.
    pub partition: Partition,
    /// Its first position.
    pub first: Offset,
    /// Its last position.
    pub last: Offset,
}

impl ObjectName {
    /// What a name says; `None` when it is no object of an archive.
    pub fn parse(name: &str) -> Option<ObjectName> {
        let (hour, file) = name.strip_prefix(RAW)?.rsplit_once('/')?;
        let (date, hour) = hour.strip_prefix("date=")?.split_once("/hour=")?;
        let mut parts = file.strip_suffix(PARQUET)?.rsplitn(4, '-');
        let (last, first, partition) = (parts.next()?, parts.next()?, parts.next()?);
        let parsed = ObjectName {
            hour: Hour::parse(date, hour)?,
            log: parts.next()?.to_owned(),
            partition: Partition(partition.parse().ok()?),
            first: Offset(first.parse().ok()?),
            last: Offset(last.parse().ok()?),
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// The object that a write was to make that was cut short; `None` for all other names.
    pub fn of_unfinished(name: &str) -> Option<ObjectName> {
        let end = name.find(PARQUET)? + PARQUET.len();
        (end < name.len()).then(|| ObjectName::parse(&name[..end]))?
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectName {
            hour,
            log,
            partition,
            first,
            last,
        } = self;
        write!(
            f,
            "{RAW}{hour}/{log}-{partition}-{:020}-{:020}{PARQUET}",
            first.0, last.0
        )
    }
}

/// The folder of a partition's manifests.
pub(crate) fn manifests(log: &str, partition: Partition) -> String {
    format!("{MANIFEST}{log}/{partition}/")
}

/// A partition's manifest of a number.
pub(crate) fn manifest(log: &str, partition: Partition, number: u64) -> String {
    format!("{}{number:020}{JSON}", manifests(log, partition))
}

/// The number of a manifest of this name.
pub(crate) fn manifest_number(name: &str) -> Option<u64> {
    let (_, file) = name.rsplit_once('/')?;
    file.strip_suffix(JSON)
        .filter(|number| number.len() == 20)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_the_calendar() {
        let cases = [
            (0, "date=1970-01-01/hour=00"),
            (1_764_248_400_000, "date=2025-11-27/hour=13"),
            (951_782_400_000, "date=2000-02-29/hour=00"),
            (-1, "date=1969-12-31/hour=23"),
            (4_107_542_400_000, "date=2100-03-01/hour=00"),
        ];
        for (ms, expected) in cases {
            assert_eq!(Hour::of(ms).to_string(), expected);
        }
        for day in -800_000..800_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn names_are_read_back() {
        let name = ObjectName {
            hour: Hour::of(1_764_248_400_000),
            log: log_name("raw-events/3", "a/b"),
            partition: Partition(3),
            first: Offset(7),
            last: Offset(9),
        };
        let text = name.to_string();
        let file = "raw-events.a_b-3-00000000000000000007-00000000000000000009.parquet";
        assert_eq!(text, format!("raw/date=2025-11-27/hour=13/{file}"));
        assert_eq!(ObjectName::parse(&text), Some(name.clone()));
        assert_eq!(ObjectName::of_unfinished(&format!("{text}.12-3.new")), Some(name));
        assert_eq!(ObjectName::of_unfinished(&text), None);
        for wrong in ["raw/x.parquet", "raw/date=2025-11-27/hour=7/a-1-2-3.parquet", "lock"] {
            assert_eq!(ObjectName::parse(wrong), None, "{wrong}");
        }
        assert_eq!(manifest_number(&manifest("fleet", Partition(0), 17)), Some(17));
        assert_eq!(manifest_number("manifest/fleet/0/17.json"), None);
    }
}
