//! Workloads, their independent oracles, and the measuring of whole processes.

pub mod archive;
pub mod curve;
pub mod fetch;
pub mod growth;
pub mod in_process;
pub mod latency;
pub mod live;
pub mod measure;
pub mod restart;
pub mod results;
pub mod sections;
pub mod service;
pub mod sinks;
pub mod soak;
pub mod w1;
