//! The embedded durable log: what a broker would keep, in a folder of this machine, written and read by one process.
//!
//! * **Partitions** are folders of files (`segment`). Offsets count the records of a partition from 0, without holes; each
//!   record has a key, a payload and a log time, which whoever appends it gives.
//! * **Durable first**: [`LogWriter::append`] takes a batch; a thread writes what has come since the last time, syncs it, and
//!   only then are there readers that see it and [`LogWriter::wait`] that acknowledges it. So no checkpoint has a position
//!   that a power cut takes back, and a `kill -9` loses nothing that was acknowledged. A batch is there whole or not at all,
//!   and with it where its sender goes on ([`Origin`]).
//! * **Failures**: a full or failing disk is told through the [event hook](crate::event::EventHook) and tried again for ever;
//!   what waits is bounded, then `append` says [`AppendError::Full`]. A file of which a sync has failed is written no more:
//!   what it lacks goes into the next one.
//! * **Damage**: at the start the end of a write that was cut off is cut off, and told. A batch that was durable and can't be
//!   read is an error that names the file, at the start or when it is read.
//! * **Retention** removes whole files, by time and by the bytes of all partitions, but none that the reader may come back to
//!   ([`LogFactory::begin`], [`LogFactory::read_until`]): where the bytes are used up by these, the writer waits for the reader.
//! * **One process**: the folder is locked. Its id tells a checkpoint when a log was made anew.

mod begin;
pub mod config;
pub mod copy;
mod frame;
mod health;
mod open;
mod partition;
mod replay;
mod retain;
mod segment;
mod source;
mod write;
mod writer;

pub use config::{Feed, LogConfig, LogSettings};
pub use frame::{Batch, Origin, Tail};
pub use health::{Left, LogHealth};
pub use source::LogFactory;
pub use writer::{AppendError, LogWriter};

use partition::Shared;

use crate::clock::{Clock, wall};
use crate::event::EventHook;
use std::sync::Arc;
use tidewatch_proto::source::SourceError;

/// Opens the log for writing and reading; it is made when it isn't there. The folder stays locked until both are gone.
///
/// # Errors
/// When another process has it, it can't be read or written, or it is damaged.
pub fn open(settings: &LogSettings, hook: EventHook) -> Result<(LogWriter, LogFactory), SourceError> {
    open_by_clock(settings, hook, wall())
}

/// Opens the log; records grow old by this clock.
///
/// # Errors
/// As [`open`].
pub fn open_by_clock(
    settings: &LogSettings,
    hook: EventHook,
    clock: Clock,
) -> Result<(LogWriter, LogFactory), SourceError> {
    let (shared, actives) = open::open(settings, hook, clock)?;
    let log = Arc::new(shared);
    let writer = LogWriter::start(log.clone(), actives)?;
    Ok((writer, LogFactory { log }))
}

#[cfg(test)]
mod tests;
