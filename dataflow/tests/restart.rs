//! Stop or crash anywhere and go on, on another number of workers: the rows are those of a run without it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::logs::{check_rows, partition, same};
use common::script::{Growing, HandClock, Put, Run};
use common::{Log, Msg, Outcome};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidewatch_dataflow::checkpoint::{decode, encode};
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::rollup::Level;
use tidewatch_dataflow::{EngineConfig, Restored, Saved};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::time::EventTime;

/// How many cuts came in time.
static EXACT: AtomicUsize = AtomicUsize::new(0);

fn config(threads: usize) -> EngineConfig {
    // Few records a poll, so that what is read spreads over epochs and workers are apart.
    EngineConfig {
        threads,
        poll_records_max: 3,
        epochs_ahead_max: 500,
        ..EngineConfig::default()
    }
}

fn whole(partitions: &[Vec<Msg>]) -> Arc<Growing> {
    let log = Growing::new(partitions.len());
    for (partition, list) in partitions.iter().enumerate() {
        for (offset, msg) in (0..).zip(list) {
            log.put(
                partition,
                Put {
                    offset,
                    log: msg.log,
                    payload: msg.bytes(),
                },
            );
        }
    }
    log
}

fn start(log: &Arc<Growing>, epoch: u64, threads: usize, restored: Option<Restored>) -> Run {
    start_with(log, epoch, threads, restored, &[])
}

fn start_with(log: &Arc<Growing>, epoch: u64, threads: usize, restored: Option<Restored>, first: &[Command]) -> Run {
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(epoch, Ordering::SeqCst);
    Run::start_with(log.clone(), clock, &config(threads), restored, first)
}

/// The state after a trip through bytes.
fn through_bytes(saved: &Saved, log: &Growing) -> Restored {
    decode(&encode(saved)).unwrap().into_restored(&log.names).unwrap()
}

fn keep(outcome: &mut Outcome, run: &mut Run, through: Epoch) {
    let kept = |epoch: Epoch| epoch <= through;
    outcome
        .rows
        .extend(run.rows.drain(..).filter(|(epoch, _)| kept(*epoch)).map(|(_, row)| row));
    outcome.rejects.extend(
        run.rejects
            .drain(..)
            .filter(|(epoch, _)| kept(*epoch))
            .map(|(_, reject)| reject),
    );
    assert_eq!(run.errors, Vec::<String>::new());
}

/// The registry and the rollup, before anything is read.
fn rollup() -> [Command; 2] {
    let place = |name: String| Placement {
        site: format!("site-{}", name.len() % 2 + name.ends_with('3') as usize).into(),
        device: name.into(),
        fleet: "fleet".into(),
        from: EventTime(i64::MIN),
        to: None,
    };
    let devices = (0..3).flat_map(|p| (0..6).map(move |n| format!("p{p}-device-{n}")));
    let change = RegistryChange {
        added: devices.map(place).collect(),
        removed: Vec::new(),
    };
    [Command::Registry(Arc::new(change)), Command::StartRollup(Level::Site)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn stopped_anywhere_and_gone_on(
        a in partition(0), b in partition(1), c in partition(2),
        stops in prop::collection::vec((0..40u64, prop::sample::select(vec![1usize, 2, 4])), 1..4),
    ) {
        let partitions = [a, b, c];
        let log = whole(&partitions);
        let mut outcome = Outcome::default();
        let (mut epoch, mut restored) = (100, None);
        for (bumps, threads) in stops {
            let mut run = start(&log, epoch, threads, restored.take());
            for _ in 0..bumps {
                run.bump();
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
            let saved = run.stop();
            restored = Some(through_bytes(&saved, &log));
            epoch = run.clock.epoch.load(Ordering::SeqCst) + 20;
            keep(&mut outcome, &mut run, Epoch(u64::MAX));
        }
        let mut run = start(&log, epoch, 2, restored);
        run.finish();
        keep(&mut outcome, &mut run, Epoch(u64::MAX));
        check_rows(&outcome, &partitions, &config(1));
        same(&outcome, &common::run(&Log::of(&partitions, 11), &config(1)));
    }

    #[test]
    fn crashed_anywhere_and_gone_on_from_a_cut(
        a in partition(0), b in partition(1), c in partition(2),
        bumps in 0..30u64, between in 1..12u64,
        threads in prop::sample::select(vec![1usize, 2, 4]), later in prop::sample::select(vec![1usize, 2, 4]),
    ) {
        let partitions = [a, b, c];
        let log = whole(&partitions);
        let mut first = start(&log, 100, threads, None);
        let sleep = || std::thread::sleep(std::time::Duration::from_micros(200));
        (0..bumps).for_each(|_| { first.bump(); sleep(); });
        // Two cuts that overlap, taken while everything moves.
        let cuts = [first.handle.cut(), { first.bump(); first.handle.cut() }];
        // Workers hear of it within five epochs, or nothing is saved.
        for _ in 0..between + 20 {
            first.bump();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let now = first.clock.epoch.load(Ordering::SeqCst);
        first.wait("the cuts to be saved", |run| {
            let missed = run.handle.stats.cuts_missed.get() as usize;
            run.states.iter().filter(|state| state.last).count() + missed >= 2 * threads
        });
        prop_assert!(now > cuts[1].0);
        let saved = cuts.map(|cut| first.cut_at(cut).map(|saved| (cut, saved)));
        EXACT.fetch_add(saved.iter().flatten().count(), Ordering::SeqCst);
        println!("{} cuts were exact", EXACT.load(Ordering::SeqCst));
        // The rest of this run never was: it is stopped to be rid of it.
        first.stop();
        let rows = std::mem::take(&mut first.rows);
        let rejects = std::mem::take(&mut first.rejects);
        for (cut, saved) in saved.into_iter().flatten() {
            (first.rows, first.rejects) = (rows.clone(), rejects.clone());
            let mut outcome = Outcome::default();
            keep(&mut outcome, &mut first, cut);
            let mut second = start(&log, cut.0 + 1, later, Some(through_bytes(&saved, &log)));
            second.finish();
            log.finished.store(false, Ordering::SeqCst);
            keep(&mut outcome, &mut second, Epoch(u64::MAX));
            check_rows(&outcome, &partitions, &config(1));
        }
    }

    #[test]
    fn rollups_go_on_too(a in partition(0), b in partition(1), bumps in 0..40u64, later in 1..4usize) {
        let partitions = [a, b];
        let mut whole_run = start_with(&whole(&partitions), 100, 2, None, &rollup());
        whole_run.finish();
        let log = whole(&partitions);
        let mut first = start_with(&log, 100, 2, None, &rollup());
        for _ in 0..bumps {
            first.bump();
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        let saved = first.stop();
        let epoch = first.clock.epoch.load(Ordering::SeqCst) + 20;
        let mut second = start_with(&log, epoch, later, Some(through_bytes(&saved, &log)), &rollup());
        second.finish();
        let last = |runs: &[&Run]| {
            let rows = runs.iter().flat_map(|run| &run.rows).map(|(_, row)| row).filter(|row| !row.job.is_per_series());
            let keyed = rows.map(|r| ((r.key.to_string(), r.metric.to_string(), r.window_start), format!("{:?}", r.values)));
            keyed.collect::<std::collections::BTreeMap<_, _>>()
        };
        let (want, got) = (last(&[&whole_run]), last(&[&first, &second]));
        for (key, values) in &want {
            prop_assert_eq!(Some(values), got.get(key), "{:?}", key);
        }
        let more: Vec<_> = got.iter().filter(|(key, _)| !want.contains_key(key)).collect();
        prop_assert!(more.is_empty(), "{:?}", more);
    }
}

#[test]
fn positions_of_the_cut_can_be_told_from_later_ones() {
    let messages: Vec<Msg> = (0..30).map(|n| Msg::new("d", n * 1_000, &[("a", n as f64)])).collect();
    let log = Growing::new(1);
    let mut run = start(&log, 100, 2, None);
    let mut cut = Epoch(0);
    for (offset, msg) in (0..).zip(&messages) {
        if offset == 10 {
            run.tick(1);
            cut = run.handle.cut();
            assert_eq!(cut, Epoch(run.clock.epoch.load(Ordering::SeqCst) + 5));
        }
        run.put(
            0,
            Put {
                offset,
                log: None,
                payload: msg.bytes(),
            },
        );
        run.tick(1);
    }
    let saved = run.cut_at(cut).expect("every worker saved it");
    let next = saved.meta.positions[0].next.0;
    let restored = saved.into_restored(&run.log.names).unwrap();
    let counted: u64 = restored
        .groups
        .values()
        .flat_map(|g| &g.devices)
        .flat_map(|d| &d.series)
        .flat_map(|s| &s.open)
        .map(|(pane, _)| u64::from(pane.count))
        .sum();
    assert_eq!(next as u64, counted, "the position is that of the state");
    assert!(next < 30);
    run.finish();
}
