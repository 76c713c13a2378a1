//! Where readings come from: the connectors, and the conformance suite that each passes.
//!
//! * [`kafka`]: a topic of Apache Kafka.
//! * [`mod@file`]: CSV, JSON lines and length-delimited protobuf, from files or standard input.
//! * [`fleet`]: a simulated fleet of devices.
//! * [`log`]: the embedded durable log, which is written here too.
//! * [`memory`]: records in memory, for tests and benches.
//! * [`conformance`]: the suite; all but Kafka pass it here, Kafka in the crate `tests`.
//! * [`clock`]: what paced sources go by.
//! * [`begin`]: what reading begins with, and what to do about records that are gone.
//! * [`replay`]: what takes dead letters back.
//! * [`event`]: what a source has to say while it goes on reading.
//!
//! The contract itself is [`tidewatch_proto::source`], since the engine is its other side.

pub mod begin;
pub mod clock;
pub mod conformance;
mod encode;
pub mod event;
pub mod file;
pub mod fleet;
pub mod kafka;
pub mod log;
pub mod memory;
pub mod replay;

pub use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceError, SourceFactory};
