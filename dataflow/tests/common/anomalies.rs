//! What rules find, worked out from the last rows: without states, minute by minute.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use super::{Key, Msg, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewatch_proto::anomaly::{
    Anomaly, AnomalyStatus, DeadMan, Detector, Evidence, Field, Observation, Rule, Severity, Threshold,
};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;

const MINUTE: i64 = 60_000;

/// Rules that find something in random logs.
pub fn rules() -> Arc<[Rule]> {
    let threshold = |metric: &str, of, above, below, hysteresis, windows| {
        Detector::Threshold(Threshold {
            metric: metric.into(),
            of,
            above,
            below,
            hysteresis,
            windows,
        })
    };
    let rule = |name: &str, detector| Rule {
        name: name.into(),
        severity: Severity::Warning,
        detector,
    };
    Arc::new([
        rule("high", threshold("a", Field::Mean, Some(5e7), None, 1e7, 1)),
        rule("often", threshold("b", Field::Max, Some(3e7), None, 0.0, 2)),
        rule(
            "out",
            threshold("temperature", Field::Last, Some(8e7), Some(0.0), 2e7, 1),
        ),
        rule("silent", Detector::DeadMan(DeadMan { minutes: 2 })),
    ])
}

/// The key of an anomaly: rule, device, metric, start.
type Found = BTreeMap<(String, String, String, i64), (Option<i64>, Evidence)>;

/// Fails unless the last state of each anomaly is what the last rows come to.
pub fn check_anomalies(outcome: &Outcome, partitions: &[Vec<Msg>], rules: &[Rule], lateness_ms: i64) {
    let rows = outcome.last_rows();
    let mut want = Found::new();
    for rule in rules {
        match &rule.detector {
            Detector::Threshold(threshold) => thresholds(&rows, rule, threshold, &mut want),
            Detector::DeadMan(dead_man) => silences(&rows, partitions, rule, dead_man, lateness_ms, &mut want),
        }
    }
    let got = last(&outcome.anomalies);
    for (key, found) in &want {
        assert_eq!(got.get(key), Some(found), "{key:?}");
    }
    let more: Vec<_> = got.keys().filter(|key| !want.contains_key(*key)).collect();
    assert!(more.is_empty(), "nobody asked for {more:?}");
}

fn last(anomalies: &[Anomaly]) -> Found {
    let mut last: BTreeMap<_, &Anomaly> = BTreeMap::new();
    for one in anomalies {
        let key = (
            one.rule.to_string(),
            one.device.to_string(),
            one.metric.to_string(),
            one.started_at.0,
        );
        if let Some(before) = last.insert(key, one) {
            assert!(before.revision < one.revision, "{one:?} after {before:?}");
        }
    }
    let standing = last
        .into_iter()
        .filter(|(_, one)| one.status != AnomalyStatus::Withdrawn);
    let shown = standing.map(|(key, one)| {
        assert_eq!(one.ended_at.is_some(), one.status == AnomalyStatus::Cleared, "{one:?}");
        (key, (one.ended_at.map(|end| end.0), one.evidence.clone()))
    });
    shown.collect()
}

/// The minutes of each series of a metric.
fn series<'a>(rows: &'a BTreeMap<Key, Row>, metric: &str) -> BTreeMap<String, Vec<&'a Row>> {
    let mut series: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    let minutes = rows
        .iter()
        .filter(|((job, _, of, _), _)| *job == Job::Minute && of == metric);
    minutes.for_each(|((_, device, ..), row)| series.entry(device.clone()).or_default().push(row));
    series
}

fn thresholds(rows: &BTreeMap<Key, Row>, rule: &Rule, of: &Threshold, want: &mut Found) {
    for (device, minutes) in series(rows, &of.metric) {
        let value = |row: &&Row| match of.of {
            Field::Mean => row.values.sum / row.values.count as f64,
            Field::Min => row.values.min.unwrap(),
            Field::Max => row.values.max.unwrap(),
            Field::Last => row.values.last.unwrap(),
        };
        let valid = minutes.iter().filter(|row| row.values.count > 0);
        let seen: Vec<(i64, f64)> = valid.map(|row| (row.window_start.0, value(row))).collect();
        let out = |value: f64| {
            let above = of.above.map_or(f64::NEG_INFINITY, |limit| value - limit);
            above.max(of.below.map_or(f64::NEG_INFINITY, |limit| limit - value))
        };
        let mut from = 0;
        while from < seen.len() {
            let beyond = seen[from..].iter().take_while(|(_, value)| out(*value) > 0.0).count();
            if beyond < of.windows as usize {
                from += beyond + 1;
                continue;
            }
            let rest = seen[from + beyond..].iter();
            let more = rest.take_while(|(_, value)| out(*value) > -of.hysteresis).count();
            let run = &seen[from..from + beyond + more];
            let mut worst = run[0];
            for minute in run {
                worst = if out(minute.1) > out(worst.1) { *minute } else { worst };
            }
            let is_over = from + run.len() < seen.len();
            let seen = |(at, value): (i64, f64)| Observation {
                at: EventTime(at),
                value,
            };
            let evidence = Evidence::Threshold {
                of: of.of,
                low: of.below,
                high: of.above,
                first: seen(run[0]),
                worst: seen(worst),
            };
            let key = (rule.name.to_string(), device.clone(), of.metric.to_string(), run[0].0);
            want.insert(key, (is_over.then(|| run[run.len() - 1].0 + MINUTE), evidence));
            from += run.len();
        }
    }
}

fn silences(
    rows: &BTreeMap<Key, Row>,
    partitions: &[Vec<Msg>],
    rule: &Rule,
    of: &DeadMan,
    lateness_ms: i64,
    want: &mut Found,
) {
    let mut heard: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (_, device, _, start) in rows.keys().filter(|(job, ..)| *job == Job::Minute) {
        heard.entry(device.clone()).or_default().insert(start / MINUTE);
    }
    for (device, minutes) in heard {
        let home = partitions
            .iter()
            .find(|list| list.iter().any(|msg| msg.device == device));
        let latest = home.unwrap().iter().map(|msg| msg.ts).max().unwrap();
        let open = (latest - lateness_ms).div_euclid(MINUTE);
        let minutes: Vec<i64> = minutes.into_iter().collect();
        let ends = minutes[1..].iter().map(|end| (*end, Some(*end * MINUTE)));
        for (since, (end, ended_at)) in minutes.iter().zip(ends.chain([(open, None)])) {
            if end - since > i64::from(of.minutes) {
                let key = (
                    rule.name.to_string(),
                    device.clone(),
                    String::new(),
                    (since + 1) * MINUTE,
                );
                want.insert(key, (ended_at, Evidence::DeadMan { minutes: of.minutes }));
            }
        }
    }
}
