//! Tests with real components: what they share.

pub mod sinks;
pub mod sources;
