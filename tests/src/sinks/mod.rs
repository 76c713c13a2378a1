//! What the tests of the sinks need: where the components are, and how to read back what was stored.

pub mod kafka;
pub mod postgres;
pub mod server;

use std::sync::atomic::{AtomicU32, Ordering};

/// The value of a variable that `cargo xtask components up` writes.
///
/// # Panics
/// When it is missing: a test that needs a component is never skipped.
pub fn component(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `cargo xtask components up` and `. target/components/env` first")
    })
}

/// A name that no other test and no earlier run has used.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |age| age.as_nanos());
    format!("{prefix}_{nanos:x}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
