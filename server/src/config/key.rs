//! What is known about a key: its type, its range, its default and a sentence.

use super::keys::DAY;
use humantime::format_duration;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::fmt;
use std::time::Duration;
use tidewatch_settings::Size;
use toml::Value;

/// A section of the configuration: `[engine.limits]`.
#[derive(Debug)]
pub struct Section {
    /// The name, with dots: `engine.limits`.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// The name within its section.
    pub name: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// What counts when nothing is written, as in an environment variable; empty for nothing.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// What may be written for a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// A path of a file or folder.
    Path,
    /// Yes or no.
    Bool,
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A number within these bounds.
    Number(f64, f64),
    /// A length of time within these bounds, in milliseconds.
    Span(i64, i64),
    /// A size within these bounds, in bytes. The struct behind it takes a text.
    Size(i64, i64),
    /// A size within these bounds, in bytes. The struct behind it takes a number.
    Bytes(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of some of these words.
    SomeOf(&'static [&'static str]),
}

impl Section {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    /// The value that counts when nothing is written; `None` when there is none.
    pub fn default_value(&self) -> Option<Value> {
        // A list can be empty; everything else is then not set.
        match (self.default, self.kind) {
            ("", Kind::Texts | Kind::SomeOf(_)) => Some(Value::Array(Vec::new())),
            ("", _) => None,
            (text, kind) => kind.read(text).ok(),
        }
    }

    /// The default as it would be written in the file.
    pub fn default_text(&self) -> String {
        match self.default_value() {
            Some(_) if matches!(self.kind, Kind::Size(..) | Kind::Bytes(..)) => format!("{:?}", self.default),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }
}

impl Kind {
    /// Reads the value of an environment variable; the error says what it is and what it must be.
    pub fn read(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let value = match self {
            Kind::Bool => text.parse().map(Value::Boolean).ok(),
            Kind::Integer(..) => text.parse().map(Value::Integer).ok(),
            Kind::Number(..) => text.parse().map(Value::Float).ok(),
            Kind::Texts | Kind::SomeOf(_) => Some(list(text)),
            Kind::Text | Kind::Path | Kind::Span(..) | Kind::Size(..) | Kind::Bytes(..) | Kind::OneOf(_) => None,
        };
        self.check(&value.unwrap_or_else(|| Value::String(text.to_owned())))
    }

    /// Checks type and range, and writes the value as the struct behind it wants it.
    pub fn check(self, value: &Value) -> Result<Value, String> {
        let checked = match (self, value) {
            (Kind::Text | Kind::Path, Value::String(_)) | (Kind::Bool, Value::Boolean(_)) => Some(value.clone()),
            (Kind::Integer(min, max), Value::Integer(number)) => within(*number, min, max).then(|| value.clone()),
            (Kind::Number(min, max), Value::Integer(number)) => number_within(*number as f64, min, max),
            (Kind::Number(min, max), Value::Float(number)) => number_within(*number, min, max),
            (Kind::Span(min, max), Value::String(text)) => {
                let ms = humantime::parse_duration(text).ok().map(|span| span.as_millis());
                let ms = ms.and_then(|ms| i64::try_from(ms).ok());
                ms.is_some_and(|ms| within(ms, min, max)).then(|| value.clone())
            }
            (Kind::Size(min, max), _) => {
                let bytes = bytes(value).filter(|bytes| within(*bytes, min, max));
                bytes.map(|bytes| Value::String(format!("{bytes}B")))
            }
            (Kind::Bytes(min, max), _) => bytes(value)
                .filter(|bytes| within(*bytes, min, max))
                .map(Value::Integer),
            (Kind::OneOf(words), Value::String(text)) => words.contains(&text.as_str()).then(|| value.clone()),
            (Kind::Texts, Value::Array(items)) => items.iter().all(Value::is_str).then(|| value.clone()),
            (Kind::SomeOf(words), Value::Array(items)) => {
                let is_known = |item: &Value| item.as_str().is_some_and(|text| words.contains(&text));
                items.iter().all(is_known).then(|| value.clone())
            }
            _ => None,
        };
        checked.ok_or_else(|| format!("is {}, must be {self}", self.shown(value)))
    }

    /// A value in an error. Free texts are never shown: an address may hold a password.
    fn shown(self, value: &Value) -> String {
        match (self, value) {
            (Kind::Text | Kind::Path, Value::String(_)) => "a text".to_owned(),
            (Kind::Text | Kind::Path, _) | (_, Value::Table(_) | Value::Datetime(_)) => article(value.type_str()),
            (_, Value::String(text)) => format!("{:?}", text.chars().take(40).collect::<String>()),
            (_, Value::Array(items)) if items.len() > 8 => "a list".to_owned(),
            (Kind::Texts, Value::Array(_)) => "a list of other things".to_owned(),
            (_, value) => value.to_string().replace('\n', " "),
        }
    }

    /// The type in a word or two, for the reference.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Path => "path",
            Kind::Bool => "true or false",
            Kind::Integer(..) => "whole number",
            Kind::Number(..) => "number",
            Kind::Span(..) => "length of time",
            Kind::Size(..) | Kind::Bytes(..) => "size",
            Kind::OneOf(_) => "word",
            Kind::Texts => "list of texts",
            Kind::SomeOf(_) => "list of words",
        }
    }

    /// The range for the reference, where there is one.
    pub fn range(self) -> String {
        match self {
            Kind::Integer(min, max) => range(min, max, |number| number.to_string()),
            Kind::Number(min, max) if max.is_finite() => format!("from {min} to {max}"),
            Kind::Number(min, _) => format!("above {min}"),
            Kind::Span(min, max) => range(min, max, span),
            Kind::Size(min, max) | Kind::Bytes(min, max) => range(min, max, size),
            Kind::OneOf(words) => words.join(", "),
            Kind::SomeOf(words) => words.join(", "),
            Kind::Text | Kind::Path | Kind::Bool | Kind::Texts => String::new(),
        }
    }
}

/// What must be written, for errors: `a length of time from 1s to 1day, such as "10s"`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = self.range();
        match self {
            Kind::Text => f.write_str("a text in quotes"),
            Kind::Path => f.write_str("a path in quotes"),
            Kind::Bool => f.write_str("true or false"),
            Kind::Integer(..) => write!(f, "a whole number {range}"),
            Kind::Number(..) => write!(f, "a number {range}"),
            Kind::Span(..) => write!(f, "a length of time {range}, such as \"10s\""),
            Kind::Size(..) | Kind::Bytes(..) => write!(f, "a size {range}, such as \"64MiB\""),
            Kind::OneOf(words) => write!(f, "one of {}", quoted(words)),
            Kind::Texts => f.write_str("a list of texts, such as [\"a\", \"b\"]"),
            Kind::SomeOf(words) => write!(f, "a list of some of {}", quoted(words)),
        }
    }
}

fn within(number: i64, min: i64, max: i64) -> bool {
    (min..=max).contains(&number)
}

/// A number in its range; without an upper bound it must be above the lower one.
fn number_within(number: f64, min: f64, max: f64) -> Option<Value> {
    let good = if max.is_finite() {
        (min..=max).contains(&number)
    } else {
        number > min && number.is_finite()
    };
    good.then_some(Value::Float(number))
}

fn bytes(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(bytes) => Some(*bytes),
        Value::String(text) => {
            let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
                text.as_str().into_deserializer();
            Size::deserialize(text).ok().and_then(|size| i64::try_from(size.0).ok())
        }
        _ => None,
    }
}

/// `a,b` or `["a", "b"]`.
fn list(text: &str) -> Value {
    if text.starts_with('[')
        && let Ok(Value::Array(items)) = text.parse()
    {
        return Value::Array(items);
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

fn range(min: i64, max: i64, show: impl Fn(i64) -> String) -> String {
    match max {
        i64::MAX => format!("from {} on", show(min)),
        max => format!("from {} to {}", show(min), show(max)),
    }
}

/// In days when it is so many: years and months have no fixed length.
pub(super) fn span(ms: i64) -> String {
    match (ms / DAY, ms % DAY) {
        (days, 0) if days > 1 => format!("{days}days"),
        _ => format_duration(Duration::from_millis(ms.unsigned_abs())).to_string(),
    }
}

fn size(bytes: i64) -> String {
    Size(bytes.unsigned_abs()).to_string()
}

fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn article(noun: &str) -> String {
    match noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        true => format!("an {noun}"),
        false => format!("a {noun}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_normalised() {
        let check = |kind: Kind, text: &str, expected: Result<&str, &str>| {
            let read = kind.read(text).map(|value| value.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{kind:?} {text}");
        };
        check(Kind::Size(0, i64::MAX), "64MiB", Ok("\"67108864B\""));
        check(Kind::Bytes(0, i64::MAX), "64MiB", Ok("67108864"));
        check(
            Kind::Bytes(0, 10),
            "1KiB",
            Err("is \"1KiB\", must be a size from 0B to 10B, such as \"64MiB\""),
        );
        check(Kind::Texts, "a, b", Ok("[\"a\", \"b\"]"));
        check(Kind::Texts, "[\"a,b\"]", Ok("[\"a,b\"]"));
        check(
            Kind::SomeOf(&["a"]),
            "b",
            Err("is [\"b\"], must be a list of some of \"a\""),
        );
        check(Kind::Number(0.0, 1.0), "1", Ok("1.0"));
        check(
            Kind::Number(0.0, f64::INFINITY),
            "0",
            Err("is 0.0, must be a number above 0"),
        );
        check(
            Kind::Integer(1, 9),
            "ten",
            Err("is \"ten\", must be a whole number from 1 to 9"),
        );
        check(Kind::Bool, "yes", Err("is \"yes\", must be true or false"));
        let array = Value::Array(vec![Value::Integer(1)]);
        assert_eq!(
            Kind::Text.check(&array),
            Err("is an array, must be a text in quotes".to_owned())
        );
    }
}
