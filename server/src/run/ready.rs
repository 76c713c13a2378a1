//! Whether the process can do its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tidewatch_api::{Kept, Readiness};
use tidewatch_dataflow::Handle;

/// The engine isn't ready when it is so many epochs behind the clock.
const BEHIND_MAX: i64 = 50;

/// What can't be written is told when it has been so for this long: most of what fails succeeds at once again.
const PATIENCE_MS: i64 = 2_000;

/// Whether the process can do its work.
pub struct Ready {
    /// The engine.
    pub engine: Handle,
    /// The last epoch that was completed.
    pub as_of: Arc<AtomicU64>,
    /// How many sinks are in an outage.
    pub outages: Arc<AtomicUsize>,
    /// How what the process keeps is.
    pub kept: Arc<dyn Fn() -> Kept + Send + Sync>,
}

impl Readiness for Ready {
    fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.as_of.load(Ordering::Relaxed) == 0 {
            reasons.push("no epoch is complete yet".to_owned());
        }
        let behind = self.engine.stats.epoch_lag.get();
        if behind > BEHIND_MAX {
            reasons.push(format!("the engine is {behind} epochs behind the clock"));
        }
        if self.outages.load(Ordering::SeqCst) > 0 {
            reasons.push("a sink is failing and tried again".to_owned());
        }
        let kept = (self.kept)();
        let when = (kept.now_ms, PATIENCE_MS);
        let log = kept.log.map(|log| log.writing.trouble("the embedded log", when));
        let archive = kept.archive.map(|archive| archive.writing.trouble("the archive", when));
        reasons.extend(log.into_iter().chain(archive).flatten());
        reasons
    }
}
