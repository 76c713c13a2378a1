//! Latency to a WebSocket: from the moment at which a record is due to be appended until its open window has come over
//! `/v1/live` to a process of its own, which subscribes without throttling.
//!
//! The program is the real one, with all that it does by default. From Kafka the records are appended by another process
//! ([`crate::latency`]); each says its number, and a window says the last one. Into the embedded log they are written by the
//! simulated fleet, whose devices send at a known millisecond of each second; there the count of a window says which one was the last.
//!
//! Beside those who read at once there may be some who hardly read (`slow`).

mod slow;
mod source;
mod subscriber;

pub use source::{From, Kafka, Log};

use crate::latency::Quantiles;
use crate::service::Service;
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long it may take until all subscribers have their snapshots.
const JOINING: Duration = Duration::from_secs(30);
/// Devices that a slow one wants.
const SLOW_DEVICES: u32 = 20;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The program.
    pub program: PathBuf,
    /// An empty folder for its data.
    pub folder: PathBuf,
    /// Subscribers that read at once, each of a device.
    pub fast: u32,
    /// Subscribers that hardly read, each of twenty devices.
    pub slow: u32,
    /// For how long latencies count.
    pub time: Duration,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Messages that the program has taken in.
    pub messages: u64,
    /// Of all records of those that read at once.
    pub fast: Quantiles,
    /// Messages that slow ones have read.
    pub slow_read: u64,
}

/// As a RESULT line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RESULT messages={} slow_read={}", self.messages, self.slow_read)?;
        self.fast.write(f, "live")
    }
}

/// Starts the program and the subscribers, has records appended, and gives the latencies.
///
/// # Errors
/// When something fails, or a subscriber is let go of or hears nothing.
pub fn run(trial: &Trial, from: &mut dyn From) -> Result<Outcome> {
    fs::create_dir_all(&trial.folder).with_context(|| format!("cannot create {}", trial.folder.display()))?;
    let service = Service::start(&trial.program, &from.keys(trial.fast + trial.slow)?, &trial.folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (stop, joined, slow_read): (_, Arc<AtomicU64>, _) = (
        Arc::new(AtomicBool::new(false)),
        Arc::default(),
        Arc::new(AtomicU64::new(0)),
    );
    let devices = from.devices();
    let spread = |place: u32, of: u32| place * (devices / of.max(1));
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    for place in 0..trial.fast {
        let device = spread(place, trial.fast);
        let hears = subscriber::hear(service.address().to_owned(), device, (stop.clone(), joined.clone()));
        fast.push((device, runtime.spawn(hears)));
    }
    for place in 0..trial.slow {
        let first = spread(place, trial.slow);
        let hears = slow::hear(
            service.address().to_owned(),
            first..first + SLOW_DEVICES,
            (stop.clone(), joined.clone(), slow_read.clone()),
        );
        slow.push(runtime.spawn(hears));
    }
    let all = u64::from(trial.fast + trial.slow);
    let counts_from_us = from.append(trial.time, &|| wait_for(&joined, all))?;
    stop.store(true, Ordering::SeqCst);
    let mut latencies_us = Vec::new();
    for (device, hears) in fast {
        let heard = runtime.block_on(hears).context("a subscriber has panicked")??;
        let of_device = heard.iter().flat_map(|heard| from.records(device, heard));
        let counted = of_device.filter(|(due_us, _)| *due_us >= counts_from_us);
        let before = latencies_us.len();
        latencies_us.extend(counted.map(|(due_us, seen_us)| seen_us.saturating_sub(due_us)));
        ensure!(latencies_us.len() > before, "device {device} was not heard of");
    }
    for hears in slow {
        runtime.block_on(hears).context("a slow subscriber has panicked")??;
    }
    let messages = service.metric("tidewatch_messages_total")? as u64;
    service.stop()?;
    fs::remove_dir_all(&trial.folder)?;
    Ok(Outcome {
        messages,
        fast: Quantiles::of(latencies_us),
        slow_read: slow_read.load(Ordering::Relaxed),
    })
}

/// Waits until so many subscribers have begun.
fn wait_for(joined: &AtomicU64, all: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    while joined.load(Ordering::Relaxed) < all {
        let now = joined.load(Ordering::Relaxed);
        ensure!(begun.elapsed() < JOINING, "only {now} of {all} subscribers have begun");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
