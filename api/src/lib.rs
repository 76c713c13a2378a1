//! The HTTP face of Tidewatch: rows of series and rollups, health, and metrics.
//!
//! A request goes through one file after the other: [`serve`] (the connection) → `answer` (what every request
//! gets: checks, timeout, errors as problems, counts) → `gate` (host, origin, route, role) → `routes` (warp: a
//! resource a file) → [`SeriesReader`], which the server implements.
//!
//! The crate sees handles only: it knows no timely type, no source and no sink.
//!
//! * [`config`]: what a user may set, and what comes of it.
//! * [`roles`]: the one table of routes, and who may call them.
//! * [`reader`]: the contract to read rows; [`conformance`] is its suite, [`memory`] its plainest implementation.
//! * [`handles`]: all that the server hands over.
//! * [`sink_stats`]: what is counted about sinks.

mod answer;
pub mod config;
pub mod conformance;
pub mod error;
mod gate;
pub mod handles;
pub mod memory;
mod metrics;
mod problem;
pub mod reader;
mod rfc3339;
pub mod roles;
mod routes;
mod serve;
pub mod sink_stats;

pub use config::{ApiConfig, Settings};
pub use error::{Error, ErrorKind};
pub use handles::{ArchiveCounts, BuildInfo, Event, Handles, Readiness};
pub use memory::MemoryReader;
pub use reader::{ReadError, ReadErrorKind, SeriesReader};
pub use serve::{BoundServer, Port, listen, serve};
pub use sink_stats::SinkStats;
