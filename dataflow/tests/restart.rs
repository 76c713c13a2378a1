//! Stop or crash anywhere and go on, on another number of workers: the rows are those of a run without it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::anomalies::rules;
use common::logs::{check_rows, partition, same};
use common::oracle::calendar;
use common::script::{Growing, HandClock, Put, Run};
use common::{Log, Msg, Outcome};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_dataflow::checkpoint::Part;
use tidewatch_dataflow::checkpoint::file::{decode, encode};
use tidewatch_dataflow::command::Command;
use tidewatch_dataflow::rollup::Level;
use tidewatch_dataflow::{CheckpointError, EngineConfig, Restored, Saved};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::row::{Job, Status};
use tidewatch_proto::time::EventTime;

fn config(threads: usize) -> EngineConfig {
    // Few records a poll, so that what is read spreads over epochs and workers are apart.
    EngineConfig {
        threads,
        poll_records_max: 3,
        epochs_ahead_max: 500,
        stored_ms: Some(i64::MAX),
        rules: rules(),
        calendar: calendar(1),
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
    restored(saved, log, 2_048)
}

fn restored(saved: &Saved, log: &Growing, slice_slots: usize) -> Restored {
    try_restored(saved, log, slice_slots).unwrap()
}

fn try_restored(saved: &Saved, log: &Growing, slice_slots: usize) -> Result<Restored, CheckpointError> {
    let (manifest, segment) = encode(saved);
    let config = EngineConfig {
        slice_slots,
        ..config(1)
    };
    decode(&manifest, &segment).unwrap().into_restored(&log.names, &config)
}

fn keep(outcome: &mut Outcome, run: &mut Run, through: Epoch) {
    let kept = |epoch: Epoch| epoch <= through;
    outcome
        .rows
        .extend(run.rows.drain(..).filter(|(epoch, _)| kept(*epoch)).map(|(_, row)| row));
    let stragglers = run.stragglers.drain(..).filter(|(epoch, _)| kept(*epoch));
    outcome.stragglers.extend(stragglers);
    let anomalies = run.anomalies.drain(..).filter(|(epoch, _)| kept(*epoch));
    outcome.anomalies.extend(anomalies.map(|(_, anomaly)| anomaly));
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
    fn crashed_anywhere_and_gone_on_from_a_checkpoint(
        a in partition(0), b in partition(1), c in partition(2),
        bumps in (0..30u64, 0..30u64), border_epochs in 1..7u64, slice_slots in prop::sample::select(vec![1usize, 7, 64, 2_048]),
        threads in prop::sample::select(vec![1usize, 2, 4]), then in prop::sample::select(vec![1usize, 2, 4]),
        later in prop::sample::select(vec![1usize, 2, 4]),
    ) {
        let partitions = [a, b, c];
        let journaled = |threads| EngineConfig { journal: true, border_epochs, slice_slots, ..config(threads) };
        let log = whole(&partitions);
        let clock = Arc::new(HandClock::default());
        clock.epoch.store(100, Ordering::SeqCst);
        let mut run = Run::start(log.clone(), clock, &journaled(threads), None);
        let (mut outcome, mut begun) = (Outcome::default(), Epoch(100));
        // Crashed, gone on with as many or another number, and crashed again.
        for (bumps, threads) in [(bumps.0, then), (bumps.1, later)] {
            for _ in 0..bumps {
                run.bump();
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            // The first checkpoint is of an epoch by which all of the state is out.
            let (epoch, restored) = loop {
                let epoch = Epoch(run.through_all() / border_epochs * border_epochs);
                if epoch >= begun {
                    match try_restored(&run.saved(epoch), &log, slice_slots) {
                        Err(CheckpointError::Incomplete { .. }) => {}
                        restored => break (epoch, restored.unwrap()),
                    }
                }
                run.bump();
                std::thread::sleep(std::time::Duration::from_micros(200));
            };
            begun = Epoch(epoch.0 + 1);
            // The rest of this run never was: it is stopped to be rid of it.
            run.stop();
            keep(&mut outcome, &mut run, epoch);
            let clock = Arc::new(HandClock::default());
            clock.epoch.store(begun.0, Ordering::SeqCst);
            run = Run::start(log.clone(), clock, &journaled(threads), Some(restored));
        }
        run.finish();
        log.finished.store(false, Ordering::SeqCst);
        keep(&mut outcome, &mut run, Epoch(u64::MAX));
        check_rows(&outcome, &partitions, &config(1));
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

/// Settings by which every epoch may be a checkpoint's.
fn journaled(threads: usize) -> EngineConfig {
    EngineConfig {
        journal: true,
        border_epochs: 1,
        ..config(threads)
    }
}

fn start_at_100(log: &Arc<Growing>, config: &EngineConfig) -> Run {
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(100, Ordering::SeqCst);
    Run::start(log.clone(), clock, config, None)
}

#[test]
fn what_came_after_the_epoch_is_left_out() {
    let messages: Vec<Msg> = (0..30).map(|n| Msg::new("d", n * 1_000, &[("a", n as f64)])).collect();
    let log = Growing::new(1);
    let journaled = journaled(2);
    let mut run = start_at_100(&log, &journaled);
    let mut epochs = Vec::new();
    for (offset, msg) in (0..).zip(&messages) {
        run.put(
            0,
            Put {
                offset,
                log: None,
                payload: msg.bytes(),
            },
        );
        run.tick(1);
        epochs.push(Epoch(run.through_all()));
    }
    for (before, epoch) in epochs.into_iter().enumerate() {
        let saved = run.saved(epoch);
        let restored = saved.clone().into_restored(&log.names, &config(2)).unwrap();
        let devices = restored.devices();
        let panes = devices
            .iter()
            .flat_map(|device| &device.series)
            .flat_map(|series| &series.open);
        let counted: u32 = panes.map(|(pane, _)| pane.count).sum();
        assert_eq!(saved.meta.positions[0].next.0, before as i64 + 1, "{epoch}");
        assert_eq!(
            counted as usize,
            before + 1,
            "the position is that of the state at {epoch}"
        );
    }
    run.finish();
}

#[test]
fn messages_without_readings_owe_no_end_of_slices() {
    let log = Growing::new(1);
    let journaled = EngineConfig {
        journal: true,
        border_epochs: 1,
        ..config(1)
    };
    let mut run = Run::start(log.clone(), Arc::new(HandClock::default()), &journaled, None);
    for offset in 0..20 {
        let payload = Msg::new("d", offset * 1_000, &[]).bytes();
        run.put(
            0,
            Put {
                offset,
                log: None,
                payload,
            },
        );
        run.tick(1);
    }
    let saved = run.saved(Epoch(run.through_all()));
    let restored = saved.into_restored(&log.names, &journaled).unwrap();
    assert_eq!(restored.positions[0].next.0, 20);
    assert!(restored.devices().is_empty());
    run.finish();
}

#[test]
fn a_stop_before_the_first_poll_publishes_what_a_kill_had_left() {
    let journaled = |threads| EngineConfig {
        journal: true,
        border_epochs: 1,
        correction_interval_ms: 600_000,
        ..config(threads)
    };
    for threads in [1, 2, 1, 2, 1, 2, 1, 2] {
        let log = Growing::new(1);
        let clock = Arc::new(HandClock::default());
        clock.epoch.store(100, Ordering::SeqCst);
        let mut first = Run::start(log.clone(), clock, &journaled(1), None);
        // A window that is published, and then a late reading of it.
        for (offset, ts) in [0, 80_000, 5_000].into_iter().enumerate() {
            let put = Put {
                offset: offset as i64,
                log: None,
                payload: Msg::new("d", ts, &[("a", 1.0)]).bytes(),
            };
            first.put(0, put);
            first.tick(1);
        }
        let epoch = Epoch(first.through_all());
        let saved = first.saved(epoch);
        assert_eq!(first.rows.len(), 2, "the minute and its five, not corrected yet");
        first.stop();

        let clock = Arc::new(HandClock::default());
        clock.epoch.store(epoch.0 + 1, Ordering::SeqCst);
        let restored = restored(&saved, &log, 2_048);
        let mut second = Run::start(log.clone(), clock, &journaled(threads), Some(restored));
        second.stop();
        let minutes = second.rows.iter().map(|(_, row)| row);
        let minutes: Vec<_> = minutes.filter(|row| row.job == Job::Minute).collect();
        assert!(
            matches!(&minutes[..], [row] if row.values.count == 2 && row.status == Status::Corrected && row.revision > epoch),
            "{minutes:?}"
        );
    }
}

#[test]
fn a_chunk_that_is_kept_for_other_reasons_is_no_gap() {
    let log = Growing::new(1);
    let journaled = journaled(1);
    let mut run = start_at_100(&log, &journaled);
    let mut saved = Saved::default();
    for offset in 0..300 {
        let payload = Msg::new("d", offset * 1_000, &[("a", 1.0)]).bytes();
        run.put(
            0,
            Put {
                offset,
                log: None,
                payload,
            },
        );
        run.tick(1);
        // Each ends a chunk.
        saved = run.saved(Epoch(run.through_all()));
    }
    let slices = saved.parts.iter().filter_map(|part| match part {
        Part::State(slice) if slice.is_last => Some(slice.entries),
        _ => None,
    });
    let newest = slices.max().unwrap();
    let chunks = saved.parts.iter().filter_map(|part| match part {
        Part::Journal(chunk) if chunk.entries <= newest => Some(chunk.entries),
        _ => None,
    });
    let wanted = chunks.max().unwrap();
    assert!(wanted > 100, "a later round: {wanted}");
    saved.parts.retain(|part| match part {
        Part::Journal(chunk) => chunk.entries == 0 || chunk.entries >= wanted,
        _ => true,
    });
    let restored = saved.into_restored(&log.names, &journaled).unwrap();
    assert_eq!(restored.positions[0].next.0, 300);
    run.finish();
}
