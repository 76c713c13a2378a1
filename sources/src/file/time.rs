//! Reads event times: numbers, RFC 3339, and dates with a time of day in UTC.

use super::config::TimeUnit;
use tidewatch_proto::time::EventTime;

const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_DAY: i64 = 24 * 60 * MS_PER_MINUTE;

/// Reads a number of `unit`s since 1970, or a date and time as [`parse_date`] does.
pub(super) fn parse(text: &str, unit: TimeUnit) -> Option<EventTime> {
    let text = text.trim();
    match (text.parse::<i64>(), unit) {
        (Ok(number), TimeUnit::Milliseconds) => Some(EventTime(number)),
        (Ok(number), TimeUnit::Seconds) => number.checked_mul(1_000).map(EventTime),
        (Err(_), _) => parse_fraction(text, unit).or_else(|| parse_date(text)),
    }
}

/// Reads `1767225600.25`, cut to whole milliseconds.
fn parse_fraction(text: &str, unit: TimeUnit) -> Option<EventTime> {
    let (whole, fraction) = text.split_once('.')?;
    let negative = whole.starts_with('-');
    let whole = whole.parse::<i64>().ok()?;
    let fraction = milliseconds(fraction.as_bytes())?;
    match unit {
        TimeUnit::Milliseconds => Some(EventTime(whole)),
        TimeUnit::Seconds => whole
            .checked_mul(1_000)?
            .checked_add(if negative { -fraction } else { fraction })
            .map(EventTime),
    }
}

/// Reads `2026-01-31T12:30:00.250Z`, with `T`, `t` or a space in the middle, with or without seconds and their
/// fraction, and with `Z`, an offset such as `+01:00`, or nothing at the end, which is UTC.
pub(super) fn parse_date(text: &str) -> Option<EventTime> {
    let bytes = text.trim().as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    if date[4] != b'-' || date[7] != b'-' || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let (clock, rest) = rest.split_at_checked(6)?;
    let (hour, minute) = (number(&clock[1..3])?, number(&clock[4..])?);
    if !matches!(clock[0], b'T' | b't' | b' ') || clock[3] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let (seconds_ms, zone) = seconds(rest)?;
    let minutes = hour * 60 + minute - zone_minutes(zone)?;
    Some(EventTime(
        days_since_1970(year, month, day) * MS_PER_DAY + minutes * MS_PER_MINUTE + seconds_ms,
    ))
}

/// Reads `:SS` and its fraction, if they are there, and returns what follows.
fn seconds(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b':', rest)) = bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return Some((0, bytes));
    };
    let (seconds, rest) = rest.split_at_checked(2)?;
    // 60 is a leap second, which counts as the one after.
    let seconds = number(seconds).filter(|seconds| *seconds <= 60)?;
    let Some((b'.', rest)) = rest.split_first().map(|(first, rest)| (*first, rest)) else {
        return Some((seconds * 1_000, rest));
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((seconds * 1_000 + milliseconds(&rest[..digits])?, &rest[digits..]))
}

/// The minutes by which a zone is ahead of UTC.
fn zone_minutes(zone: &[u8]) -> Option<i64> {
    match zone {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), hours @ ..] => {
            let minutes = match hours {
                [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => number(&[*h1, *h2])? * 60 + number(&[*m1, *m2])?,
                _ => return None,
            };
            Some(if *sign == b'+' { minutes } else { -minutes })
        }
        _ => None,
    }
}

/// The digits behind a point as milliseconds; later digits are cut off.
fn milliseconds(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = [0, 1, 2].map(|place| digits.get(place).copied().unwrap_or(b'0'));
    number(&padded)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date, by years that begin in March, so that the leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (months_since_march * 153 + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    /// Days from 0000-03-01 to 1970-01-01.
    const BEFORE_1970: i64 = 719_468;
    year * 365 + leap_days + day_of_year - BEFORE_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_way_of_writing() {
        let check =
            |text: &str, ms: i64| assert_eq!(parse(text, TimeUnit::Milliseconds), Some(EventTime(ms)), "{text}");
        check("1767225600000", 1_767_225_600_000);
        check(" -5 ", -5);
        check("1970-01-01T00:00:00Z", 0);
        check("2026-01-01 00:00:00", 1_767_225_600_000);
        check("2026-01-01T00:00:00.25Z", 1_767_225_600_250);
        check("2026-01-01t01:30:00.1239+01:30", 1_767_225_600_123);
        check("2025-12-31T23:00-0100", 1_767_225_600_000);
        check("2024-02-29 00:00:00", 1_709_164_800_000);
        check("1969-12-31 23:59:59.999", -1);
        check("0000-01-01 00:00:00", -62_167_219_200_000);
        check("5999-12-31 23:59:59.999", 127_174_492_799_999);
        assert_eq!(
            parse("1767225600.5", TimeUnit::Seconds),
            Some(EventTime(1_767_225_600_500))
        );
        assert_eq!(parse("-1.25", TimeUnit::Seconds), Some(EventTime(-1_250)));
        assert_eq!(
            parse("1767225600", TimeUnit::Seconds),
            Some(EventTime(1_767_225_600_000))
        );
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-",
            "2026-13-01 00:00:00",
            "2026-02-29 00:00:00",
            "2026-01-01",
            "2026-01-01 24:00:00",
            "2026-01-01 00:00:61",
            "2026-01-01 00:00:00.",
            "2026-01-01 00:00:00 UTC",
            "2026-01-01T00:00:00+1",
            "99999999999999999999",
            "2026-01-01é00:00:00",
        ] {
            assert_eq!(parse(text, TimeUnit::Milliseconds), None, "{text}");
        }
    }
}
