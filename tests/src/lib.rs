//! Tests with real components: what they share.

pub mod running;
pub mod sinks;
pub mod sources;
