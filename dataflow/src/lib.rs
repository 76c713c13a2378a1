//! The engine: readings in, windowed rows out, incrementally. No IO, no clock of its own.
//!
//! The way of a reading through this crate:
//!
//! 1. [`operators::ingest`] polls a source under the epoch's capability. [`ingest`] walks the wire, checks
//!    the limits, moves the partition's watermark, and writes columns for the worker that owns the device.
//! 2. [`operators::series`] takes the [`batch::Batch`] and applies it to [`series::SeriesState`]: open panes
//!    take readings, panes close as the log says, late readings change closed ones.
//! 3. When the epoch is complete the same operator publishes windows: final ones once, corrected ones again.
//!    Rules look at the minutes that are published: [`detectors`].
//! 4. [`operators::capture`] hands rows, rejects and positions out, and [`capture::Captured::Through`] says
//!    that an epoch is whole.
//!
//! Whoever listens to open windows by [`live`] gets them from the series operator, beside that way and ahead of it.
//!
//! What crosses series stands beside that way: closed panes go as differences over [`rollup::bus`] to one
//! shared arrangement, on which [`rollup`] builds a dataflow a job, at runtime.

pub mod batch;
mod bytes;
pub mod capture;
pub mod checkpoint;
pub mod command;
pub mod config;
pub mod detectors;
pub mod engine;
pub mod ingest;
pub mod journal;
pub mod live;
pub mod operators;
mod packing;
mod prefetch;
pub mod render;
pub mod rollup;
pub mod series;
pub mod stats;
pub mod witness;
mod worker;

pub use checkpoint::{CheckpointError, Restored, Saved};
pub use config::{Clock, EngineConfig};
pub use engine::{Engine, Handle, Peers};
pub use live::{Live, Watch};
