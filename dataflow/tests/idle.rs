//! An engine with nothing to do does next to nothing. Alone in its process, since it measures the process.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::script::{Growing, GrowingLog};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
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

/// CPU time of this process: user and system, in clock ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

#[test]
fn two_workers_with_nothing_to_read_take_next_to_no_time() {
    let config = EngineConfig {
        threads: 2,
        ..EngineConfig::default()
    };
    let log = Arc::new(GrowingLog(Growing::new(4)));
    let (engine, captured) = Engine::start(config, log, Arc::new(WallClock(Instant::now())), None);
    std::thread::sleep(Duration::from_millis(500));
    let (before, begun) = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let share = (cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("idle: {:.1} % of a core", share * 100.0);
    engine.handle().stop();
    engine.join();
    assert!(captured.try_iter().count() > 0);
    assert!(share < 0.10, "{:.1} % of a core", share * 100.0);
}
