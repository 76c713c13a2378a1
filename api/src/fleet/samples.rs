//! The counters once a second: rates over the last seconds, and a quarter of an hour of them.

use crate::sink_stats::SinkStats;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewatch_dataflow::stats::Stats;
use utoipa::ToSchema;

/// Rates are over so many samples.
const RATE_SAMPLES: usize = 5;
/// A point of the history is of so many samples.
const POINT_SAMPLES: usize = 5;
/// Points of the history at most: a quarter of an hour.
const POINTS_MAX: usize = 180;
/// The interval of checkpoints is over so many of them.
const CHECKPOINTS_MAX: usize = 10;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Samples {
    last: VecDeque<Sample>,
    taken: usize,
    history: VecDeque<Point>,
    checkpoints: u64,
    /// When each of the last checkpoints was seen.
    checkpoint_times: VecDeque<Instant>,
}

/// The counters at a moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    messages: u64,
    readings: u64,
    bytes: u64,
    late: u64,
    dead_letters: u64,
    rows: u64,
    sink_items: Vec<u64>,
}

/// What came in a second, now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = FleetRates)]
pub(super) struct Rates {
    pub(super) messages: f64,
    pub(super) readings: f64,
    pub(super) bytes: f64,
    pub(super) late: f64,
    pub(super) dead_letters: f64,
    pub(super) rows: f64,
    /// Rows and rejects taken, by sink.
    #[serde(skip)]
    pub(super) sinks: Vec<f64>,
}

/// What came in a second, in a few seconds of the history.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = FleetPoint)]
pub(super) struct Point {
    /// When, milliseconds since 1970.
    at: i64,
    messages: f64,
    late: f64,
    dead_letters: f64,
}

impl Samples {
    /// Looks at the counters.
    pub(super) fn take(&mut self, at: Instant, wall_ms: i64, stats: &Stats, sinks: &[Arc<SinkStats>]) {
        let sample = Sample {
            at,
            messages: stats.messages.get(),
            readings: stats.readings.get(),
            bytes: stats.bytes.get(),
            late: stats.late.get(),
            dead_letters: stats.dead_letters_total(),
            rows: stats.rows_final.get() + stats.rows_corrected.get(),
            sink_items: sinks.iter().map(|sink| sink.items.get()).collect(),
        };
        self.last.push_back(sample);
        if self.last.len() > RATE_SAMPLES + 1 {
            self.last.pop_front();
        }
        self.taken += 1;
        if self.taken > 1 && self.taken.is_multiple_of(POINT_SAMPLES) {
            let rates = self.rates();
            self.history.push_back(Point {
                at: wall_ms,
                messages: rates.messages,
                late: rates.late,
                dead_letters: rates.dead_letters,
            });
            if self.history.len() > POINTS_MAX {
                self.history.pop_front();
            }
        }
        let checkpoints = stats.checkpoints.get();
        if checkpoints != self.checkpoints {
            self.checkpoints = checkpoints;
            self.checkpoint_times.push_back(at);
            if self.checkpoint_times.len() > CHECKPOINTS_MAX {
                self.checkpoint_times.pop_front();
            }
        }
    }

    /// What came in a second, over the last few.
    pub(super) fn rates(&self) -> Rates {
        let (Some(from), Some(to)) = (self.last.front(), self.last.back()) else {
            return Rates::default();
        };
        let seconds = to.at.saturating_duration_since(from.at).as_secs_f64();
        if seconds <= 0.0 {
            return Rates::default();
        }
        let per_second = |more: u64| (more as f64 / seconds * 10.0).round() / 10.0;
        let rate = |of: fn(&Sample) -> u64| per_second(of(to).saturating_sub(of(from)));
        let items = from.sink_items.iter().zip(&to.sink_items);
        Rates {
            messages: rate(|sample| sample.messages),
            readings: rate(|sample| sample.readings),
            bytes: rate(|sample| sample.bytes),
            late: rate(|sample| sample.late),
            dead_letters: rate(|sample| sample.dead_letters),
            rows: rate(|sample| sample.rows),
            sinks: items.map(|(from, to)| per_second(to.saturating_sub(*from))).collect(),
        }
    }

    /// The last quarter of an hour.
    pub(super) fn history(&self) -> &VecDeque<Point> {
        &self.history
    }

    /// How long ago a checkpoint was seen last.
    pub(super) fn checkpoint_age(&self, now: Instant) -> Option<Duration> {
        let last = self.checkpoint_times.back()?;
        Some(now.saturating_duration_since(*last))
    }

    /// How often checkpoints are made, lately.
    pub(super) fn checkpoint_interval(&self) -> Option<Duration> {
        let (first, last) = (self.checkpoint_times.front()?, self.checkpoint_times.back()?);
        let gaps = u32::try_from(self.checkpoint_times.len() - 1)
            .ok()
            .filter(|gaps| *gaps > 0)?;
        Some(last.saturating_duration_since(*first) / gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let (stats, begun) = (Stats::new(1), Instant::now());
        let mut samples = Samples::default();
        assert_eq!(samples.rates(), Rates::default());
        for second in 0..20 {
            if second > 10 {
                stats.messages.add(100);
                stats.checkpoints.add(u64::from(second % 2 == 0));
            }
            samples.take(begun + Duration::from_secs(second), second as i64 * 1_000, &stats, &[]);
        }
        let rates = samples.rates();
        assert_eq!((rates.messages, rates.readings), (100.0, 0.0));
        let points: Vec<(i64, f64)> = samples
            .history()
            .iter()
            .map(|point| (point.at, point.messages))
            .collect();
        assert_eq!(points, [(4_000, 0.0), (9_000, 0.0), (14_000, 80.0), (19_000, 100.0)]);
        assert_eq!(samples.checkpoint_interval(), Some(Duration::from_secs(2)));
        let now = begun + Duration::from_secs(20);
        assert_eq!(samples.checkpoint_age(now), Some(Duration::from_secs(2)));
    }
}
