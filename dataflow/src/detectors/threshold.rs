//! Minutes whose value is beyond a limit.

use serde::{Deserialize, Serialize};
use tidewatch_proto::anomaly::{Evidence, Field, Observation, Threshold};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::time::PaneNo;

/// Minutes beyond the limit, from the first on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The first of them.
    pub first: Observation,
    /// The one farthest out, the first of several.
    pub worst: Observation,
    /// The first minute.
    pub begun: PaneNo,
    /// The last one so far.
    pub last: PaneNo,
    /// How many there are, counted until there are enough.
    minutes: u32,
}

/// Where a series stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Within the limits.
    #[default]
    Calm,
    /// Beyond, but not for minutes enough.
    Pending(Run),
    /// Beyond.
    Raised(Run),
}

/// What is found: a run, and whether it is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// The minutes.
    pub run: Run,
    /// Whether a minute within the limits has followed.
    pub is_over: bool,
}

impl State {
    /// Whether nothing is remembered.
    pub fn is_calm(&self) -> bool {
        *self == State::Calm
    }

    /// The run that goes on.
    pub fn raised(&self) -> Option<&Run> {
        match self {
            State::Raised(run) => Some(run),
            State::Calm | State::Pending(_) => None,
        }
    }

    /// Takes the next minute; gives the run that it has ended, if it has.
    pub fn step(&mut self, rule: &Threshold, pane: PaneNo, value: f64) -> Option<Run> {
        let excess = excess(rule, value);
        let goes_on = match self {
            State::Raised(_) => excess > -rule.hysteresis,
            State::Calm | State::Pending(_) => excess > 0.0,
        };
        let before = std::mem::take(self);
        if !goes_on {
            return match before {
                State::Raised(run) => Some(run),
                State::Calm | State::Pending(_) => None,
            };
        }
        let seen = Observation::of(pane, value);
        let mut run = match before {
            State::Pending(run) | State::Raised(run) => run,
            State::Calm => Run {
                first: seen,
                worst: seen,
                begun: pane,
                last: pane,
                minutes: 0,
            },
        };
        run.last = pane;
        run.minutes = run.minutes.saturating_add(1).min(rule.windows);
        if self::excess(rule, seen.value) > self::excess(rule, run.worst.value) {
            run.worst = seen;
        }
        *self = match run.minutes >= rule.windows {
            true => State::Raised(run),
            false => State::Pending(run),
        };
        None
    }

    /// Takes minutes one after the other; gives what is found in them, the run that goes on at last.
    pub fn run(&mut self, rule: &Threshold, minutes: impl Iterator<Item = (PaneNo, f64)>) -> Vec<Episode> {
        let ended = minutes.filter_map(|(pane, value)| self.step(rule, pane, value));
        let mut found: Vec<Episode> = ended.map(|run| Episode { run, is_over: true }).collect();
        found.extend(self.raised().cloned().map(|run| Episode { run, is_over: false }));
        found
    }
}

/// Whether a minute would begin a run.
pub fn is_beyond(rule: &Threshold, value: f64) -> bool {
    excess(rule, value) > 0.0
}

/// How far a value is beyond the nearer limit; negative within.
fn excess(rule: &Threshold, value: f64) -> f64 {
    let above = rule.above.map_or(f64::NEG_INFINITY, |limit| value - limit);
    let below = rule.below.map_or(f64::NEG_INFINITY, |limit| limit - value);
    above.max(below)
}

/// The value of a minute that a rule looks at; `None` when it has no valid reading.
pub fn value(of: Field, pane: &Pane) -> Option<f64> {
    (pane.count > 0).then_some(match of {
        Field::Mean => pane.sum / f64::from(pane.count),
        Field::Min => pane.min,
        Field::Max => pane.max,
        Field::Last => pane.last,
    })
}

/// What a run shows.
pub fn evidence(rule: &Threshold, run: &Run) -> Evidence {
    Evidence::Threshold {
        of: rule.of,
        low: rule.below,
        high: rule.above,
        first: run.first,
        worst: run.worst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(windows: u32, hysteresis: f64) -> Threshold {
        Threshold {
            metric: "m".into(),
            of: Field::Mean,
            above: Some(10.0),
            below: Some(-10.0),
            hysteresis,
            windows,
        }
    }

    /// From where to where, whether it is over, and the worst value, of what is found in minutes from 0 on; `None` is a
    /// minute without readings.
    fn found(rule: &Threshold, values: &[Option<f64>]) -> Vec<(i32, i32, bool, f64)> {
        let minutes = (0..).map(PaneNo).zip(values);
        let minutes = minutes.filter_map(|(pane, value)| value.map(|value| (pane, value)));
        let episodes = State::default().run(rule, minutes);
        let shown = |episode: Episode| {
            let run = episode.run;
            (run.begun.0, run.last.0, episode.is_over, run.worst.value)
        };
        episodes.into_iter().map(shown).collect()
    }

    #[test]
    fn a_run_lasts_from_the_first_minute_beyond_to_the_last() {
        let plain = rule(1, 0.0);
        let check = |values: &[f64], expected: &[(i32, i32, bool, f64)]| {
            let values: Vec<_> = values.iter().copied().map(Some).collect();
            assert_eq!(found(&plain, &values), expected, "{values:?}");
        };
        check(&[0.0, 10.0, -10.0], &[]);
        check(&[0.0, 11.0, 12.0, 11.5, 9.0, 0.0], &[(1, 3, true, 12.0)]);
        check(&[-11.0, 0.0, -12.0], &[(0, 0, true, -11.0), (2, 2, false, -12.0)]);
        check(&[11.0, -13.0, 0.0], &[(0, 1, true, -13.0)]);
        check(&[f64::INFINITY, 0.0], &[(0, 0, true, f64::MAX)]);
    }

    #[test]
    fn minutes_without_readings_neither_begin_nor_end_it() {
        let values = [Some(11.0), None, None, Some(12.0), None, Some(0.0)];
        assert_eq!(found(&rule(1, 0.0), &values), [(0, 3, true, 12.0)]);
        assert_eq!(found(&rule(2, 0.0), &values), [(0, 3, true, 12.0)]);
    }

    #[test]
    fn it_needs_minutes_enough_and_ends_clear_of_the_limit() {
        let values: Vec<_> = [11.0, 9.0, 11.0, 12.0, 9.0, 8.5, 11.0, 7.5, 9.5].map(Some).into();
        assert_eq!(found(&rule(2, 2.0), &values), [(2, 6, true, 12.0)]);
        assert_eq!(found(&rule(3, 2.0), &values), []);
        assert_eq!(found(&rule(3, 0.0), &values), []);
    }
}
