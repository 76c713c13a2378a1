//! Counts what it is given and drops it: for measurements, and for outputs nobody wants.

use crate::{Sink, SinkError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidewatch_proto::row::Delivery;

/// A sink for anything that keeps only the number of items. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Discard {
    items: Arc<AtomicU64>,
}

impl Discard {
    /// A counter at 0.
    pub fn new() -> Discard {
        Discard::default()
    }

    /// Items so far, counting what was delivered again.
    pub fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }
}

impl<T> Sink<T> for Discard {
    fn name(&self) -> &'static str {
        "discard"
    }

    fn deliver(&mut self, delivery: &Delivery<T>) -> Result<(), SinkError> {
        self.items.fetch_add(delivery.items.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}
