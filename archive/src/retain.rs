//! Lets go of objects when their time is over: a record of the manifest says so, and then they are what no manifest names.

use crate::chain::{Chain, Entry};
use crate::error::ArchiveError;
use crate::stats::Stats;
use std::sync::atomic::Ordering;
use tidewatch_checkpoints::Tree;

/// Lets go of the first objects of a partition of which all records were appended before a time in milliseconds, and says
/// whether there were any. The archive of the partition begins behind them.
///
/// # Errors
/// When the place is away, or somebody else archives the same.
pub fn expire(tree: &dyn Tree, chain: &mut Chain, before_ms: i64, stats: &Stats) -> Result<bool, ArchiveError> {
    let is_old = |entry: &&Entry| newest_ms(entry) < before_ms;
    let count = chain.entries().iter().take_while(is_old).count();
    if count == 0 {
        return Ok(false);
    }
    chain.let_go(tree, count)?;
    stats.expired.fetch_add(count as u64, Ordering::Relaxed);
    Ok(true)
}

/// The latest time at which the log appended one of its records. The log had not come beyond the object's hour, whatever
/// a producer's clock says.
fn newest_ms(entry: &Entry) -> i64 {
    let hour_end = entry.hour().next().start_ms() - 1;
    entry.log_time.map_or(hour_end, |(_, latest)| latest.min(hour_end))
}
