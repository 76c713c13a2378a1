//! PostgreSQL and TimescaleDB: the storing sink, its dead letters and anomalies, and the hot store that reads them back.
//!
//! Protocol: a delivery is one transaction. Its first statement writes the progress (generation, epoch) of the
//! sink's outbox parts, guarded: where a later generation has written, nothing is, and the delivery is refused.
//! The rows lock of that statement also keeps two runs from interleaving. First rows of their windows are copied, under
//! a savepoint; where one of them is there already, and for corrections, rows are upserted from arrays, guarded by
//! their revision.
//!
//! Guarantee: exactly once in effect. A delivery is stored whole or not at all, again without effect, and never
//! after a later generation's first delivery.
//!
//! Readings beyond the horizon are added to the rows of the windows that cover them, after the rows of their delivery and
//! in the same transaction. Column `mended` of a row keeps the last offset of each partition that the row has taken: none
//! is added twice, whoever delivers it again. A row that takes its place has `mended` null, and takes them again.
//!
//! * [`config`]: what is configured, and what it resolves to.
//! * `session`, `failure`: one connection, rebuilt after every error; which errors may pass.
//! * `schema`, `days`, `policies`: tables by versioned migrations; partitions made on demand and dropped, or hypertables with
//!   TimescaleDB's own policies.
//! * `order`, `tables`, `copy`, `stamp`: rows in the order of their key, as columns of arrays and as a copy.
//! * `mend`: readings beyond the horizon; [`crate::mending`] says what they make of a row.
//! * `series`: which series there are, noted once each, so that devices are found without looking at their rows.
//! * `progress`, `sink`, `dead_letters`, `anomalies`: what is done with them. `hot`, `letters`, `found`: what is read back.

mod anomalies;
pub mod config;
mod copy;
mod days;
mod dead_letters;
mod failure;
mod found;
mod hot;
mod letters;
mod mend;
mod order;
mod policies;
mod progress;
mod schema;
mod series;
mod session;
mod sink;
mod stamp;
mod tables;

pub use crate::mending::Mending;
pub use anomalies::PostgresAnomalies;
pub use config::{PostgresConfig, PostgresSettings, Timescale};
pub use dead_letters::PostgresDeadLetters;
pub use found::PostgresAnomalyStore;
pub use hot::PostgresHotStore;
pub use letters::PostgresLetterStore;
pub use schema::Tables;
pub use sink::PostgresSink;
