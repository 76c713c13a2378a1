//! PostgreSQL and TimescaleDB: the storing sink, its dead letters, and the hot store that reads them back.
//!
//! Protocol: a delivery is one transaction. Its first statement writes the progress (generation, epoch) of the
//! sink's outbox parts, guarded: where a later generation has written, nothing is, and the delivery is refused.
//! The rows lock of that statement also keeps two runs from interleaving. Rows are then upserted from arrays,
//! guarded by their revision.
//!
//! Guarantee: exactly once in effect. A delivery is stored whole or not at all, again without effect, and never
//! after a later generation's first delivery.
//!
//! * [`config`]: what is configured, and what it resolves to.
//! * `session`, `failure`: one connection, rebuilt after every error; which errors may pass.
//! * `schema`, `days`: tables by versioned migrations; hypertables, or partitions made on demand; retention.
//! * `tables`, `stamp`: rows as columns of arrays.
//! * `progress`, `sink`, `dead_letters`, `hot`: what is done with them.

pub mod config;
mod days;
mod dead_letters;
mod failure;
mod hot;
mod progress;
mod schema;
mod session;
mod sink;
mod stamp;
mod tables;

pub use config::{PostgresConfig, PostgresSettings, Timescale};
pub use dead_letters::PostgresDeadLetters;
pub use hot::PostgresHotStore;
pub use schema::Tables;
pub use sink::PostgresSink;
