//! How what the process keeps by itself is: for `/metrics` and `/readyz`.

use super::opened::Log;
use std::sync::Arc;
use tidewatch_api::{ArchiveCounts, Kept, LogCounts, StoreCounts, Writing};
use tidewatch_sinks::sqlite::{Evicted, Usage};
use tidewatch_sources::clock::wall;
use tidewatch_sources::log::{Left, LogHealth};

/// Says it, of the log that is read, the embedded store and the archive, where there are any.
pub fn kept(
    log: &Log,
    store: Option<Arc<Usage>>,
    archive: Option<impl Fn() -> ArchiveCounts + Send + Sync + 'static>,
) -> Arc<dyn Fn() -> Kept + Send + Sync> {
    let health = match log {
        Log::Embedded(log) => Some(log.clone()),
        Log::None | Log::Kafka(_) => None,
    };
    let clock = wall();
    Arc::new(move || Kept {
        now_ms: clock(),
        archive: archive.as_ref().map(|counts| counts()),
        log: health.as_ref().map(|log| log_counts(&log.health())),
        store: store.as_ref().map(|usage| store_counts(usage)),
    })
}

fn log_counts(health: &LogHealth) -> LogCounts {
    let left = |left: &Left| (left.records, left.bytes);
    LogCounts {
        bytes: health.bytes,
        writing: Writing {
            failures: health.failures,
            failing_since_ms: health.failing_since_ms,
            waiting_bytes: health.waiting_bytes,
            waiting_since_ms: health.waiting_since_ms,
        },
        by_age: left(&health.by_age),
        by_room: left(&health.by_room),
    }
}

fn store_counts(usage: &Usage) -> StoreCounts {
    let evicted = Evicted::ALL.map(|what| (what.as_str(), usage.evicted(what)));
    StoreCounts {
        bytes: usage.bytes(),
        evicted: evicted.to_vec(),
    }
}
