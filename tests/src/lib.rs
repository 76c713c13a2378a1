//! Tests with real components: what they share.

pub mod faults;
pub mod pipeline;
pub mod proxies;
pub mod running;
pub mod s3;
pub mod sinks;
pub mod sources;
pub mod way;
