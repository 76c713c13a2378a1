//! Waiting for a condition, never longer than a limit, and never past an interruption.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process;

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls until `condition` holds; fails when `limit` has passed or somebody interrupts.
pub(crate) fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !condition()? {
        process::check_interrupted()?;
        if started.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}
