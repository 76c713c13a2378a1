//! What fails ends the run, and says where; what is full waits.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::Msg;
use common::script::{Fault, Growing, HandClock, Put, Run};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_dataflow::EngineConfig;
use tidewatch_dataflow::rollup::Level;

fn start(config: &EngineConfig) -> Run {
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(100, Ordering::SeqCst);
    Run::start(Growing::new(2), clock, config, None)
}

fn message(minute: i64) -> Put {
    let msg = Msg::new("device", minute * 60_000, &[("a", 1.0), ("b", 2.0)]);
    Put {
        offset: minute,
        log: None,
        payload: msg.bytes(),
    }
}

fn fails(fault: Fault, threads: usize) -> Vec<String> {
    let mut run = start(&EngineConfig {
        threads,
        ..EngineConfig::default()
    });
    run.handle.start_rollup(Level::Site);
    for minute in 0..10 {
        run.put(0, message(minute));
        run.tick(1);
    }
    *run.log.fault.lock().unwrap() = Some((1, fault));
    run.end();
    run.errors
}

#[test]
fn a_panic_ends_the_run_and_says_where() {
    for threads in [1, 2, 4] {
        let errors = fails(Fault::Panic, threads);
        let worker = 1 % threads;
        assert_eq!(
            errors,
            [format!("worker {worker} panicked: the source of partition 1 broke")]
        );
    }
}

#[test]
fn a_source_that_fails_ends_the_run_with_its_text() {
    for threads in [1, 2, 4] {
        assert_eq!(fails(Fault::Fail, threads), ["log/1: the disk is gone"]);
    }
}

#[test]
fn a_handle_without_a_run_does_no_harm() {
    let mut run = start(&EngineConfig::default());
    run.finish();
    run.handle.start_rollup(Level::Site);
    assert_eq!(run.handle.peek("d", "a", std::time::Duration::from_secs(5)), None);
}

#[test]
fn a_full_outbox_stops_the_source_until_it_is_drained() {
    let config = EngineConfig {
        threads: 2,
        outbox_bytes_max: 20_000,
        epoch_bytes_max: 2_000,
        poll_records_max: 10,
        ..EngineConfig::default()
    };
    let mut run = start(&config);
    for minute in 0..5_000 {
        run.log.put(0, message(minute));
    }
    let read = |run: &Run| run.log.read.load(Ordering::SeqCst);
    let turn = |run: &mut Run| {
        let before = run.clock.epoch.fetch_add(1, Ordering::SeqCst);
        run.wait("an epoch to complete", move |run| run.through_all() >= before);
        std::thread::sleep(std::time::Duration::from_millis(3));
    };
    let mut last = 0;
    for round in 0..3 {
        (0..20).for_each(|_| turn(&mut run));
        let stopped_at = read(&run);
        assert!(stopped_at > last, "round {round}: it reads on");
        // At most what an epoch brings comes on top of what fills the outbox.
        assert!(
            stopped_at - last < 400,
            "round {round}: {} were read",
            stopped_at - last
        );
        (0..10).for_each(|_| turn(&mut run));
        assert_eq!(read(&run), stopped_at, "round {round}: it waits");
        assert!(run.handle.stats.outbox_bytes.get() >= 20_000);
        last = stopped_at;
        run.handle.stats.outbox_bytes.set(0);
    }
    run.stop();
    assert_eq!(run.errors, Vec::<String>::new());
}

#[test]
fn what_an_epoch_closes_stops_the_source_before_it_is_rows() {
    let config = EngineConfig {
        outbox_bytes_max: 200_000,
        poll_records_max: 10,
        ..EngineConfig::default()
    };
    let mut run = start(&config);
    // Each closes the minute before: nothing bounds an epoch's records here but what they will be.
    for minute in 0..5_000 {
        run.log.put(0, message(minute));
    }
    let full = config.outbox_bytes_max as i64;
    run.wait("it to have enough", |run| {
        run.handle.stats.unpublished_bytes.get() >= full
    });
    let read = |run: &Run| run.log.read.load(Ordering::SeqCst);
    let stopped_at = read(&run);
    // Two panes a record, and what a poll takes on top.
    let room = full / config.row_bytes_per_pane() / 2;
    assert!(
        stopped_at < room as u64 + 30,
        "{stopped_at} were read, there is room for {room}"
    );
    // The worker goes round and round, and reads nothing.
    for _ in 0..50 {
        run.handle
            .peek("device", "a", std::time::Duration::from_secs(5))
            .expect("it answers");
    }
    assert_eq!(read(&run), stopped_at);
    assert_eq!(run.rows.len(), 0, "the epoch isn't complete");
    run.stop();
    assert_eq!(run.handle.stats.unpublished_bytes.get(), 0, "all is published");
    assert_eq!(run.errors, Vec::<String>::new());
}
