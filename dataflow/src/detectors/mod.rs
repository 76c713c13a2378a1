//! Detectors: functions from a series' closed minutes, or from a device's, to stretches of time that are anomalies.
//!
//! A detector of this kind keeps a small state, takes minutes in their order and may be asked again from any state it was
//! in: so a late reading has the minutes since taken again, and what differs from what was published is corrected. What is
//! found is thus a function of the minutes as they stand at last, not of when their readings came.
//!
//! * [`threshold`]: a value beyond a limit.
//! * [`dead_man`]: nothing at all.
//!
//! A new one is a file here, a `Detector` in `proto/src/anomaly.rs`, and its arm in `series/anomalies.rs`.

pub mod dead_man;
pub mod threshold;
