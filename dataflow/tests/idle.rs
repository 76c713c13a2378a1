//! An engine with nothing to do does next to nothing. Alone in its process, since it measures the process.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::script::{Growing, GrowingLog};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tidewatch_dataflow::rollup::Level;
use tidewatch_dataflow::{Clock, Engine, EngineConfig};
use tidewatch_proto::ids::Epoch;

struct WallClock(Instant);

impl Clock for WallClock {
    fn epoch(&self) -> Epoch {
        Epoch(1 + self.0.elapsed().as_millis() as u64 / 100)
    }

    fn wall_ms(&self) -> i64 {
        SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
    }
}

/// CPU time of this process' threads, user and system.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let spent = tasks.map(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat"));
        let stat = stat.expect("a kernel with scheduler statistics");
        stat.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(spent.sum())
}

/// The share of a core that a second takes: the median of five.
fn share() -> f64 {
    let seconds = (0..5).map(|_| {
        let (before, begun) = (cpu(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        (cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64()
    });
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    seconds[2]
}

#[test]
fn two_workers_with_nothing_to_read_take_next_to_no_time() {
    let config = EngineConfig {
        threads: 2,
        ..EngineConfig::default()
    };
    let log = Arc::new(GrowingLog(Growing::new(4)));
    let (engine, captured) = Engine::start(config, log, Arc::new(WallClock(Instant::now())), None);
    let alone = share();
    engine.handle().start_rollup(Level::Site);
    let with_rollup = share();
    engine.handle().stop();
    engine.join();
    println!(
        "idle: {:.1} % of a core, with a rollup {:.1} %",
        alone * 100.0,
        with_rollup * 100.0
    );
    assert!(captured.try_iter().count() > 0);
    // Without optimization the same steps take three to four times as long.
    let (bound, bound_with_rollup) = if cfg!(debug_assertions) {
        (0.08, 0.16)
    } else {
        (0.02, 0.04)
    };
    assert!(alone < bound, "{:.1} % of a core", alone * 100.0);
    assert!(
        with_rollup < bound_with_rollup,
        "{:.1} % of a core",
        with_rollup * 100.0
    );
}
