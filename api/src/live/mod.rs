//! Rows and anomalies pushed to whoever listens, as they change: a snapshot, then changes, each marked with its epoch and with the
//! last one that is durable.
//!
//! One thread, the hub, listens to the engine for all subscribers at once, and only while there are any who want rows.
//! For each of them it keeps the last row of each window that has changed since it sent some, so that whoever reads
//! slowly gets fewer, newer rows; when that becomes too much it lets go of all of it, says so, and begins anew with a
//! snapshot.
//!
//! * `subscription`: what a subscriber wants, as it says it.
//! * `subscriber`: one of them, and what waits for it.
//! * `found`: anomalies that wait for one.
//! * `hub`: the thread.
//! * `message`: what is sent.

mod found;
mod hub;
mod message;
mod subscriber;
mod subscription;

pub(crate) use hub::Hub;
pub(crate) use message::{problem, progress};
pub(crate) use subscription::{BYTES_MAX, Subscription};

use tidewatch_dataflow::{Live, Watch};

/// Where open windows are listened to.
pub trait LiveFeed: Send + Sync {
    /// Listens from now on: all open windows come first, as they stand, then those that take readings. Who has listened
    /// before hears no more. It must not block.
    fn watch(&self, watch: Watch) -> Live;
}
