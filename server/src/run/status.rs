//! One line a second that says how things stand.

use std::time::{Duration, Instant};
use tidewatch_dataflow::stats::Stats;

/// Turns counters into a line, with rates since the last one.
#[derive(Debug)]
pub struct StatusLine {
    at: Instant,
    messages: u64,
    readings: u64,
}

impl Default for StatusLine {
    fn default() -> StatusLine {
        StatusLine {
            at: Instant::now(),
            messages: 0,
            readings: 0,
        }
    }
}

impl StatusLine {
    /// The line now.
    pub fn line(&mut self, stats: &Stats) -> String {
        let (messages, readings) = (stats.messages.get(), stats.readings.get());
        let seconds = self.at.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let rate = |now: u64, before: u64| short((now.saturating_sub(before)) as f64 / seconds);
        let lag: i64 = stats
            .partitions
            .iter()
            .map(|partition| partition.lag_records.get())
            .sum();
        let line = format!(
            "{} messages/s  {} readings/s  {} devices  {} open panes  {} late  {} dead letters  lag {}",
            rate(messages, self.messages),
            rate(readings, self.readings),
            short(stats.devices.get() as f64),
            short(stats.panes_open.get() as f64),
            short(stats.late.get() as f64),
            short(stats.dead_letters_total() as f64),
            short(lag as f64),
        );
        *self = StatusLine {
            at: Instant::now(),
            messages,
            readings,
        };
        line
    }
}

/// What a whole run came to.
pub fn total(stats: &Stats) -> String {
    format!(
        "{} messages, {} readings of {} devices: {} final rows, {} corrected; {} late, {} repeated, {} dead letters",
        stats.messages.get(),
        stats.readings.get(),
        stats.devices.get(),
        stats.rows_final.get(),
        stats.rows_corrected.get(),
        stats.late.get(),
        stats.duplicates.get(),
        stats.dead_letters_total(),
    )
}

/// A number in at most five places.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e7 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 999.4, 12_345.0, 12_345_678.0].map(short),
            ["0", "999", "12.3k", "12.3M"]
        );
    }

    #[test]
    fn the_line_names_what_it_shows() {
        let stats = Stats::new(1);
        stats.messages.add(5);
        let line = StatusLine::default().line(&stats);
        for name in [
            "messages/s",
            "readings/s",
            "devices",
            "open panes",
            "late",
            "dead letters",
            "lag",
        ] {
            assert!(line.contains(name), "{line}");
        }
    }
}
