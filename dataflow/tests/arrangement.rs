//! The shared arrangement: one for all jobs, flat while panes expire, gone with the last job.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::Msg;
use common::script::{Growing, HandClock, Put, Run};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_dataflow::EngineConfig;
use tidewatch_dataflow::rollup::Level;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::row::Job;
use tidewatch_proto::time::EventTime;

const START: i64 = 1_750_003_200_000;
const DEVICES: usize = 20;

fn start(threads: usize) -> Run {
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(100, Ordering::SeqCst);
    clock.wall_ms.store(START, Ordering::SeqCst);
    let config = EngineConfig {
        threads,
        hour: false,
        day: false,
        five_minutes: false,
        ..EngineConfig::default()
    };
    let run = Run::start(Growing::new(2), clock, &config, None);
    let place = |n: usize| Placement {
        device: format!("d{n}").into(),
        site: format!("site-{}", n % 3).into(),
        fleet: "fleet".into(),
        from: EventTime(0),
        to: None,
    };
    let added = (0..DEVICES).map(place).collect();
    run.handle.change_registry(RegistryChange {
        added,
        removed: Vec::new(),
    });
    run
}

/// One reading a device, in one minute of event time.
fn minute(run: &mut Run, minute: i64) {
    for n in 0..DEVICES {
        let msg = Msg::new(
            &format!("d{n}"),
            START + minute * 60_000 + n as i64,
            &[("a", (minute * n as i64) as f64)],
        );
        run.push(
            n % 2,
            Put {
                offset: minute * 100 + n as i64,
                log: None,
                payload: msg.bytes(),
            },
        );
    }
}

fn records(run: &Run) -> i64 {
    run.handle.stats.arrangement_records.get()
}

#[test]
fn it_is_flat_over_half_a_day_of_event_time_shared_and_gone_with_the_last_job() {
    let mut run = start(2);
    run.handle.start_rollup(Level::Site);
    let mut seen = Vec::new();
    for at in 0..720 {
        minute(&mut run, at);
        if at % 3 == 0 {
            run.tick(10);
        }
        seen.push(records(&run));
    }
    // The horizon's panes, what is being merged, and nothing that grows.
    let most = |range: std::ops::Range<usize>| seen[range].iter().copied().max().unwrap();
    println!(
        "records, hour by hour: {:?}",
        (0..12).map(|h| most(h * 60..h * 60 + 60)).collect::<Vec<_>>()
    );
    assert!(most(60..720) <= 3 * 17 * DEVICES as i64, "{}", most(60..720));
    assert!(most(600..720) <= most(60..180) * 3 / 2);

    (0..30).for_each(|_| run.tick(10));
    let one = records(&run);
    run.handle.start_rollup(Level::Fleet);
    (0..5).for_each(|_| run.tick(10));
    assert_eq!(run.handle.stats.rollups.get(), 2);
    assert_eq!(records(&run), one, "two jobs share what one has");
    assert!(
        run.rows.iter().any(|(_, row)| row.job == Job::FleetMinute),
        "the second was filled from memory"
    );
    run.handle.stop_rollup(Level::Site);
    run.tick(10);
    assert_eq!((records(&run), run.handle.stats.rollups.get()), (one, 1));
    run.handle.stop_rollup(Level::Fleet);
    run.tick(10);
    assert_eq!((records(&run), run.handle.stats.rollups.get()), (0, 0));

    // And again: a job after the last one finds everything that is in memory.
    let before = run.rows.len();
    run.handle.start_rollup(Level::Site);
    run.handle.start_rollup(Level::Site);
    run.tick(10);
    run.tick(10);
    assert!(records(&run) > 0);
    assert!(run.rows[before..].iter().any(|(_, row)| row.job == Job::SiteMinute));
    let mut minutes: BTreeMap<EventTime, (u64, usize)> = BTreeMap::new();
    for (_, row) in run.rows[before..].iter().filter(|(_, row)| row.job == Job::SiteMinute) {
        let seen = minutes.entry(row.window_start).or_default();
        *seen = (seen.0 + row.values.devices, seen.1 + 1);
    }
    for (start, seen) in minutes {
        assert_eq!(
            seen,
            (DEVICES as u64, 3),
            "three sites with all devices, each once, at {start:?}"
        );
    }
    run.finish();
    assert_eq!(records(&run), 0);
    assert_eq!(run.errors, Vec::<String>::new());
}

#[test]
fn a_rollup_that_ends_or_is_told_to_start_at_the_end_does_not_hang() {
    for round in 0..20 {
        let mut run = start(1 + round % 4);
        run.handle.start_rollup(Level::Fleet);
        minute(&mut run, 0);
        if round % 2 == 0 {
            run.tick(1);
        }
        run.log.finished.store(true, Ordering::SeqCst);
        // In the midst of the end: either all workers take it or none.
        for level in [Level::Site, Level::Fleet] {
            run.handle.start_rollup(level);
            run.handle.stop_rollup(Level::Site);
        }
        run.end();
        assert_eq!(run.errors, Vec::<String>::new());
        let fleet = run
            .rows
            .iter()
            .filter(|(_, row)| row.job == Job::FleetMinute)
            .collect::<Vec<_>>();
        assert_eq!(
            fleet.last().map(|(_, row)| row.values.devices),
            Some(DEVICES as u64),
            "round {round}"
        );
    }
}
