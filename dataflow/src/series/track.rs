//! What one rule knows of a device or of one of its series, and what of it is published.

use crate::detectors::dead_man::Silence;
use crate::detectors::threshold::{self, Episode, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidewatch_proto::anomaly::{DeadMan, Detector, Evidence, Rule, Threshold};
use tidewatch_proto::ids::Name;
use tidewatch_proto::time::{EventTime, PaneNo};

/// What one rule knows of a device or of one of its series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Track {
    /// The rule.
    pub(super) rule: Arc<Rule>,
    /// Empty for the whole device.
    pub(super) metric: Name,
    /// What it knows.
    pub(super) known: Known,
}

/// What a rule knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Known {
    /// How a series stands to a threshold.
    Level(Level),
    /// When a device was silent.
    Silences(Vec<Silence>),
}

/// How a series stands to a threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    /// Where it stood after the minutes that can't change any more, and the last of these.
    settled: (State, PaneNo),
    /// Where it stands after the last minute that was taken, and that minute.
    latest: (State, PaneNo),
    /// The last minute beyond the limit.
    beyond: PaneNo,
    /// What was published of minutes that can still change, and what goes on.
    pub(super) episodes: Vec<Episode>,
}

/// What is published of something found: its first instant, the first after it, and why.
#[derive(PartialEq)]
pub(super) struct Shown {
    pub(super) started_at: EventTime,
    pub(super) ended_at: Option<EventTime>,
    pub(super) evidence: Evidence,
}

impl Shown {
    pub(super) fn episode(rule: &Threshold, episode: &Episode) -> Shown {
        Shown {
            started_at: episode.run.begun.start(),
            ended_at: episode.is_over.then(|| episode.run.last.end()),
            evidence: threshold::evidence(rule, &episode.run),
        }
    }

    pub(super) fn silence(rule: &DeadMan, silence: &Silence) -> Shown {
        Shown {
            started_at: silence.since.end(),
            ended_at: silence.until.map(PaneNo::start),
            evidence: Evidence::DeadMan { minutes: rule.minutes },
        }
    }
}

impl Track {
    pub(super) fn new(rule: Arc<Rule>, metric: Name, known: Known) -> Track {
        Track { rule, metric, known }
    }

    /// Becomes that of the same rule among these. One that has changed is another.
    pub(super) fn adopt(&mut self, rules: &[Arc<Rule>]) {
        if let Some(same) = rules.iter().find(|rule| **rule == self.rule) {
            self.rule = same.clone();
        }
    }

    /// Whether its rule is one of these.
    pub(super) fn is_of(&self, rules: &[Arc<Rule>]) -> bool {
        rules.iter().any(|rule| Arc::ptr_eq(rule, &self.rule))
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = Shown> {
        let shown: Vec<Shown> = match (&self.rule.detector, &self.known) {
            (Detector::Threshold(rule), Known::Level(level)) => {
                let episodes = level.episodes.iter();
                episodes.map(|episode| Shown::episode(rule, episode)).collect()
            }
            (Detector::DeadMan(rule), Known::Silences(silences)) => {
                let silences = silences.iter();
                silences.map(|silence| Shown::silence(rule, silence)).collect()
            }
            _ => Vec::new(),
        };
        shown.into_iter()
    }
}

impl Level {
    /// Of a series that is calm after a minute.
    pub(super) fn after(pane: PaneNo) -> Level {
        Level {
            settled: (State::Calm, pane),
            latest: (State::Calm, pane),
            beyond: pane,
            episodes: Vec::new(),
        }
    }

    /// Takes a minute, unless it was taken; gives what is found.
    pub(super) fn step(&mut self, rule: &Threshold, pane: PaneNo, value: f64) -> Vec<Episode> {
        if pane <= self.latest.1 {
            // A device that was saved has taken the minutes until then.
            return self.episodes.clone();
        }
        self.note(rule, pane, value);
        self.latest.1 = pane;
        let over = self.episodes.iter().filter(|episode| episode.is_over).cloned();
        let mut found: Vec<Episode> = over.collect();
        found.extend(self.latest.0.run(rule, std::iter::once((pane, value))));
        found
    }

    /// Takes minutes again that can still change, through one; gives what is found.
    pub(super) fn again(&mut self, rule: &Threshold, minutes: &[(PaneNo, f64)], through: PaneNo) -> Vec<Episode> {
        self.latest = (self.settled.0.clone(), self.latest.1.max(through));
        let (after, through) = (self.settled.1, self.latest.1);
        let minutes = minutes.iter().copied();
        let minutes = minutes.filter(|(pane, _)| *pane > after && *pane <= through);
        minutes.clone().for_each(|(pane, value)| self.note(rule, pane, value));
        self.latest.0.run(rule, minutes)
    }

    fn note(&mut self, rule: &Threshold, pane: PaneNo, value: f64) {
        if threshold::is_beyond(rule, value) {
            self.beyond = self.beyond.max(pane);
        }
    }

    /// Whether a late reading would find the same without what is known here.
    pub(super) fn is_calm(&self) -> bool {
        let nothing = self.settled.0.is_calm() && self.latest.0.is_calm() && self.episodes.is_empty();
        nothing && self.beyond <= self.settled.1
    }

    pub(super) fn settle(
        &mut self,
        rule: &Threshold,
        bound: PaneNo,
        minutes: impl Fn(&Threshold, PaneNo, PaneNo) -> Vec<(PaneNo, f64)>,
    ) {
        let bound = bound.min(self.latest.1);
        if bound <= self.settled.1 {
            return;
        }
        for (pane, value) in minutes(rule, self.settled.1, bound) {
            if let Some(ended) = self.settled.0.step(rule, pane, value) {
                self.episodes.retain(|episode| episode.run.begun != ended.begun);
            }
        }
        self.settled.1 = bound;
    }
}
