//! The engine without Kafka: the records lie in memory, ready to be handed over, and time counts from the engine's
//! start to its last row.

pub mod chain;
mod log;

pub use log::{SliceLog, SliceOutput};

use crate::w1::spec::Spec;
use crate::w1::tidewatch::{End, Job, Outcome, Set, run};
use anyhow::Result;
use std::sync::Arc;
use std::time::Instant;

/// Runs the engine over a log that is there, to its end.
///
/// # Errors
/// When the engine fails.
pub fn engine(log: &SliceLog, spec: Spec, set: Set, threads: usize) -> Result<Outcome> {
    let job = Job {
        set,
        threads,
        spec: Some(spec),
    };
    run(Instant::now(), job, Arc::new(log.clone()), End::Finished)
}
