//! A reader of our own, batch by batch: the log's batches are fetched as they lie there, decompressed once each, and
//! their records handed over where they are.
//!
//! * **One thread a reader** ([`fetcher`]) holds a connection to each broker that leads one of its partitions, and asks
//!   for the next batches as soon as the last ones have come; a queue bounded by bytes ([`queue`]) leads to the worker.
//! * **The worker** ([`source`]) checks a batch's checksum ([`batch`]), leaves out what belongs to aborted transactions
//!   ([`aborted`]), decompresses it ([`unpack`]) and walks its records in place ([`walk`]).
//! * **Who leads a partition** is asked anew whenever a broker says that it is not it, or can't be reached ([`cluster`]).
//!
//! Brokers from Kafka 2.7 on; in the clear and without a login.

mod aborted;
mod batch;
mod cluster;
mod codes;
mod fetcher;
mod link;
mod part;
mod piece;
mod protocol;
mod queue;
mod settings;
mod source;
mod unpack;
mod walk;

pub(super) use settings::{NativeSettings, Patience};
pub(super) use source::NativeSource;

#[cfg(test)]
mod tests;
