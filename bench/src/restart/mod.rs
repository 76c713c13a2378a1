//! Restarts: the state of many series is saved in a folder, and another process goes on from there.

use crate::growth;
use crate::measure::own_rss_bytes_max;
use crate::w1::METRICS;
use crate::w1::tidewatch::{Job, RunClock, Saving, Set, Taker};
use anyhow::{Context, Result, anyhow, ensure};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tidewatch_checkpoints::Folder;
use tidewatch_dataflow::capture::Captured;
use tidewatch_dataflow::{Clock, Engine, EngineConfig};
use tidewatch_proto::limits::Limits;
use tidewatch_proto::source::{Assignment, Intake, Polled, Source, SourceError, SourceFactory};

/// Messages of a device.
const MESSAGES_EACH: u64 = 4;

/// What it took to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Series that are there again.
    pub series: u64,
    /// Seconds until the files were read and checked.
    pub read_s: f64,
    /// Seconds from there until the state was what it had been.
    pub restore_s: f64,
    /// Seconds from the start until every worker had completed an epoch.
    pub ready_s: f64,
    /// Resident bytes at most until then.
    pub rss_bytes_max: u64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RESULT series={} read_s={:.3} restore_s={:.3} ready_s={:.3} rss_mib={}",
            self.series,
            self.read_s,
            self.restore_s,
            self.ready_s,
            self.rss_bytes_max >> 20
        )
    }
}

fn config(job: Job) -> EngineConfig {
    EngineConfig {
        journal: true,
        limits: Limits {
            series_per_worker_max: usize::MAX,
            ..Limits::default()
        },
        ..job.set.config(job.threads)
    }
}

fn job(threads: usize) -> Job {
    Job {
        set: Set::Full,
        threads,
        spec: None,
    }
}

/// Reads messages of so many devices, of four series each, and saves in an empty folder what they come to; gives the
/// RESULT line.
///
/// # Errors
/// When the engine fails or the folder can't be written.
pub fn save(folder: &Path, devices: u32, threads: usize) -> Result<String> {
    let log = growth::log(devices, u64::from(devices) * MESSAGES_EACH);
    let (job, begun) = (job(threads), Instant::now());
    let clock = Arc::new(RunClock::start());
    let config = config(job);
    let border = config.border_epochs;
    let (engine, captured) = Engine::start(config, Arc::new(log.clone()), clock.clone(), None);
    let stats = engine.handle().stats.clone();
    let saving = Saving::start(folder, threads, log.partitions(), border, stats.clone())?;
    let mut taker = Taker::new(&captured, stats, job)?.with_saving(Some(saving));
    while !taker.has_read(&log.held_at()) {
        taker.take()?;
    }
    let read = clock.epoch();
    while !taker.is_through(read) {
        taker.take()?;
    }
    engine.handle().stop();
    while taker.is_running() {
        taker.take()?;
    }
    engine.join();
    taker.finish_saving()?;
    Ok(taker.outcome(begun)?.to_string())
}

/// Goes on from what was saved of so many devices in a folder.
///
/// # Errors
/// When it can't be gone on from, or not all of it is there.
pub fn go_on(folder: &Path, devices: u32, threads: usize) -> Result<Outcome> {
    let begun = Instant::now();
    let folder = Folder::open(folder).map_err(|problem| anyhow!(problem))?;
    let found = tidewatch_checkpoints::load(&folder).map_err(|problem| anyhow!(problem))?;
    let saved = found.saved.context("no checkpoint is in the folder")?;
    let read_s = begun.elapsed().as_secs_f64();
    let config = config(job(threads));
    let silence = Arc::new(Silence(saved.meta.partition_names.clone()));
    let epoch = saved.meta.epoch;
    let restored = saved.into_restored(silence.partitions(), &config)?;
    let restore_s = begun.elapsed().as_secs_f64() - read_s;
    let clock = Arc::new(RunClock::start());
    let first = clock.skip(epoch.0);
    let (engine, captured) = Engine::start(config, silence, clock, Some(restored));
    let mut ready = vec![false; threads];
    while ready.contains(&false) {
        match captured.recv().context("the engine ended")? {
            Captured::Through { worker, epoch } => ready[worker] |= epoch >= first,
            Captured::Ended { error, .. } => return Err(anyhow!("a worker ended: {error:?}")),
            _ => {}
        }
    }
    let outcome = Outcome {
        series: engine.handle().stats.series.get().max(0) as u64,
        read_s,
        restore_s,
        ready_s: begun.elapsed().as_secs_f64(),
        rss_bytes_max: own_rss_bytes_max(),
    };
    engine.handle().stop();
    engine.join();
    let series = u64::from(devices) * METRICS.len() as u64;
    ensure!(outcome.series == series, "{} series, not {series}", outcome.series);
    Ok(outcome)
}

/// The longest and the mean time in milliseconds that a worker gives to a slice of its state.
///
/// # Errors
/// When the state can't be gone on from.
pub fn slices(folder: &Path) -> Result<String> {
    let folder = Folder::open(folder).map_err(|problem| anyhow!(problem))?;
    let found = tidewatch_checkpoints::load(&folder).map_err(|problem| anyhow!(problem))?;
    let saved = found.saved.context("no checkpoint is in the folder")?;
    let names = saved.meta.partition_names.clone();
    let restored = saved.into_restored(&names, &config(job(1)))?;
    let (mut slices, mut longest_ms, mut whole_ms, mut bytes) = (0, 0.0, 0.0, 0);
    for state in restored.states() {
        for number in 0..state.slices() {
            let begun = Instant::now();
            bytes += state.save_slice(number).values().map(Vec::len).sum::<usize>();
            let took_ms = begun.elapsed().as_secs_f64() * 1e3;
            longest_ms = f64::max(longest_ms, took_ms);
            whole_ms += took_ms;
            slices += 1;
        }
    }
    let mean_ms = whole_ms / f64::from(slices.max(1));
    Ok(format!(
        "RESULT slices={slices} longest_ms={longest_ms:.2} mean_ms={mean_ms:.2} bytes={bytes}"
    ))
}

/// A log to which nothing is added.
struct Silence(Vec<String>);

impl SourceFactory for Silence {
    fn partitions(&self) -> &[String] {
        &self.0
    }

    fn open(&self, _: &[Assignment]) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Silence(Vec::new())))
    }
}

impl Source for Silence {
    fn poll(&mut self, _: &mut dyn Intake, _: usize) -> Result<Polled, SourceError> {
        Ok(Polled::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), 1_000, 2).unwrap();
        let outcome = go_on(folder.path(), 1_000, 1).unwrap();
        assert_eq!(outcome.series, 4_000);
        assert!(go_on(folder.path(), 999, 1).is_err());
    }
}
