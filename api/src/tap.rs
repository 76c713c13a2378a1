//! What durable rows and anomalies are shown to: a census of who has reported, and whoever listens.

use crate::census::{Census, Minute};
use crate::live::Hub;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::Row;
use tidewatch_proto::time::PaneNo;

/// Rows that somebody else keeps too.
pub type SharedRows = Arc<dyn AsRef<[Row]> + Send + Sync>;

/// Made before the run's parts are wired; the API looks at it, and whoever makes rows durable shows them to it.
#[derive(Debug, Default)]
pub struct Tap {
    census: Mutex<Census>,
    /// Whether anomalies were shown since that was last asked.
    found: AtomicBool,
    pub(crate) hub: Hub,
}

impl Tap {
    /// Shows rows that are durable, with all that epochs through this one have brought. It doesn't block, and while
    /// nobody listens it counts devices and does nothing else.
    pub fn durable(&self, rows: &SharedRows, through: Epoch) {
        let own: &[Row] = (**rows).as_ref();
        self.census().note(own);
        self.hub.durable(rows, through);
    }

    /// Shows anomalies that are durable, as they stand. It doesn't block, and while nobody listens it does next to nothing.
    pub fn anomalies(&self, anomalies: &[Anomaly]) {
        if !anomalies.is_empty() {
            self.found.store(true, Ordering::Relaxed);
            self.hub.anomalies(anomalies);
        }
    }

    /// Whether anomalies were shown since this was asked before.
    pub(crate) fn has_found(&self) -> bool {
        self.found.swap(false, Ordering::Relaxed)
    }

    /// Who reported in the last minute that is closed through this pane.
    pub(crate) fn minute(&self, closed: Option<PaneNo>) -> Option<Minute> {
        self.census().minute(closed)
    }

    // A panic while the lock was held leaves counts that are each whole.
    fn census(&self) -> MutexGuard<'_, Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
