//! Recent rows, dead letters and anomalies in memory: the hot store of a run without a database.
//!
//! Bounded by rows, bytes and age; the oldest windows leave first. Nothing survives the process. Handles are
//! cloned: the engine delivers through one while the API reads through another.

mod anomalies;
pub mod config;
mod dead_letters;
mod store;
#[cfg(test)]
mod tests;

pub use anomalies::MemoryAnomalies;
pub use config::MemoryConfig;
pub use dead_letters::MemoryDeadLetters;

use crate::hot::HotStore;
use crate::{Sink, SinkError};
use std::sync::{Arc, PoisonError, RwLock};
use store::Store;
use tidewatch_proto::ids::Generation;
use tidewatch_proto::query::{DeviceQuery, DeviceSummary, SeriesQuery};
use tidewatch_proto::row::{Delivery, Row};

/// The rows of recent windows, the last of each key. Clones share them.
#[derive(Clone, Debug)]
pub struct MemorySink {
    store: Arc<RwLock<Store>>,
}

impl MemorySink {
    /// An empty store with these bounds.
    pub fn new(config: &MemoryConfig) -> MemorySink {
        MemorySink {
            store: Arc::new(RwLock::new(Store::new(config))),
        }
    }

    /// Rows held now.
    pub fn len(&self) -> usize {
        self.read().rows()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes the rows take.
    pub fn bytes(&self) -> usize {
        self.read().bytes()
    }

    /// Rows that left because of a bound.
    pub fn evicted(&self) -> u64 {
        self.read().evicted()
    }

    /// Every row held, in no order.
    pub fn rows(&self) -> Vec<Row> {
        self.read().all()
    }

    // A panic while the lock was held leaves rows that are each whole: they can still be read.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink<Row> for MemorySink {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn deliver(&mut self, delivery: &Delivery<Row>) -> Result<(), SinkError> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        refuse_older(store.generation, delivery.generation)?;
        store.generation = delivery.generation;
        for row in &delivery.items {
            store.put(row);
        }
        store.evict();
        Ok(())
    }
}

impl HotStore for MemorySink {
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError> {
        Ok(self.read().series(query))
    }

    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, SinkError> {
        Ok(self.read().devices(query))
    }
}

/// Refuses a delivery of a generation before the one that delivered last.
fn refuse_older(stored: Generation, delivered: Generation) -> Result<(), SinkError> {
    if delivered < stored {
        let problem = format!("generation {delivered} was replaced by generation {stored}: this run must end");
        return Err(SinkError::stop("memory", problem));
    }
    Ok(())
}
