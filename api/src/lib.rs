//! The HTTP face of Tidewatch: rows of series and rollups, devices, dead letters, anomalies, what happens now, and the page.
//!
//! A request goes through one file after the other: [`serve`] (the connection) → `answer` (what every request
//! gets: checks, timeout, errors as problems, counts) → `gate` (host, origin, route, role) → `routes` (warp: a
//! resource a file) → [`SeriesReader`], which the server implements.
//!
//! The crate sees handles only: it knows no timely type, no source and no sink.
//!
//! * [`config`]: what a user may set, and what comes of it.
//! * [`roles`]: the one table of routes, and who may call them.
//! * [`reader`]: the contracts to read rows, devices, dead letters and anomalies; [`conformance`] is the suite for rows, [`memory`]
//!   the plainest implementation.
//! * [`live`]: rows pushed to whoever listens, as they change; [`tap`]: what durable rows are shown to.
//! * [`document()`]: the API as a contract, in OpenAPI.
//! * `anomaly`: an anomaly as JSON, and as a sentence.
//! * `fleet`: how the fleet and the process are doing, in numbers that a page can show.
//! * `catalogue`: what is known of metrics.
//! * [`places`]: where devices belong.
//! * [`handles`]: all that the server hands over.
//! * [`sink_stats`]: what is counted about sinks.

mod anomaly;
mod answer;
mod body;
mod catalogue;
mod census;
pub mod config;
pub mod conformance;
mod document;
pub mod error;
mod fleet;
mod gate;
pub mod handles;
pub mod kept;
pub mod live;
pub mod memory;
mod metrics;
pub mod places;
mod problem;
pub mod reader;
mod rfc3339;
pub mod roles;
mod routes;
mod serve;
pub mod sink_stats;
pub mod tap;

pub use catalogue::Catalogue;
pub use config::{ApiConfig, Settings};
pub use document::document;
pub use error::{Error, ErrorKind};
pub use handles::{BuildInfo, Event, Handles, Readiness, RunInfo};
pub use kept::{ArchiveCounts, Kept, LogCounts, StoreCounts, Writing};
pub use live::LiveFeed;
pub use memory::MemoryReader;
pub use places::Places;
pub use reader::{
    Anomalies, AnomalyReader, DeviceReader, LetterReader, Letters, ReadError, ReadErrorKind, ReplayRefusal,
    SeriesReader,
};
pub use serve::{BoundServer, Port, listen, serve};
pub use sink_stats::SinkStats;
pub use tap::Tap;
