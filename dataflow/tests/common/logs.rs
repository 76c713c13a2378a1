//! Random logs, and what runs over them should yield.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use super::anomalies::check_anomalies;
use super::oracle::{Stray, answer, check_row};
use super::{Msg, Outcome};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidewatch_dataflow::EngineConfig;
use tidewatch_proto::reject::Reason;
use tidewatch_proto::row::Row;

/// When logs begin: a full hour.
pub const START: i64 = 1_750_003_200_000;

/// One partition's messages: time goes on, with disorder, and sometimes far behind.
pub fn partition(index: usize) -> impl Strategy<Value = Vec<Msg>> {
    let value = prop_oneof![
        12 => 1e-8..1e8f64,
        3 => -1e8..-1e-8f64,
        1 => Just(-0.0),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ];
    let late = prop_oneof![8 => 0..9_000i64, 2 => 0..600_000i64, 1 => 0..2_500_000i64];
    let metrics = prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "temperature"]), value, 0..4);
    let message = (
        0..6u8,
        0..8_000i64,
        late,
        metrics,
        prop::option::weighted(0.1, 1..9usize),
        any::<bool>(),
    );
    // Some go on for days.
    let stretch = prop_oneof![3 => Just(1), 1 => Just(30), 1 => Just(400)];
    (stretch, prop::collection::vec(message, 0..250)).prop_map(move |(stretch, list)| {
        let mut now = START;
        let mut log: Vec<Msg> = Vec::new();
        for (device, step, late, metrics, again, jump) in list {
            now += stretch * if jump && step < 40 { step * 20_000 } else { step };
            let metrics = metrics
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect();
            log.push(Msg {
                device: format!("p{index}-device-{device}"),
                ts: now - stretch * late,
                log: None,
                metrics,
            });
            if let Some(back) = again.filter(|back| *back <= log.len()) {
                let repeated = log[log.len() - back].clone();
                log.push(repeated);
            }
        }
        log
    })
}

/// Fails unless a run yielded the right last rows, and as many dead letters as readings came too late.
pub fn check_rows(outcome: &Outcome, partitions: &[Vec<Msg>], config: &EngineConfig) {
    let want = answer(partitions, config);
    let got = outcome.last_rows();
    for (key, row) in &got {
        check_row(
            row,
            want.windows
                .get(key)
                .unwrap_or_else(|| panic!("nobody asked for {key:?}")),
            config.quantiles,
        );
    }
    for key in want.windows.keys() {
        assert!(got.contains_key(key), "there is no {key:?}");
    }
    check_anomalies(outcome, partitions, &config.rules, config.lateness_ms);
    let beyond = outcome
        .rejects
        .iter()
        .filter(|r| r.reason == Reason::BeyondHorizon)
        .count() as u64;
    assert_eq!(beyond, want.beyond);
    let mut strays: BTreeMap<String, Vec<Stray>> = BTreeMap::new();
    for (_, one) in &outcome.stragglers {
        let metrics = one
            .readings
            .iter()
            .map(|(name, value)| (name.to_string(), (value + 0.0).to_bits()));
        let mut metrics: Vec<(String, u64)> = metrics.collect();
        metrics.sort();
        let stray = (one.offset.0, one.at.0, metrics);
        strays.entry(one.device.to_string()).or_default().push(stray);
    }
    for (device, want) in &want.stragglers {
        assert_eq!(
            strays.remove(device).as_ref(),
            Some(want),
            "what is for a store of {device}"
        );
    }
    assert!(strays.is_empty(), "nobody asked for {strays:?}");
    for (epoch, one) in &outcome.stragglers {
        let covers = |row: &&Row| row.window_start <= one.at && one.at < row.window_end && row.key == one.device;
        let covers = |row: &&Row| covers(row) && !one.taken.has(row.job);
        let last = outcome.rows.iter().filter(covers).map(|row| row.revision).max();
        assert!(
            last <= Some(*epoch),
            "a row of a window after what a store has added to it: {one:?}"
        );
    }
}

/// The same, and the counters.
pub fn check(outcome: &Outcome, partitions: &[Vec<Msg>], config: &EngineConfig) {
    check_rows(outcome, partitions, config);
    let want = answer(partitions, config);
    assert_eq!((outcome.late, outcome.duplicates), (want.late, want.duplicates));
}

/// Whether two runs gave the same last rows, bit for bit.
pub fn same(a: &Outcome, b: &Outcome) {
    let (a, b) = (a.last_rows(), b.last_rows());
    assert_eq!(a.len(), b.len());
    for (key, row) in &a {
        assert_eq!(format!("{:?}", row.values), format!("{:?}", b[key].values), "{key:?}");
    }
}
