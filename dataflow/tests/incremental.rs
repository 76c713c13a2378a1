//! Incremental equals recomputed: random logs with disorder, late, repeated, future and invalid readings, on
//! one, two and four workers, against an oracle that adds in the order of the log.

mod common;

use common::oracle::{answer, check_row};
use common::{Log, Msg, Outcome, run};
use proptest::prelude::*;
use tidewatch_dataflow::EngineConfig;
use tidewatch_proto::reject::Reason;

const START: i64 = 1_750_003_200_000;

/// One partition's messages: time goes on, with disorder, and sometimes far behind.
fn partition(index: usize) -> impl Strategy<Value = Vec<Msg>> {
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
    prop::collection::vec(message, 0..250).prop_map(move |list| {
        let mut now = START;
        let mut log: Vec<Msg> = Vec::new();
        for (device, step, late, metrics, again, jump) in list {
            now += if jump && step < 40 { step * 20_000 } else { step };
            let metrics = metrics
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect();
            log.push(Msg {
                device: format!("p{index}-device-{device}"),
                ts: now - late,
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

fn check(outcome: &Outcome, partitions: &[Vec<Msg>], config: &EngineConfig) {
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
    let beyond = outcome
        .rejects
        .iter()
        .filter(|r| r.reason == Reason::BeyondHorizon)
        .count() as u64;
    assert_eq!(
        (outcome.late, outcome.duplicates, beyond),
        (want.late, want.duplicates, want.beyond)
    );
}

/// Whether two runs gave the same last rows, bit for bit.
fn same(a: &Outcome, b: &Outcome) {
    let (a, b) = (a.last_rows(), b.last_rows());
    assert_eq!(a.len(), b.len());
    for (key, row) in &a {
        assert_eq!(format!("{:?}", row.values), format!("{:?}", b[key].values), "{key:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_log_on_any_number_of_workers(
        a in partition(0), b in partition(1), c in partition(2), step in 1..60usize, five in any::<bool>()
    ) {
        let partitions = [a, b, c];
        let config = EngineConfig { five_minutes: five, epochs_ahead_max: 500, ..EngineConfig::default() };
        let one = run(&Log::of(&partitions, step), &config);
        check(&one, &partitions, &config);
        for threads in [2, 4] {
            let config = EngineConfig { threads, ..config.clone() };
            let more = run(&Log::of(&partitions, 7), &config);
            check(&more, &partitions, &config);
            same(&one, &more);
        }
    }

    #[test]
    fn without_quantiles_hours_and_horizon(a in partition(0), step in 1..60usize) {
        let config = EngineConfig {
            quantiles: false, hour: false, five_minutes: false, correction_horizon_ms: 0, drop_duplicates: false,
            epochs_ahead_max: 500, ..EngineConfig::default()
        };
        let partitions = [a];
        check(&run(&Log::of(&partitions, step), &config), &partitions, &config);
    }
}
