//! Kafka: rows to a compacted topic, dead letters to another.
//!
//! Protocol: a delivery is produced by an idempotent producer with `acks=all`, flushed, and every delivery report is
//! looked at. When one is missing or bad, the outcome is unknown: the producer is destroyed, and the delivery fails
//! as a whole and comes again with a new one.
//!
//! Guarantee: at least once, in order. A row's key in the topic is its key in the stream, so that compaction keeps
//! the last one; its headers `epoch`, `generation` and `revision` tell consumers what is older. While a delivery is
//! repeated they may see an earlier revision after a later one, and take the greatest. Older generations are not
//! refused: a topic has no condition to check. Dead letters are told apart by topic, partition and offset.
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
