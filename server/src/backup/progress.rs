//! What is said of a backup's progress: a line for each part, and on a terminal how far the present one is.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line on a terminal is written anew.
const EVERY: Duration = Duration::from_millis(200);

/// Says how far it is.
pub struct Progress {
    in_place: bool,
    shown: Option<Instant>,
}

impl Progress {
    pub fn new() -> Progress {
        Progress {
            in_place: std::io::stdout().is_terminal(),
            shown: None,
        }
    }

    /// A part is so far.
    pub fn at(&mut self, text: impl FnOnce() -> String) {
        let is_due = self.shown.is_none_or(|last| last.elapsed() >= EVERY);
        if self.in_place && is_due {
            self.shown = Some(Instant::now());
            // Whoever closed the terminal doesn't want to know.
            let _ = write!(std::io::stdout(), "\r\x1b[2K{}", text()).and_then(|()| std::io::stdout().flush());
        }
    }

    /// Something worth keeping.
    pub fn line(&mut self, text: &str) {
        let clear = if self.in_place { "\r\x1b[2K" } else { "" };
        let _ = writeln!(std::io::stdout(), "{clear}{text}");
        self.shown = None;
    }
}

/// A number of bytes for a person.
pub fn size(bytes: u64) -> String {
    let steps = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let step = steps.into_iter().find(|(_, step)| bytes >= *step);
    step.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, step)| format!("{:.1} {unit}", bytes as f64 / step as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(1_023), "1023 bytes");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(5 << 30), "5.0 GiB");
    }
}
