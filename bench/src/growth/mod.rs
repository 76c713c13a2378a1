//! Growth: the shape of S with more and more devices, from memory: what a message costs and what a series takes.
//!
//! Each device sends two messages a minute whatever their number, so the same number of messages covers less event
//! time when there are more of them. The correction horizon is a minute: what is in memory is open, or closed lately.

pub mod chart;
mod font;

use crate::in_process::{SliceLog, SliceOutput};
use crate::measure::own_rss_bytes;
use crate::w1::METRICS;
use crate::w1::generate::{BASE_MS, Telemetry};
use crate::w1::record::Record;
use crate::w1::spec::Spec;
use crate::w1::tidewatch::{Job, RunClock, Set, Taker};
use anyhow::{Result, ensure};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tidewatch_dataflow::{Clock, Engine, EngineConfig};
use tidewatch_proto::limits::Limits;

/// Messages of a device in a minute.
const PER_MINUTE: u64 = 2;

/// How long after its closing a window can be corrected, in milliseconds.
const HORIZON_MS: i64 = 60_000;

/// Apart by so many devices, so that neighbours in time are no neighbours in memory; coprime to every number of
/// devices that is a product of twos and fives.
const STRIDE: u64 = 7_368_787;

/// What one run did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Messages read.
    pub messages: u64,
    /// Seconds until all of them were read and their epoch complete.
    pub run_s: f64,
    /// CPU seconds of the engine's threads until then.
    pub engine_cpu_s: f64,
    /// Series in memory then.
    pub series: u64,
    /// Resident bytes then, less those before the engine started.
    pub grown_bytes: u64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RESULT run_s={:.3} messages={} engine_cpu_s={:.3} series={} grown_bytes={}",
            self.run_s, self.messages, self.engine_cpu_s, self.series, self.grown_bytes
        )
    }
}

/// Reads so many messages of so many devices on one thread.
///
/// # Errors
/// When the engine fails, or has not counted every reading exactly once.
pub fn run(devices: u32, messages: u64, set: Set) -> Result<Outcome> {
    ensure!(
        messages >= u64::from(devices),
        "{messages} messages are less than one of each of {devices} devices"
    );
    let log = log(devices, messages);
    let job = Job {
        set,
        threads: 1,
        spec: None,
    };
    let config = EngineConfig {
        correction_horizon_ms: HORIZON_MS,
        limits: Limits {
            series_per_worker_max: usize::MAX,
            ..Limits::default()
        },
        ..set.config(job.threads)
    };
    let rss_before_bytes = own_rss_bytes();
    let begun = Instant::now();
    let clock = Arc::new(RunClock::start());
    let (engine, captured) = Engine::start(config, Arc::new(log.clone()), clock.clone(), None);
    let stats = engine.handle().stats.clone();
    let mut taker = Taker::new(&captured, stats.clone(), job)?;
    while !taker.has_read(&log.held_at()) {
        taker.take()?;
    }
    let read = clock.epoch();
    while !taker.is_through(read) {
        taker.take()?;
    }
    let used = taker.used()?;
    let outcome = Outcome {
        messages,
        run_s: begun.elapsed().as_secs_f64(),
        engine_cpu_s: used.process_s - used.thread_s,
        series: stats.series.get().max(0) as u64,
        grown_bytes: own_rss_bytes().saturating_sub(rss_before_bytes),
    };
    log.release();
    while taker.is_running() {
        taker.take()?;
    }
    engine.join();
    let whole = taker.outcome(begun)?;
    ensure!(
        (whole.rejects, whole.duplicates) == (0, 0),
        "some were not taken: {whole}"
    );
    let (counted, sent) = (
        whole.minutes.steady.count + whole.minutes.flaky.count,
        messages * METRICS.len() as u64,
    );
    ensure!(counted == sent, "{counted} readings are in rows, not {sent}: {whole}");
    let series = u64::from(devices) * METRICS.len() as u64;
    ensure!(outcome.series == series, "{} series, not {series}", outcome.series);
    Ok(outcome)
}

/// The log: devices in turn, event time as in S.
pub(crate) fn log(devices: u32, messages: u64) -> SliceLog {
    let spec = Spec {
        messages,
        devices,
        span_ms: (messages * 60_000 / (u64::from(devices) * PER_MINUTE)) as i64,
        seed: 47,
        ..Spec::S
    };
    let (mut output, mut record) = (SliceOutput::new(spec), Record::default());
    for index in 0..messages {
        let mut telemetry = Telemetry::at(&spec, index);
        telemetry.device = (index % u64::from(devices) * STRIDE % u64::from(devices)) as u32;
        if telemetry.late {
            telemetry.ts_ms = BASE_MS + (index as f64 * spec.span_ms as f64 / messages as f64) as i64;
        }
        record.fill(&telemetry, spec.partitions);
        output.push(&record);
    }
    output.into_held_log()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_seen_and_every_reading_counted() {
        let outcome = run(1_000, 10_000, Set::Minutes).unwrap();
        assert_eq!((outcome.series, outcome.messages), (4_000, 10_000));
        assert!(run(1_000, 999, Set::Minutes).is_err());
    }
}
