//! W1: count, sum, min and max of each device and metric in one-minute windows, over a seeded telemetry topic.
//!
//! `generate` makes the stream, `outputs` and `publish` write it down, `oracle` computes the answer from a
//! column file alone, `tally` lets a system under test prove its answer, `bare` is the hand-written loop that
//! everything is compared with, `tidewatch` runs the engine itself, and `prepare` and `compare` are the two things a
//! person runs. `smoke` tries all of it on a small stream.

pub mod answer;
pub mod bare;
pub mod compare;
pub mod contestant;
pub mod generate;
pub mod memory;
pub mod oracle;
pub mod outputs;
pub mod prepare;
pub mod publish;
pub mod record;
pub mod report;
pub mod smoke;
pub mod spec;
pub mod tally;
pub mod tidewatch;
pub mod topic;

/// The names of the four metrics that every message carries, in the order of their numbers.
pub const METRICS: [&str; 4] = ["temperature", "humidity", "pressure", "vibration"];

/// Length of a window in milliseconds of event time; windows start at multiples of it.
pub const WINDOW_MS: i64 = 60_000;

/// How far event time may run backwards within a partition before a message counts as late, in milliseconds.
pub const LATENESS_MS: i64 = 10_000;

/// Devices in a site: device 0 to 99 stand in site 0.
pub const DEVICES_PER_SITE: u32 = 100;

/// Only devices whose number is a multiple of this are flaky, that is, send late messages.
pub const FLAKY_EVERY: u32 = 97;
