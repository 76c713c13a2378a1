//! What shuts older runs out of a store that doesn't know runs by itself.

use crate::SinkError;
use std::ops::Range;
use std::sync::Arc;

/// Fails when a newer run has begun, or when that can't be told.
pub type Newest = Arc<dyn Fn() -> Result<(), SinkError> + Send + Sync>;

/// A run's process among all that write, or have written, to the same place. Each writes under a name of its own, a
/// slot; who begins under the same name shuts out who was there before.
#[derive(Clone)]
pub struct Fence {
    /// The slot of this process.
    pub slot: usize,
    /// Slots that only larger runs before this one had, for this process to shut out.
    pub former: Range<usize>,
    /// Asked before and after a beginning: who comes back after a newer run has begun must not shut that out.
    pub newest: Newest,
}

impl Fence {
    /// For a process without others, before or beside it.
    pub fn alone() -> Fence {
        Fence {
            slot: 0,
            former: 0..0,
            newest: Arc::new(|| Ok(())),
        }
    }
}
