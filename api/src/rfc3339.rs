//! Times as text: RFC 3339 in UTC with milliseconds, from the year 0000 to 9999.

use tidewatch_proto::time::EventTime;

const DAY_MS: i64 = 86_400_000;
/// Days from 0000-01-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_528;
/// Days in 400 years.
const DAYS_400_YEARS: i64 = 146_097;
/// Days before each month of a year that is not a leap year.
const DAYS_BEFORE_MONTH: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// The time as `2025-01-31T23:59:59.999Z`.
pub(crate) fn format(time: EventTime) -> String {
    let (days, ms) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let (year, month, day) = date(days + DAYS_TO_1970);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, milli) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The time that a text says, to the millisecond; `None` when it isn't RFC 3339.
///
/// A blank before the offset counts as `+`, since that is what an unescaped `+` in a query is read as.
pub(crate) fn parse(text: &str) -> Option<EventTime> {
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[13] == b':' && bytes[16] == b':';
    if !shape || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..10])?);
    let (hour, minute, second) = (
        number(&bytes[11..13])?,
        number(&bytes[14..16])?,
        number(&bytes[17..19])?,
    );
    if !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (milli, rest) = fraction(&bytes[19..])?;
    let days = days_before_year(year) + days_before_month(year, month) + day - 1 - DAYS_TO_1970;
    let local = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + milli;
    Some(EventTime(local - offset_ms(rest)?))
}

/// The number that the digits say; `None` when there are others.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Milliseconds of a fraction, if there is one, cut off, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some(digits) = bytes.strip_prefix(b".") else {
        return Some((0, bytes));
    };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let milli = (0..3).map(|place| digits[..length].get(place).map_or(0, |digit| i64::from(digit - b'0')));
    Some((milli.fold(0, |sum, digit| sum * 10 + digit), &digits[length..]))
}

/// How far a zone is ahead of UTC: `Z` or `+hh:mm`.
fn offset_ms(zone: &[u8]) -> Option<i64> {
    if matches!(zone, b"Z" | b"z") {
        return Some(0);
    }
    if zone.len() != 6 || zone[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&zone[1..3])?, number(&zone[4..])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = (hours * 60 + minutes) * 60_000;
    match zone[0] {
        b'+' | b' ' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

/// The year, month and day of the day that is so many days after 0000-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let mut year = (days * 400).div_euclid(DAYS_400_YEARS);
    while days_before_year(year) > days {
        year -= 1;
    }
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let of_year = days - days_before_year(year);
    let month = (1..12)
        .rev()
        .find(|month| days_before_month(year, month + 1) <= of_year)
        .map_or(1, |month| month + 1);
    (year, month, of_year - days_before_month(year, month) + 1)
}

/// Days from 0000-01-01 to the first of January of a year.
fn days_before_year(year: i64) -> i64 {
    let last = year - 1;
    year * 365 + last.div_euclid(4) - last.div_euclid(100) + last.div_euclid(400) + 1
}

/// Days of a year before a month, 1 to 13.
fn days_before_month(year: i64, month: i64) -> i64 {
    DAYS_BEFORE_MONTH[(month - 1) as usize] + i64::from(month > 2 && is_leap(year))
}

fn month_days(year: i64, month: i64) -> i64 {
    days_before_month(year, month + 1) - days_before_month(year, month)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN};

    #[test]
    fn known_times() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (EVENT_TIME_MIN.0, "0000-01-01T00:00:00.000Z"),
            (EVENT_TIME_MAX.0, "5999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(EventTime(ms)), text);
            assert_eq!(parse(text), Some(EventTime(ms)), "{text}");
        }
    }

    #[test]
    fn every_day_of_nine_centuries_comes_back() {
        let mut before = String::new();
        for day in -200_000..130_000 {
            let text = format(EventTime(day * DAY_MS + 5));
            assert!(text > before, "{text} after {before}");
            assert_eq!(parse(&text), Some(EventTime(day * DAY_MS + 5)));
            before = text;
        }
    }

    #[test]
    fn zones_and_fractions() {
        let utc = parse("2023-11-14T22:13:20.5Z");
        assert_eq!(utc, Some(EventTime(1_700_000_000_500)));
        for same in [
            "2023-11-15T00:13:20.5+02:00",
            "2023-11-15t00:13:20.500999999 02:00",
            "2023-11-14 16:43:20.50-05:30",
        ] {
            assert_eq!(parse(same), utc, "{same}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "now",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-11-00T22:13:20Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:60:00Z",
            "2023-11-14T22:13:60Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20.1234567890Z",
            "2023-11-14T22:13:20+0200",
            "2023-11-14T22:13:20+24:00",
            "2023-11-14T22:13:20ZZ",
            "+023-11-14T22:13:20Z",
            "2023-11-14T22:13:20é1",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
