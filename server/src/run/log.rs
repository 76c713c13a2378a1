//! What the process says on the terminal: a status line in place, and news above it.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// The terminal, or whatever stands for it.
#[derive(Debug)]
pub struct Terminal {
    /// Whether a status line stands below the news.
    line: Mutex<bool>,
    in_place: bool,
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal {
            line: Mutex::new(false),
            in_place: std::io::stdout().is_terminal(),
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
