//! Lengths of time and sizes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A length of time, written as `30s`, `1day` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// A span of milliseconds.
    pub const fn from_millis(millis: u64) -> Span {
        Span(Duration::from_millis(millis))
    }

    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Span {
        Span(Duration::from_secs(secs))
    }

    /// The span in whole milliseconds, at most `i64::MAX`.
    pub fn as_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Span)
            .map_err(|error| serde::de::Error::custom(format!("`{text}` is no length of time such as `30s`: {error}")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// A number of bytes, written as `64MiB`, `512KiB` or `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// The units of a [`Size`], largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    fn parse(text: &str) -> Option<Size> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "" => 1,
            unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).map(Size)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor) && self.0 >= *factor)
            .unwrap_or(&UNITS[3]);
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        let text = String::deserialize(deserializer)?;
        Size::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no size such as `64MiB`, `512KiB` or `4096`")))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_what_they_write() {
        for text in ["\"30s\"", "\"1day\"", "\"250ms\""] {
            let span: Span = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&span).unwrap(), text);
        }
        let error = serde_json::from_str::<Span>("\"soon\"").unwrap_err().to_string();
        assert!(error.contains("`soon` is no length of time"), "{error}");
        for (text, bytes) in [
            ("\"64MiB\"", 64 << 20),
            ("\"1536KiB\"", 1536 << 10),
            ("\"7B\"", 7),
            ("\"0B\"", 0),
        ] {
            let size: Size = serde_json::from_str(text).unwrap();
            assert_eq!(size, Size(bytes));
            assert_eq!(serde_json::to_string(&size).unwrap(), text);
        }
        assert_eq!(Size::parse("4096"), Some(Size(4096)));
        for bad in ["", "MiB", "64 parsecs", "-1", "99999999999GiB"] {
            assert_eq!(Size::parse(bad), None, "{bad}");
        }
    }
}
