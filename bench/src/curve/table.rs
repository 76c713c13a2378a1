//! The curve as text, and whether it is flat.

use std::fmt::Write;

/// How much the last third of a flat curve may lie above the third before, in panes and records.
const GROWTH_MAX: f64 = 0.05;
/// The same in resident bytes, which differ by a tenth from sample to sample: an arrangement may just be merging.
const RSS_GROWTH_MAX: f64 = 0.15;

/// One look at the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Event time since the start, in milliseconds.
    pub event_ms: i64,
    /// Seconds since the start.
    pub elapsed_s: f64,
    /// Resident bytes of the process.
    pub rss_bytes: u64,
    /// Series in memory.
    pub series: i64,
    /// Panes that still take readings.
    pub panes_open: i64,
    /// Closed panes in memory.
    pub panes_closed: i64,
    /// Records in the shared arrangement of closed panes.
    pub arrangement_records: i64,
    /// Messages taken in so far.
    pub messages: u64,
    /// Rows published so far.
    pub rows: u64,
}

const HEAD: &str = "\
| event time | RSS MiB | open panes | closed panes | arrangement records | series | messages | rows | s |
|---|---|---|---|---|---|---|---|---|
";

/// The samples as a markdown table.
pub fn table(samples: &[Sample]) -> String {
    let mut text = String::from(HEAD);
    for sample in samples {
        let minutes = sample.event_ms / 60_000;
        // Writing to a string doesn't fail.
        let _ = writeln!(
            text,
            "| {}:{:02} | {:.1} | {} | {} | {} | {} | {} | {} | {:.1} |",
            minutes / 60,
            minutes % 60,
            sample.rss_bytes as f64 / f64::from(1 << 20),
            sample.panes_open,
            sample.panes_closed,
            sample.arrangement_records,
            sample.series,
            sample.messages,
            sample.rows,
            sample.elapsed_s
        );
    }
    text
}

/// Whether memory, closed panes and arrangement records no longer grow: the greatest of the last third of the
/// samples lies at most 5 %, of memory 15 %, above that of the third before. The first third may grow: hours and
/// the horizon fill. Not the mean: the arrangement merges in steps, a saw whose period is no part of a third.
pub fn is_flat(samples: &[Sample]) -> bool {
    let third = samples.len() / 3;
    let (before, last) = (
        &samples[samples.len() - 2 * third..samples.len() - third],
        &samples[samples.len() - third..],
    );
    type Figure = fn(&Sample) -> f64;
    let figures: [(Figure, f64); 3] = [
        (|sample| sample.rss_bytes as f64, RSS_GROWTH_MAX),
        (|sample| sample.panes_closed as f64, GROWTH_MAX),
        (|sample| sample.arrangement_records as f64, GROWTH_MAX),
    ];
    third > 0
        && figures.iter().all(|(figure, growth_max)| {
            let greatest = |samples: &[Sample]| samples.iter().map(figure).fold(0.0, f64::max);
            greatest(last) <= greatest(before) * (1.0 + growth_max)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss: [u64; 6]) -> Vec<Sample> {
        let sample = |rss_bytes| Sample {
            event_ms: 3_660_000,
            elapsed_s: 1.25,
            rss_bytes,
            series: 4,
            panes_open: 8,
            panes_closed: 60,
            arrangement_records: 60,
            messages: 100,
            rows: 200,
        };
        rss.map(sample).to_vec()
    }

    #[test]
    fn only_the_last_two_thirds_must_be_flat() {
        assert!(is_flat(&samples([10, 50, 100, 104, 102, 115])));
        assert!(is_flat(&samples([10, 50, 100, 80, 90, 100])));
        assert!(!is_flat(&samples([10, 50, 100, 104, 112, 125])));
        assert!(!is_flat(&[]));
    }

    #[test]
    fn a_sample_is_a_line() {
        let text = table(&samples([1 << 20; 6])[..1]);
        assert_eq!(
            text.lines().last(),
            Some("| 1:01 | 1.0 | 8 | 60 | 60 | 4 | 100 | 200 | 1.2 |")
        );
    }
}
