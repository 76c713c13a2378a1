//! Workloads, their independent oracles, and the measuring of whole processes.

pub mod curve;
pub mod measure;
pub mod w1;
