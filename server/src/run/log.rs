//! What the process says on the terminal: a status line in place, and news above it.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What comes again and again is said so often.
const AGAIN: Duration = Duration::from_secs(60);

/// The terminal, or whatever stands for it.
#[derive(Debug)]
pub struct Terminal {
    /// Whether a status line stands below the news.
    line: Mutex<bool>,
    in_place: bool,
    told: Mutex<Told>,
}

/// What was told lately of all that may come again and again.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, Instant>);

impl Told {
    /// Whether to tell it. Texts are alike when they are so until a remark in brackets, where clients count.
    fn is_due(&mut self, text: &str, now: Instant) -> bool {
        self.0.retain(|_, last| now.saturating_duration_since(*last) < AGAIN);
        let alike = text.split(" (").next().unwrap_or(text);
        let is_due = !self.0.contains_key(alike);
        if is_due {
            self.0.insert(alike.to_owned(), now);
        }
        is_due
    }
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal {
            line: Mutex::new(false),
            in_place: std::io::stdout().is_terminal(),
            told: Mutex::default(),
        }
    }
}

impl Terminal {
    /// Whether the status line is rewritten in place.
    pub fn is_in_place(&self) -> bool {
        self.in_place
    }

    /// Says something worth keeping.
    pub fn news(&self, text: &str) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        // Whoever closed the terminal doesn't want to know.
        let _ = match std::mem::take(&mut *line) {
            true => writeln!(out, "\r\x1b[2K{text}"),
            false => writeln!(out, "{text}"),
        };
    }

    /// Says something that comes again and again while something is away: once a minute.
    pub fn trouble(&self, text: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_due(text, Instant::now()) {
            drop(told);
            self.news(text);
        }
    }

    /// Shows how things stand.
    pub fn status(&self, text: &str) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        let _ = match self.in_place {
            true => write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush()),
            false => writeln!(out, "{text}"),
        };
        *line = self.in_place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_trouble_is_told_once_a_minute() {
        let (mut told, begun) = (Told::default(), Instant::now());
        let mut is_due = |text: &str, seconds| told.is_due(text, begun + Duration::from_secs(seconds));
        assert!(is_due("a: refused (after 0ms)", 0));
        assert!(is_due("b: refused (after 0ms)", 1));
        assert!(!is_due("a: refused (after 1ms, 9 suppressed)", 59));
        assert!(is_due("a: timed out", 59));
        assert!(is_due("a: refused (after 0ms)", 60));
    }
}
