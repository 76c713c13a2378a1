//! Runs summed up: medians, ranges, ratios to the first system round by round, and the table in markdown.

use super::contestant::Figures;
use std::fmt;

/// Median, least and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The one in the middle, or the mean of the two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of figures in any order; none of no figures.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted.get(middle.checked_sub(1)?)? + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Some(Self {
            median,
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

/// As `median (min..max)`, with the precision asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(
            f,
            "{:.digits$} ({:.digits$}..{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

/// All runs of one system over one topic, in the order of the rounds.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The system's name.
    pub name: String,
    /// One for each round.
    pub runs: Vec<Figures>,
}

impl Entry {
    /// The median of a figure of all runs.
    pub fn median(&self, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        Spread::of(self.runs.iter().map(figure)).map(|spread| spread.median)
    }
}

/// A figure of one system divided by the greatest of the same round of some others, round by round.
pub fn best_ratio(one: &Entry, others: &[Entry], figure: impl Fn(&Figures) -> f64) -> Option<Spread> {
    let ratios = one.runs.iter().enumerate().filter_map(|(round, run)| {
        let theirs = others.iter().filter_map(|other| other.runs.get(round)).map(&figure);
        Some(figure(run) / theirs.reduce(f64::max)?)
    });
    Spread::of(ratios)
}

const HEAD: &str = "\
| system | k msg/s, whole process | k msg/s, running | CPU s per M messages | RSS MiB | msg/s to first | CPU to first |
|---|---|---|---|---|---|---|
";

/// One topic's systems as a markdown table; each round's runs are divided by the first system's run of that round.
pub fn table(topic: &str, title: &str, entries: &[Entry]) -> String {
    let rounds = entries.first().map_or(0, |entry| entry.runs.len());
    let mut text = format!("### {topic}: {title}\n\nMedian (min..max) of {rounds} alternating rounds.\n\n{HEAD}");
    for entry in entries {
        text.push_str(&row(entry, &entries[0]));
    }
    text
}

/// One line of the table.
fn row(entry: &Entry, first: &Entry) -> String {
    let cell = |digits: usize, figure: &dyn Fn(&Figures) -> f64| {
        Spread::of(entry.runs.iter().map(figure)).map_or(String::new(), |spread| format!("{spread:.digits$}"))
    };
    let ratio = |figure: &dyn Fn(&Figures) -> f64| {
        let pairs = entry.runs.iter().zip(&first.runs);
        Spread::of(pairs.map(|(run, base)| figure(run) / figure(base))).map_or(String::new(), |s| format!("{s:.2}"))
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        entry.name,
        cell(0, &|run| run.msgs_per_s / 1e3),
        cell(0, &|run| run.running_msgs_per_s / 1e3),
        cell(2, &|run| run.cpu_s_per_million),
        cell(0, &|run| run.rss_mib),
        ratio(&|run| run.msgs_per_s),
        ratio(&|run| run.cpu_s_per_million),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(
            Spread::of([3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            Spread::of([4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let run = |cpu: f64| Figures {
            msgs_per_s: 1e6 / cpu,
            running_msgs_per_s: 2e6 / cpu,
            cpu_s_per_million: cpu,
            rss_mib: 10.0,
        };
        let bare = Entry {
            name: "bare".into(),
            runs: vec![run(1.0), run(2.0), run(4.0)],
        };
        let other = Entry {
            name: "other".into(),
            runs: vec![run(2.0), run(4.0), run(8.0)],
        };
        let text = table("w1.s", "a title", &[bare, other]);
        let last = text.lines().last().unwrap();
        let expected = "| other | 250 (125..500) | 500 (250..1000) | 4.00 (2.00..8.00) | 10 (10..10) \
                        | 0.50 (0.50..0.50) | 2.00 (2.00..2.00) |";
        assert_eq!(last, expected);
    }
}
