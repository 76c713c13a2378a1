//! Kafka: rows to a compacted topic, dead letters to another.
//!
//! Protocol: a delivery is produced with `acks=all` in a transaction, or several when it is large; every delivery report
//! is looked at. When one is missing or bad, or a commit fails, the outcome is unknown: the producer is destroyed, and
//! the delivery fails as a whole and comes again with a new one.
//!
//! Fence: each process writes under a transactional id of its own, and begins under it before its sources open: from
//! then on brokers refuse the process of an older run that had the same. So that a run which was replaced while it hung
//! does not do the same to its successor, it asks before and after each beginning whether it is the newest
//! ([`Fence`](crate::fence::Fence)). Transactions are there for this only: this protocol's can be torn, and a delivery
//! that fails is repeated anyway.
//!
//! Guarantee: at least once, in order. A row's key in the topic is its key in the stream, so that compaction keeps
//! the last one; its headers `epoch`, `generation` and `revision` tell consumers what is older. While a delivery is
//! repeated they may see an earlier revision after a later one, and take the greatest. Dead letters are told apart by
//! topic, partition and offset.
//!
//! * [`config`]: what is configured, and what it resolves to.
//! * `topic`: whether a topic is there, and making it.
//! * `producer`: messages in, everything acknowledged or an error out.
//! * `json`, `sink`, `dead_letter`: what is sent.

pub mod config;
mod dead_letter;
mod json;
mod producer;
mod sink;
#[cfg(test)]
mod tests;
mod topic;

pub use config::{KafkaSinkConfig, KafkaSinkSettings};
pub use dead_letter::KafkaDeadLetters;
pub use sink::KafkaSink;
