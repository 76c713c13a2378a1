//! What rules remember of a worker's devices and their series, and what they have found.

use super::track::{Known, Level, Shown, Track};
use crate::checkpoint::{Partitions, Stateful};
use crate::detectors::dead_man::{self, Heard, Silence};
use crate::detectors::threshold::{self, Episode};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus, DeadMan, Detector, Rule, Threshold};
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::time::{EventTime, PaneNo};

/// Rules, and what they know.
#[derive(Debug, Default)]
pub(super) struct Anomalies {
    rules: Vec<Arc<Rule>>,
    /// By the metric's number, as far as numbers were asked for, the thresholds that look at it.
    watching: Vec<Arc<[Watching]>>,
    /// The places of rules for whole devices.
    dead_men: Vec<usize>,
    /// By device the first and the last minute with a reading.
    heard: Vec<Heard>,
    /// By device what isn't as it should be, or wasn't lately.
    tracks: BTreeMap<u32, Vec<Track>>,
    /// By partition the last closed minute as of which silence was looked for.
    pub(super) checked: Vec<PaneNo>,
    /// Whether something is known of rules that are no more.
    pub(super) has_orphans: bool,
    ready: Vec<Anomaly>,
}

/// A threshold, and its rule's place.
type Watching = (usize, Threshold);

/// Whose an anomaly is, and the epoch that produces it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The device's number.
    pub(super) number: u32,
    /// The device.
    pub(super) device: &'a Name,
    /// The epoch.
    pub(super) epoch: Epoch,
}

impl Anomalies {
    /// What these rules know at first: nothing.
    pub(super) fn new(rules: &[Rule]) -> Anomalies {
        let rules: Vec<Arc<Rule>> = rules.iter().cloned().map(Arc::new).collect();
        let dead_men = (0..rules.len()).filter(|place| matches!(rules[*place].detector, Detector::DeadMan(_)));
        Anomalies {
            dead_men: dead_men.collect(),
            rules,
            ..Anomalies::default()
        }
    }

    /// Goes on with these rules. What others have found ends.
    pub(super) fn adopt(&mut self, rules: &[Rule]) {
        let before = std::mem::replace(self, Anomalies::new(rules));
        (self.heard, self.tracks) = (before.heard, before.tracks);
        let tracks = self.tracks.values_mut().flatten();
        for track in tracks {
            track.adopt(&self.rules);
            self.has_orphans |= !track.is_of(&self.rules);
        }
    }

    /// Whether nothing is looked for, and nothing is left of what was.
    pub(super) fn is_off(&self) -> bool {
        self.rules.is_empty() && self.tracks.is_empty()
    }

    /// Whether it is looked for devices that send nothing.
    pub(super) fn looks_for_silence(&self) -> bool {
        !self.dead_men.is_empty()
    }

    /// Makes room for so many devices.
    pub(super) fn grow(&mut self, devices: usize) {
        if self.looks_for_silence() {
            self.heard.resize(devices, Heard::NEVER);
        }
    }

    /// What has become ready since the last call, each once: of several states of one the last.
    pub(super) fn take(&mut self) -> Vec<Anomaly> {
        if self.ready.len() < 2 {
            return std::mem::take(&mut self.ready);
        }
        let key = |one: &Anomaly| (one.device.clone(), one.metric.clone(), one.rule.clone(), one.started_at);
        let last: BTreeMap<_, Anomaly> = self.ready.drain(..).map(|one| (key(&one), one)).collect();
        last.into_values().collect()
    }

    /// Learns which rules look at metrics that have numbers since it was last called.
    pub(super) fn learn<'a>(&mut self, metrics: usize, name: impl Fn(u32) -> &'a Name) {
        for number in self.watching.len()..metrics {
            let metric = name(number as u32);
            let rules = self.rules.iter().enumerate();
            let watching = rules.filter_map(|(place, rule)| match &rule.detector {
                Detector::Threshold(threshold) if threshold.metric == *metric => Some((place, threshold.clone())),
                Detector::Threshold(_) | Detector::DeadMan(_) => None,
            });
            self.watching.push(watching.collect());
        }
    }

    /// The thresholds that look at a metric, if there are any.
    #[inline]
    pub(super) fn watching(&self, metric: u32) -> Option<Arc<[Watching]>> {
        self.watching
            .get(metric as usize)
            .filter(|rules| !rules.is_empty())
            .cloned()
    }

    /// Takes a minute of a series for a rule; those before it were taken. What can't change any more is before `expired`.
    pub(super) fn step(
        &mut self,
        (place, metric): (usize, &Name),
        subject: Subject<'_>,
        (pane, value): (PaneNo, f64),
        expired: PaneNo,
    ) {
        let Detector::Threshold(threshold) = &self.rules[place].detector else {
            return;
        };
        let is_known = self.track(subject.number, place, metric).is_some();
        if !is_known && !threshold::is_beyond(threshold, value) {
            return;
        }
        let rule = self.rules[place].clone();
        self.change(subject, &rule, metric, expired, |level, threshold| {
            level.step(threshold, pane, value)
        });
    }

    /// Takes all minutes of a series for a rule again that can still change, through `through`: one of them has changed.
    pub(super) fn again(
        &mut self,
        (place, metric): (usize, &Name),
        subject: Subject<'_>,
        minutes: &[(PaneNo, f64)],
        (expired, through): (PaneNo, PaneNo),
    ) {
        let Detector::Threshold(threshold) = &self.rules[place].detector else {
            return;
        };
        let is_beyond = |(_, value): &(PaneNo, f64)| threshold::is_beyond(threshold, *value);
        if self.track(subject.number, place, metric).is_none() && !minutes.iter().any(is_beyond) {
            return;
        }
        let rule = self.rules[place].clone();
        self.change(subject, &rule, metric, expired, |level, threshold| {
            level.again(threshold, minutes, through)
        });
    }

    fn track(&self, number: u32, place: usize, metric: &Name) -> Option<&Track> {
        let rule = &self.rules[place];
        let mut tracks = self.tracks.get(&number)?.iter();
        tracks.find(|track| Arc::ptr_eq(&track.rule, rule) && track.metric == *metric)
    }

    /// Changes what a rule knows of a series, and publishes what differs.
    fn change(
        &mut self,
        subject: Subject<'_>,
        rule: &Arc<Rule>,
        metric: &Name,
        expired: PaneNo,
        change: impl FnOnce(&mut Level, &Threshold) -> Vec<Episode>,
    ) {
        let Detector::Threshold(threshold) = &rule.detector else {
            return;
        };
        let tracks = self.tracks.entry(subject.number).or_default();
        let place = tracks
            .iter()
            .position(|track| Arc::ptr_eq(&track.rule, rule) && track.metric == *metric)
            .unwrap_or_else(|| {
                tracks.push(Track::new(
                    rule.clone(),
                    metric.clone(),
                    Known::Level(Level::after(expired)),
                ));
                tracks.len() - 1
            });
        let Known::Level(level) = &mut tracks[place].known else {
            return;
        };
        let found = change(level, threshold);
        let before = std::mem::replace(&mut level.episodes, found);
        let shown = |episodes: &[Episode]| -> Vec<Shown> {
            let shown = episodes.iter().map(|episode| Shown::episode(threshold, episode));
            shown.collect()
        };
        let (before, now) = (shown(&before), shown(&level.episodes));
        let is_calm = level.is_calm();
        publish(&mut self.ready, (rule, metric), subject, before, now);
        if is_calm {
            tracks.remove(place);
            self.forget(subject.number);
        }
    }

    /// Takes the minutes of a series through `bound` for good: they can't change any more. `minutes` gives those of a
    /// metric in order, after one minute and through another.
    pub(super) fn settle(
        &mut self,
        number: u32,
        bound: PaneNo,
        minutes: impl Fn(&Threshold, PaneNo, PaneNo) -> Vec<(PaneNo, f64)>,
    ) {
        let Some(tracks) = self.tracks.get_mut(&number) else {
            return;
        };
        tracks.retain_mut(|track| match (&track.rule.detector, &mut track.known) {
            (Detector::Threshold(threshold), Known::Level(level)) => {
                level.settle(threshold, bound, &minutes);
                !level.is_calm()
            }
            (_, Known::Silences(silences)) => {
                silences.retain(|silence| silence.until.is_none_or(|until| until > bound));
                !silences.is_empty()
            }
            (Detector::DeadMan(_), Known::Level(_)) => false,
        });
        self.forget(number);
    }

    /// The devices of which something is known.
    pub(super) fn tracked(&self) -> Vec<u32> {
        self.tracks.keys().copied().collect()
    }

    fn forget(&mut self, number: u32) {
        if self.tracks.get(&number).is_some_and(Vec::is_empty) {
            self.tracks.remove(&number);
        }
    }

    /// Whether it isn't known yet that a device was heard in a minute: its other series may have said so.
    #[inline]
    pub(super) fn is_news(&self, number: u32, pane: PaneNo) -> bool {
        self.looks_for_silence() && self.heard[number as usize].last != pane
    }

    /// Whether a device is silent for a rule, when the log has closed a minute.
    #[inline]
    pub(super) fn is_silent(&self, number: u32, closed: PaneNo) -> bool {
        let last = self.heard[number as usize].last;
        let mut rules = self.dead_men.iter().map(|place| &self.rules[*place].detector);
        rules.any(|detector| matches!(detector, Detector::DeadMan(rule) if dead_man::is_silent(rule, last, closed)))
    }

    /// Takes a minute in which a device has sent a reading.
    pub(super) fn heard(&mut self, subject: Subject<'_>, pane: PaneNo, closed: PaneNo) {
        let before = self.heard[subject.number as usize];
        let is_gap = before != Heard::NEVER && (before.last.plus(1) < pane || pane < before.first);
        if is_gap || self.tracks.contains_key(&subject.number) {
            for place in self.dead_men.clone() {
                self.silences(subject, place, |rule, known| {
                    dead_man::heard(rule, known, before, pane, closed)
                });
            }
        }
        self.heard[subject.number as usize] = before.with(pane);
        // It may have come so late that the device is silent all the same.
        self.look(subject, closed);
    }

    /// Looks whether a device is silent, when the log has closed a minute.
    #[inline]
    pub(super) fn look(&mut self, subject: Subject<'_>, closed: PaneNo) {
        let last = self.heard[subject.number as usize].last;
        for at in 0..self.dead_men.len() {
            let place = self.dead_men[at];
            let Detector::DeadMan(rule) = &self.rules[place].detector else {
                continue;
            };
            if dead_man::is_silent(rule, last, closed) {
                self.silences(subject, place, |_, mut known| {
                    if known.iter().all(|silence| silence.until.is_some()) {
                        known.push(Silence {
                            since: last,
                            until: None,
                        });
                    }
                    known
                });
            }
        }
    }

    /// Changes what a rule knows of a device's silences, and publishes what differs.
    fn silences(
        &mut self,
        subject: Subject<'_>,
        place: usize,
        change: impl FnOnce(&DeadMan, Vec<Silence>) -> Vec<Silence>,
    ) {
        let rule = self.rules[place].clone();
        let Detector::DeadMan(dead_man) = &rule.detector else {
            return;
        };
        let metric = Name::from("");
        let tracks = self.tracks.entry(subject.number).or_default();
        let at = tracks.iter().position(|track| Arc::ptr_eq(&track.rule, &rule));
        let before = match at.map(|at| tracks.remove(at).known) {
            Some(Known::Silences(silences)) => silences,
            _ => Vec::new(),
        };
        let now = change(dead_man, before.clone());
        let shown = |silences: &[Silence]| -> Vec<Shown> {
            let shown = silences.iter().map(|silence| Shown::silence(dead_man, silence));
            shown.collect()
        };
        publish(&mut self.ready, (&rule, &metric), subject, shown(&before), shown(&now));
        if !now.is_empty() {
            tracks.push(Track::new(rule, metric, Known::Silences(now)));
        }
        self.forget(subject.number);
    }

    /// Ends what rules have found that are no more. `subject` gives a device, and until when its minutes are published.
    pub(super) fn end_orphans<'a>(&mut self, subject: impl Fn(u32) -> (Subject<'a>, EventTime)) {
        let Anomalies {
            rules, tracks, ready, ..
        } = self;
        tracks.retain(|number, tracks| {
            tracks.retain(|track| {
                if track.is_of(rules) {
                    return true;
                }
                let (subject, end) = subject(*number);
                let ended = |mut shown: Shown| {
                    shown.ended_at = Some(end.max(shown.started_at));
                    row((&track.rule, &track.metric), subject, shown, AnomalyStatus::Cleared)
                };
                ready.extend(track.shown().filter(|shown| shown.ended_at.is_none()).map(ended));
                false
            });
            !tracks.is_empty()
        });
    }
}

/// Publishes what differs between what was found before and what is found now. One that is found no more is withdrawn.
fn publish(
    ready: &mut Vec<Anomaly>,
    of: (&Rule, &Name),
    subject: Subject<'_>,
    mut before: Vec<Shown>,
    now: Vec<Shown>,
) {
    for shown in now {
        let known = before.iter().position(|one| one.started_at == shown.started_at);
        let known = known.map(|place| before.swap_remove(place));
        if known.is_none_or(|known| known != shown) {
            let status = match shown.ended_at {
                Some(_) => AnomalyStatus::Cleared,
                None => AnomalyStatus::Raised,
            };
            ready.push(row(of, subject, shown, status));
        }
    }
    let gone = before.into_iter();
    ready.extend(gone.map(|shown| row(of, subject, shown, AnomalyStatus::Withdrawn)));
}

fn row((rule, metric): (&Rule, &Name), subject: Subject<'_>, shown: Shown, status: AnomalyStatus) -> Anomaly {
    Anomaly {
        rule: rule.name.clone(),
        detector: rule.detector.as_str().into(),
        severity: rule.severity,
        device: subject.device.clone(),
        metric: metric.clone(),
        started_at: shown.started_at,
        ended_at: shown.ended_at,
        status,
        evidence: shown.evidence,
        revision: subject.epoch,
    }
}

impl Stateful for Anomalies {
    fn name(&self) -> &'static str {
        "anomalies"
    }

    fn save(&self, device: u32, out: &mut Vec<u8>) {
        let heard = self.heard.get(device as usize).copied().unwrap_or(Heard::NEVER);
        let tracks = self.tracks.get(&device);
        if heard == Heard::NEVER && tracks.is_none() {
            return;
        }
        let tracks = tracks.map_or(&[][..], Vec::as_slice);
        postcard::to_io(&(heard, tracks), out).expect("every sequence knows its length, and a Vec has no end");
    }

    fn restore(&mut self, device: u32, saved: &[u8], _: &Partitions<'_>) -> Result<(), String> {
        let saved = postcard::from_bytes(saved).map_err(|error| error.to_string())?;
        let (heard, mut tracks): (Heard, Vec<Track>) = saved;
        tracks.iter_mut().for_each(|track| track.adopt(&self.rules));
        if let Some(place) = self.heard.get_mut(device as usize) {
            *place = heard;
        }
        if !tracks.is_empty() {
            self.tracks.insert(device, tracks);
        }
        Ok(())
    }
}
