//! The archive: raw telemetry as zstd Parquet, in a folder or in S3.
//!
//! It reads the log by itself, at positions of its own, so that a slow store holds nobody up. What it has is what its
//! manifests say, and nothing else: an object that none names isn't there yet, or not any more.
//!
//! * [`Archiver`] reads partitions, cuts what they hold into objects and puts these; [`run()`] does it until it is told
//!   to stop.
//! * [`Chain`] is the manifest of a partition, a list of numbered records, each put only if there is none of its number.
//! * [`Writer`] makes Parquet of rows, [`Contents`] rows of Parquet again.
//! * [`merge`] makes one object of neighbours, [`expire`] lets go of old ones, [`Collector`] removes what no manifest names.
//! * [`objects()`] and [`read()`] give back what is there.

mod archiver;
mod buffer;
mod chain;
mod collect;
mod columns;
mod contents;
mod error;
mod merge;
mod names;
mod object;
mod read;
mod retain;
mod row;
mod run;
mod schema;
mod stats;
mod writer;

pub use archiver::{Archiver, Begin, Log, Stepped};
pub use chain::{Chain, Change, Entry, Manifest};
pub use collect::Collector;
pub use contents::Contents;
pub use error::{ArchiveError, Kind};
pub use merge::merge;
pub use names::{Hour, ObjectName, log_name};
pub use read::{Archived, objects, partitions, read, rows};
pub use retain::expire;
pub use row::Row;
pub use run::{Event, run};
pub use stats::{PartitionStats, Stats};
pub use writer::{Summary, Writer};

use std::time::Duration;

/// How the archive is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// An object that is merged of others has this many bytes at most.
    pub object_bytes: u64,
    /// What was read waits at most so long before it is put.
    pub object_time: Duration,
    /// What was read and is not put yet takes at most so much memory, in all partitions.
    pub memory_bytes: u64,
    /// The level of zstd.
    pub level: i32,
    /// Whether small objects are merged.
    pub compaction: bool,
    /// What no manifest names is removed when it has been seen for so long.
    pub grace: Duration,
    /// Records that the log appended longer ago leave, a whole object at a time; none do when there is none.
    pub retention: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            object_bytes: 128 << 20,
            object_time: Duration::from_secs(60),
            memory_bytes: 256 << 20,
            level: 3,
            compaction: true,
            grace: Duration::from_secs(600),
            retention: None,
        }
    }
}

impl Settings {
    /// The time before which records leave, milliseconds since 1970.
    fn expired_ms(&self) -> Option<i64> {
        let retention = i64::try_from(self.retention?.as_millis()).ok()?;
        Some(archiver::wall_ms().saturating_sub(retention))
    }
}
