//! Incremental equals recomputed: random logs with disorder, late, repeated, future and invalid readings, on
//! one, two and four workers, against an oracle that adds in the order of the log.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::anomalies::rules;
use common::logs::{check, partition, same};
use common::oracle::calendar;
use common::{Log, run};
use proptest::prelude::*;
use tidewatch_dataflow::EngineConfig;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_log_on_any_number_of_workers(
        a in partition(0), b in partition(1), c in partition(2), step in 1..60usize, five in any::<bool>(),
        zone in 0..5usize, stored in any::<bool>()
    ) {
        let partitions = [a, b, c];
        let config = EngineConfig {
            five_minutes: five, calendar: calendar(zone), stored_ms: stored.then_some(i64::MAX), epochs_ahead_max: 500, rules: rules(),
            ..EngineConfig::default()
        };
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
            quantiles: false, hour: false, day: false, five_minutes: false, correction_horizon_ms: 0, drop_duplicates: false,
            epochs_ahead_max: 500, rules: rules(), ..EngineConfig::default()
        };
        let partitions = [a];
        check(&run(&Log::of(&partitions, step), &config), &partitions, &config);
        // Days are made of hours, whether there are rows of these or not.
        let config = EngineConfig { day: true, ..config };
        check(&run(&Log::of(&partitions, step), &config), &partitions, &config);
    }
}
