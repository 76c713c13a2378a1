//! Reads a topic of Apache Kafka.
//!
//! * **Partitions** are assigned explicitly, never by a group's rebalance: state and partitions move together. A reader
//!   is one consumer. Partition `p` of the source is partition `p` of the topic; whoever runs it asks a [`TopicWatch`]
//!   whether partitions were added, and opens the source anew when they were.
//! * **Positions** are those that the engine gives; [`KafkaFactory::begin`] says where to start. One that the log doesn't
//!   have any more, or a topic that was made anew under the same name, is an error, never a jump, unless `on_gap` says so.
//!   Offsets committed to the consumer group ([`KafkaFactory::commit`]) are for lag tools only.
//! * **Transactions**: records of aborted ones and of open ones are not read (`read_committed`).
//! * **Failures**: unreachable brokers, moving leaders and the like are retried for ever and told through the
//!   [event hook](crate::event::EventHook). What can't get better by waiting (refused credentials, a missing topic,
//!   a lost position, a damaged batch) ends the run.
//! * **Memory**: each reader prefetches up to `queue_bytes_max`, overshot by at most a fetch a broker.
//! * **Two clients** read the records: librdkafka (`source`, `batch`), which is the default, and one of our own (`native`),
//!   which takes whole batches and is experimental. Finding the topic and committing positions is librdkafka's with both.

mod batch;
mod begin;
mod commit;
pub mod config;
mod connect;
mod describe;
mod native;
mod replay;
mod source;
mod watch;

pub use config::{Client, KafkaSettings, KafkaSourceConfig, Start};
pub use connect::{KafkaFactory, TimestampType};
pub use watch::{Change, TopicWatch};
