//! Rollups equal recomputation: random logs with late readings, expiry and registry edits at runtime.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::oracle::answer;
use common::script::{Growing, HandClock, Put, Run};
use common::{Key, Msg};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_dataflow::EngineConfig;
use tidewatch_dataflow::rollup::{ExactSum, Level};
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::row::{Job, Row, Values};
use tidewatch_proto::sketch::{bucket, bucket_quantiles};
use tidewatch_proto::time::EventTime;

const START: i64 = 1_750_003_200_000;
const MINUTE: i64 = 60_000;

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Put(usize, Msg),
    Tick(u64),
    /// A device moves: it belongs to this site and fleet from this minute on.
    Move(usize, u8, i64),
}

fn device(number: usize) -> String {
    format!("device-{number}")
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![8 => -1e6..1e6f64, 1 => -1e300..1e300f64, 1 => Just(f64::NAN), 1 => 1e-9..1e-3f64];
    let late = prop_oneof![8 => 0..9_000i64, 2 => 0..300_000i64, 1 => 0..1_500_000i64];
    let metrics = prop::collection::btree_map(prop::sample::select(vec!["a", "b"]), value, 1..3);
    let put = (
        0..8usize,
        prop_oneof![6 => 0..6_000i64, 1 => 0..200_000i64],
        late,
        metrics,
    );
    let step = prop_oneof![
        20 => put.prop_map(Some).prop_map(|put| (put, 0, 0)),
        3 => (1..15u64).prop_map(|ticks| (None, ticks, 0)),
        1 => (1..1_000u64).prop_map(|number| (None, 0, number)),
    ];
    prop::collection::vec(step, 1..250).prop_map(|list| {
        let mut now = [START; 2];
        let mut steps = Vec::new();
        for (put, ticks, edit) in list {
            if let Some((number, step, late, metrics)) = put {
                let partition = number % 2;
                now[partition] += step;
                let metrics: Vec<(&str, f64)> = metrics.into_iter().collect();
                steps.push(Step::Put(
                    partition,
                    Msg::new(&device(number), now[partition] - late, &metrics),
                ));
            } else if ticks > 0 {
                steps.push(Step::Tick(ticks));
            } else {
                let minute = (now[0] - START) / MINUTE - (edit / 16 % 20) as i64;
                steps.push(Step::Move(edit as usize % 8, (edit % 5) as u8, START + minute * MINUTE));
            }
        }
        steps
    })
}

/// The registry as a person would keep it: each device's stretches, in order, without gaps.
#[derive(Default)]
struct Registry {
    stretches: BTreeMap<usize, Vec<Placement>>,
}

impl Registry {
    /// Cuts the device's life at `from`: from there on it belongs to another place.
    fn place(&mut self, number: usize, place: u8, from: i64) -> RegistryChange {
        let own = self.stretches.entry(number).or_default();
        let removed = own.clone();
        own.retain(|stretch| stretch.from.0 < from);
        if let Some(last) = own.last_mut() {
            last.to = Some(EventTime(from));
        }
        own.push(Placement {
            device: device(number).into(),
            site: format!("site-{}", place % 3).into(),
            fleet: format!("fleet-{}", place % 2).into(),
            from: EventTime(from),
            to: None,
        });
        RegistryChange {
            removed,
            added: own.clone(),
        }
    }

    fn at(&self, device: &str, start: i64) -> Option<&Placement> {
        let holds = |p: &&Placement| &*p.device == device && p.from.0 <= start && p.to.is_none_or(|to| start < to.0);
        self.stretches.values().flatten().find(holds)
    }
}

/// What rollups should hold, from the per-series rows and the registry.
fn groups(minutes: &BTreeMap<Key, common::oracle::Want>, registry: &Registry) -> BTreeMap<Key, Values> {
    let mut parts: BTreeMap<Key, Vec<(&str, &common::oracle::Want)>> = BTreeMap::new();
    for ((job, device, metric, start), want) in minutes {
        if let Some(placement) = registry.at(device, *start).filter(|_| *job == Job::Minute) {
            for (job, group) in [(Job::SiteMinute, &placement.site), (Job::FleetMinute, &placement.fleet)] {
                parts
                    .entry((job, group.to_string(), metric.clone(), *start))
                    .or_default()
                    .push((device, want));
            }
        }
    }
    parts.into_iter().map(|(key, parts)| (key, combine(&parts))).collect()
}

fn combine(parts: &[(&str, &common::oracle::Want)]) -> Values {
    let mut sum = ExactSum::default();
    let mut buckets: BTreeMap<i32, u64> = BTreeMap::new();
    let mut values: Vec<f64> = Vec::new();
    for (_, want) in parts {
        sum.add(&ExactSum::of(want.sum));
        values.extend(want.values.iter().map(|(_, value)| value + 0.0));
    }
    values
        .iter()
        .for_each(|value| *buckets.entry(bucket(*value)).or_default() += 1);
    let (min, max) = (
        values.iter().copied().reduce(f64::min),
        values.iter().copied().reduce(f64::max),
    );
    let bounds = min.zip(max);
    Values {
        count: values.len() as u64,
        invalid_count: parts.iter().map(|(_, want)| want.invalid).sum(),
        devices: parts.iter().map(|(device, _)| *device).collect::<BTreeSet<_>>().len() as u64,
        sum: sum.value(),
        min,
        max,
        first: None,
        last: None,
        mean: (!values.is_empty()).then(|| sum.value() / values.len() as f64),
        stddev: None,
        quantiles: bounds.and_then(|(min, max)| bucket_quantiles(buckets.iter().map(|(b, n)| (*b, *n)), min, max)),
    }
}

fn last_rollups(run: &Run) -> BTreeMap<Key, Row> {
    let mut last: BTreeMap<Key, Row> = BTreeMap::new();
    for (_, row) in run.rows.iter().filter(|(_, row)| !row.job.is_per_series()) {
        let key = (row.job, row.key.to_string(), row.metric.to_string(), row.window_start.0);
        let before = last.insert(key.clone(), row.clone());
        assert!(
            before.is_none_or(|before| before.revision < row.revision),
            "{key:?} twice at one revision"
        );
    }
    last
}

fn run(steps: &[Step], threads: usize, late_start: bool) -> (Run, Vec<Vec<Msg>>, Vec<(i64, Registry)>) {
    let config = EngineConfig {
        threads,
        hour: false,
        day: false,
        five_minutes: false,
        idle_ms: 3_600_000_000,
        ..EngineConfig::default()
    };
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(100, Ordering::SeqCst);
    clock.wall_ms.store(START, Ordering::SeqCst);
    let mut run = Run::start(Growing::new(2), clock, &config, None);
    let mut registry = Registry::default();
    for number in 0..8 {
        run.handle.change_registry(registry.place(number, number as u8, 0));
    }
    run.handle.start_rollup(Level::Site);
    if !late_start {
        run.handle.start_rollup(Level::Fleet);
    }
    let mut logs = vec![Vec::new(), Vec::new()];
    // After each edit: which windows had expired before it, and what they held is fixed by the registry then.
    let mut history = Vec::new();
    run.tick(1);
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Put(partition, msg) => {
                let offset = logs[*partition].len() as i64;
                run.put(
                    *partition,
                    Put {
                        offset,
                        log: None,
                        payload: msg.bytes(),
                    },
                );
                logs[*partition].push(msg.clone());
            }
            Step::Tick(ticks) => run.tick(*ticks),
            Step::Move(number, place, from) => {
                run.tick(20);
                let expired = expired(&logs, &config);
                let before = std::mem::take(&mut registry.stretches);
                registry.stretches = before.clone();
                history.push((expired, Registry { stretches: before }));
                run.handle.change_registry(registry.place(*number, *place, *from));
                run.tick(20);
            }
        }
        if late_start && at == steps.len() / 2 {
            run.handle.start_rollup(Level::Fleet);
        }
    }
    run.tick(20);
    history.push((i64::MAX, registry));
    (run, logs, history)
}

/// The first window that hasn't expired everywhere.
fn expired(logs: &[Vec<Msg>], config: &EngineConfig) -> i64 {
    let clock = |log: &Vec<Msg>| log.iter().map(|msg| msg.ts).max().unwrap_or(i64::MIN / 2);
    let least = logs.iter().map(clock).min().expect("a log") - config.lateness_ms - config.correction_horizon_ms;
    least.div_euclid(MINUTE) * MINUTE
}

fn same(got: &BTreeMap<Key, Row>, want: &BTreeMap<Key, Values>) {
    for (key, values) in want {
        let row = got.get(key).unwrap_or_else(|| panic!("there is no {key:?}"));
        assert_eq!(format!("{:?}", row.values), format!("{values:?}"), "{key:?}");
    }
    for (key, row) in got.iter().filter(|(key, _)| !want.contains_key(key)) {
        assert_eq!(
            (row.values.count, row.values.devices),
            (0, 0),
            "{key:?} should be nothing"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn rollups_equal_recomputation(steps in steps()) {
        let mut all = Vec::new();
        for threads in [1, 2, 4] {
            let (mut run, logs, history) = run(&steps, threads, false);
            run.finish();
            prop_assert_eq!(&run.errors, &Vec::<String>::new());
            let config = EngineConfig { hour: false, day: false, five_minutes: false, ..EngineConfig::default() };
            let minutes = answer(&logs, &config).windows;
            // A window holds what the registry said when the window expired.
            let mut want = BTreeMap::new();
            let mut from = i64::MIN;
            for (to, registry) in &history {
                let here: BTreeMap<Key, _> =
                    minutes.iter().filter(|(key, _)| key.3 >= from && key.3 < *to).map(|(k, w)| (k.clone(), w.clone())).collect();
                want.extend(groups(&here, registry));
                from = from.max(*to);
            }
            let got = last_rollups(&run);
            same(&got, &want);
            prop_assert_eq!(run.handle.stats.arrangement_records.get(), 0);
            all.push(got.into_iter().filter(|(key, _)| want.contains_key(key)).map(|(k, r)| (k, format!("{:?}", r.values))).collect::<Vec<_>>());
        }
        prop_assert_eq!(&all[0], &all[1]);
        prop_assert_eq!(&all[0], &all[2]);
    }

    #[test]
    fn a_job_that_is_started_later_is_filled_from_memory(steps in steps()) {
        let still: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Move(..))).collect();
        let (mut run, logs, history) = run(&still, 2, true);
        let config = EngineConfig { hour: false, day: false, five_minutes: false, ..EngineConfig::default() };
        run.finish();
        let minutes = answer(&logs, &config).windows;
        let want = groups(&minutes, &history[0].1);
        let got = last_rollups(&run);
        // What had expired before the start of the second job is missing there, and nothing else is wrong.
        for (key, row) in &got {
            assert_eq!(format!("{:?}", row.values), format!("{:?}", want[key]), "{key:?}");
        }
        let begun = expired(&logs, &config);
        for key in want.keys().filter(|key| key.0 == Job::SiteMinute || key.3 >= begun) {
            assert!(got.contains_key(key), "there is no {key:?}");
        }
    }
}
