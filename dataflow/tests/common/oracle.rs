//! The right answer, recomputed from the log in the plainest way.

use super::logs::START;
use super::{Key, Msg};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tidewatch_dataflow::EngineConfig;
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::PaneNo;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// How clocks go: minutes ahead at first, from how many minutes after [`START`] on how many then, and when two days begin
/// there, in minutes after it; before and after, days are alike.
type Zone = (i32, Option<(i32, i32)>, [i64; 2]);

/// Zones, where [`START`] is 16:00 UTC.
const ZONES: [Zone; 5] = [
    (0, None, [480, 480 + 1_440]),
    // Clocks go forward at one in the morning, UTC: a day of 23 hours.
    (60, Some((540, 120)), [420, 420 + 1_380]),
    // Back: a day of 25 hours.
    (120, Some((540, 60)), [360, 360 + 1_500]),
    // Half an hour divides hours.
    (330, None, [150, 150 + 1_440]),
    // Forward at midnight, which is missing.
    (0, Some((480, 60)), [480, 480 + 1_380]),
];

/// One of the zones.
pub fn calendar(zone: usize) -> Arc<Calendar> {
    let (first, change, _) = ZONES[zone % ZONES.len()];
    let start = (START / MINUTE) as i32;
    let changes = change.map(|(after, ahead)| (PaneNo(start + after), ahead));
    Arc::new(Calendar::new(first, changes))
}

/// When a day begins and ends, by when the two days begin that are known.
fn day(config: &EngineConfig, ts: i64) -> (i64, i64) {
    let zone = (0..ZONES.len()).find(|zone| calendar(*zone) == config.calendar);
    let [first, second] = ZONES[zone.unwrap()].2.map(|minutes| START + minutes * MINUTE);
    if (first..second).contains(&ts) {
        return (first, second);
    }
    let from = if ts < first { first } else { second };
    let start = from + (ts - from).div_euclid(DAY) * DAY;
    (start, start + DAY)
}

/// The hour of a time, and whether it lies within one day.
fn hour(config: &EngineConfig, ts: i64) -> (i64, bool) {
    let start = ts.div_euclid(60 * MINUTE) * 60 * MINUTE;
    (start, day(config, start) == day(config, start + 59 * MINUTE))
}

/// An offset, an event time, and metrics with their values' bits.
pub type Stray = (i64, i64, Vec<(String, u64)>);

/// An event time, and metrics with the bits of their values, sorted.
type Content = (i64, Vec<(String, u64)>);

/// What a window should hold.
#[derive(Clone, Debug, Default)]
pub struct Want {
    pub values: Vec<(i64, f64)>,
    pub invalid: u64,
    pub sum: f64,
}

/// The right last rows of a log, and what else is counted.
#[derive(Default)]
pub struct Answer {
    pub windows: BTreeMap<Key, Want>,
    pub late: u64,
    pub duplicates: u64,
    pub beyond: u64,
    pub future: u64,
    /// By device what a store is to add to its rows: offset, event time, metrics.
    pub stragglers: BTreeMap<String, Vec<Stray>>,
}

#[derive(Default)]
struct Series {
    panes: BTreeMap<i64, Want>,
    /// Hours by their first instant, and which minutes they have.
    hours: BTreeMap<i64, Want>,
    in_hour: HashSet<i64>,
    /// Days by their first instant, and which hours they have.
    days: BTreeMap<i64, Want>,
    in_day: HashSet<i64>,
}

impl Want {
    fn merge(&mut self, other: &Want) {
        let was_empty = self.values.is_empty();
        self.values.extend(&other.values);
        self.invalid += other.invalid;
        if !other.values.is_empty() {
            self.sum = if was_empty { other.sum } else { self.sum + other.sum };
        }
    }
}

impl Series {
    /// Gives minutes to their hours and hours to their days, in the order in which the log closes them.
    fn close(&mut self, config: &EngineConfig, closed_ms: i64) {
        let minutes: Vec<i64> = self.panes.keys().copied().collect();
        for minute in minutes {
            let ts = minute * MINUTE;
            if ts + MINUTE > closed_ms || self.in_hour.contains(&minute) {
                continue;
            }
            self.close_hours(config, ts);
            self.in_hour.insert(minute);
            let (start, is_whole) = hour(config, ts);
            self.hours.entry(start).or_default().merge(&self.panes[&minute]);
            if !is_whole {
                let day = self.days.entry(day(config, ts).0).or_default();
                day.merge(&self.panes[&minute]);
            }
        }
        self.close_hours(config, closed_ms);
    }

    fn close_hours(&mut self, config: &EngineConfig, closed_ms: i64) {
        for (start, want) in &self.hours {
            if start + 60 * MINUTE <= closed_ms && self.in_day.insert(*start) && hour(config, *start).1 {
                self.days.entry(day(config, *start).0).or_default().merge(want);
            }
        }
    }

    /// Gives a reading that came late to the hour and the day that it may enter.
    fn late(&mut self, config: &EngineConfig, closed_ms: i64, (ts, value): (i64, f64), enters: impl Fn(i64) -> bool) {
        self.close(config, closed_ms);
        let (start, is_whole) = hour(config, ts);
        let has_closed = start + 60 * MINUTE <= closed_ms;
        if enters(start + 60 * MINUTE) {
            put(self.hours.entry(start).or_default(), ts, value);
            if has_closed {
                self.in_day.insert(start);
            }
        }
        let (day, end) = day(config, ts);
        if enters(end) && (has_closed || !is_whole) {
            put(self.days.entry(day).or_default(), ts, value);
        }
    }
}

fn put(want: &mut Want, ts: i64, value: f64) {
    if value.is_finite() {
        want.values.push((ts, value));
        want.sum += value;
    } else {
        want.invalid += 1;
    }
}

/// Recomputes the rows of a log whose devices stay on one partition.
pub fn answer(partitions: &[Vec<Msg>], config: &EngineConfig) -> Answer {
    let mut answer = Answer::default();
    let mut series: BTreeMap<(String, String), Series> = BTreeMap::new();
    let reach = if config.five_minutes { 5 } else { 1 };
    for partition in partitions {
        let mut clock = i64::MIN;
        let mut last: HashMap<String, Vec<Content>> = HashMap::new();
        for (offset, msg) in (0..).zip(partition) {
            if msg.log.is_some_and(|log| msg.ts > log + config.future_max_ms) {
                answer.future += 1;
                continue;
            }
            clock = clock.max(msg.log.map_or(msg.ts, |log| log.min(msg.ts)));
            let closed = clock - config.lateness_ms;
            let minute = msg.ts.div_euclid(MINUTE);
            let is_beyond = (minute + reach) * MINUTE <= closed - config.correction_horizon_ms;
            if is_beyond && config.stored_ms.is_none() && !msg.metrics.is_empty() {
                answer.beyond += 1;
                continue;
            }
            let late = (minute + 1) * MINUTE <= closed && !is_beyond;
            answer.late += u64::from(late && !msg.metrics.is_empty());
            if msg.metrics.is_empty() {
                continue;
            }
            let mut content: Vec<(String, u64)> = msg.metrics.iter().map(|(n, v)| (n.clone(), v.to_bits())).collect();
            content.sort();
            let seen = last.entry(msg.device.clone()).or_default();
            if config.drop_duplicates && seen.iter().rev().take(8).any(|s| *s == (msg.ts, content.clone())) {
                answer.duplicates += 1;
                continue;
            }
            seen.push((msg.ts, content));
            if is_beyond {
                for (metric, value) in &msg.metrics {
                    let own = series.entry((msg.device.clone(), metric.clone())).or_default();
                    // The last minute's window is the last one that has to have left, by whole minutes.
                    let horizon = config.correction_horizon_ms.div_euclid(MINUTE) * MINUTE;
                    let enters = |end| end + (reach - 1) * MINUTE > closed.div_euclid(MINUTE) * MINUTE - horizon;
                    own.late(config, closed, (msg.ts, *value), enters);
                }
                let metrics = msg.metrics.iter();
                let metrics = metrics.map(|(name, value)| (name.clone(), (value + 0.0).to_bits()));
                let mut metrics: Vec<(String, u64)> = metrics.collect();
                metrics.sort();
                let stray = (offset, msg.ts, metrics);
                answer.stragglers.entry(msg.device.clone()).or_default().push(stray);
                continue;
            }
            for (metric, value) in &msg.metrics {
                let own = series.entry((msg.device.clone(), metric.clone())).or_default();
                if late {
                    own.late(config, closed, (msg.ts, *value), |_| true);
                    own.in_hour.insert(minute);
                }
                put(own.panes.entry(minute).or_default(), msg.ts, *value);
            }
        }
    }
    for ((device, metric), mut own) in series {
        own.close(config, i64::MAX);
        collect(&mut answer.windows, config, &device, &metric, &own);
    }
    answer
}

fn collect(windows: &mut BTreeMap<Key, Want>, config: &EngineConfig, device: &str, metric: &str, own: &Series) {
    let key = |job, start| (job, device.to_string(), metric.to_string(), start);
    for (minute, pane) in &own.panes {
        windows.insert(key(Job::Minute, minute * MINUTE), pane.clone());
        if config.five_minutes {
            for first in minute - 4..=*minute {
                let mut want = Want::default();
                own.panes.range(first..first + 5).for_each(|(_, part)| want.merge(part));
                windows.insert(key(Job::FiveMinutes, first * MINUTE), want);
            }
        }
    }
    let longs = [(Job::Hour, config.hour, &own.hours), (Job::Day, config.day, &own.days)];
    for (job, _, own) in longs.into_iter().filter(|long| long.1) {
        windows.extend(own.iter().map(|(start, want)| (key(job, *start), want.clone())));
    }
}

/// Fails when a row is not what it should be.
pub fn check_row(row: &Row, want: &Want, quantiles: bool) {
    let at = format!("{:?} {} {} {}", row.job, row.key, row.metric, row.window_start.0);
    let v = &row.values;
    assert_eq!(
        (v.count, v.invalid_count),
        (want.values.len() as u64, want.invalid),
        "counts of {at}"
    );
    assert_eq!(
        v.sum.to_bits(),
        (want.sum + 0.0).to_bits(),
        "sum of {at}: {} for {}",
        v.sum,
        want.sum
    );
    let mut sorted: Vec<f64> = want.values.iter().map(|(_, value)| value + 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(min) = sorted.first() else {
        assert_eq!(
            (v.min, v.max, v.first, v.last, v.mean, v.stddev),
            (None, None, None, None, None, None),
            "{at}"
        );
        return;
    };
    let n = sorted.len() as f64;
    assert_eq!((v.min, v.max), (Some(*min), sorted.last().copied()), "bounds of {at}");
    assert_eq!(v.mean.map(f64::to_bits), Some((v.sum / n).to_bits()), "mean of {at}");
    let earliest = want.values.iter().map(|r| r.0).min();
    let latest = want.values.iter().map(|r| r.0).max();
    // Of several readings of one event time the log's order decides; a window of panes keeps it.
    let first = want.values.iter().find(|r| Some(r.0) == earliest).map(|r| r.1 + 0.0);
    let last = want
        .values
        .iter()
        .rev()
        .find(|r| Some(r.0) == latest)
        .map(|r| r.1 + 0.0);
    assert_eq!((v.first, v.last), (first, last), "first and last of {at}");
    if sorted.len() > 1 {
        let mean = sorted.iter().sum::<f64>() / n;
        let stddev = (sorted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let got = v.stddev.expect("two readings have a deviation");
        assert!(
            (got - stddev).abs() <= 1e-6 * (stddev + mean.abs() * 1e-6 + 1e-12),
            "{got} for {stddev}: {at}"
        );
    }
    assert_eq!(v.quantiles.is_some(), quantiles, "quantiles of {at}");
    if let Some(q) = v.quantiles {
        for (rank, got) in [(0.50, q.p50), (0.95, q.p95), (0.99, q.p99)] {
            let want = sorted[((rank * n).ceil() as usize).clamp(1, sorted.len()) - 1];
            let error_max = if sorted.len() <= 16 { 0.0 } else { want.abs() / 64.0 };
            assert!((got - want).abs() <= error_max, "p{rank} of {at}: {got} for {want}");
        }
    }
}
