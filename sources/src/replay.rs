//! Putting a record into its log again, once: the contract of a log that takes dead letters back.

use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceError;

/// A record that goes into the log again.
#[derive(Clone, Copy, Debug)]
pub struct Again<'a> {
    /// Tells it from any other.
    pub id: u64,
    /// Where it goes.
    pub partition: Partition,
    /// The partition's end when it was first to go there.
    pub from: Offset,
    /// The log time that it gets, where the log lets whoever appends say so: milliseconds since 1970.
    pub at_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Why a record was not put into a log.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log never takes it.
    #[error(transparent)]
    Refused(SourceError),
    /// It may later. Whether it is there may be unknown; the same again finds it.
    #[error(transparent)]
    Failed(SourceError),
    /// The log has let go of records behind `from`: nobody can say whether it was there.
    #[error("the log begins behind where it would be")]
    Gone,
}

/// A log that takes records back.
pub trait ReplayLog: Send + Sync {
    /// The names of its partitions; a [`Partition`] is an index into this list.
    fn partitions(&self) -> &[String];

    /// The end of a partition: what is appended from now on is there or behind.
    ///
    /// # Errors
    /// When the log doesn't say.
    fn end(&self, partition: Partition) -> Result<Offset, SourceError>;

    /// Puts a record into the log, unless it is there already, whoever tried before and however that ended. It is durable,
    /// and has this offset, when this returns. One process at a time may try.
    ///
    /// # Errors
    /// When it was not put there, or nobody knows.
    fn put_once(&self, again: &Again<'_>) -> Result<Offset, ReplayError>;
}
