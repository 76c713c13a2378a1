//! A simulated fleet: devices that measure at an interval, some of them badly.
//!
//! * **A log that need not be kept**: what a device sends in an interval is a function of (seed, device, interval), and
//!   an offset tells device and interval. So a reader that starts again from a position gets the same records, and what
//!   fell due while nobody read.
//! * **Partitions**: a device belongs to one, by the hash that Kafka's Java client uses.
//! * **Log time**: when the record fell due, as if it had arrived at once. Records fall due by the clock, so the source
//!   is `Idle` between them and never `Finished`.
//! * **Into the log**: [`FleetFeed`] reads it and appends what it has read to the embedded log, where it goes on after a stop.
//! * **Offsets** have holes: every device has room for 64 messages an interval.

pub mod config;
mod device;
mod faults;
mod feed;
mod partition;
mod source;

pub use config::{FaultConfig, FleetConfig, FleetSettings};
pub use device::metrics;
pub use feed::{FleetFeed, Step};
pub use source::FleetFactory;
