//! The embedded store, on SQLite that is compiled in: rows, dead letters and anomalies in one file of one folder, for one process.
//!
//! Protocol: a delivery is one transaction. Its first statement writes the progress (generation, epoch) of the sink's
//! outbox parts; where a later generation has written one of them, the delivery is refused. Rows come in the order of
//! (window, series), so that they are appended, and are guarded by their revision. The file has a write-ahead log that is
//! synced at each commit (`synchronous = FULL`): a delivery that is confirmed leaves the outbox, so it has to survive a power
//! cut, and with deliveries about once a second that costs next to nothing. (`NORMAL` would survive a `kill -9` only.)
//!
//! Guarantee: exactly once in effect. A delivery is stored whole or not at all, again without effect, and never after
//! a later generation's first delivery. A full disk and an unreadable file are errors that pass; a file that is damaged
//! is one that doesn't.
//!
//! A table of windows is two of SQLite's:
//!
//! * **fresh** rows, keyed by (window, series) in one integer: a minute's rows of all series lie together and are appended
//!   at the end, which is several times as fast as a tree by series, in which each minute touches a page of every series.
//! * **packed** rows: those of one series and period (an hour of minutes, a day of hours) as one value, keyed by (period,
//!   series). A period is packed when it was left alone for some minutes. A series is read with one look-up a period
//!   instead of one a row, and a row takes about half as much.
//!
//! Readers put both together; the greatest revision of a window counts. So a correction of a packed row is a fresh row,
//! and is packed with the others when it has been left alone. Both tables begin with the oldest: retention and the bound
//! of the size cut them off at their beginning, period by period.
//!
//! It is one file rather than one a day since SQLite keeps no transaction whole over several files with write-ahead logs,
//! and rows have to be stored together with their progress. Space that was given back is used again.
//!
//! Retention goes by the newest window, at most the clock: old data that is loaded as a whole stays as long as new data,
//! and a device whose clock runs ahead makes nothing leave.
//!
//! Readings beyond the horizon are added to the rows of the windows that cover them, as PostgreSQL's sink does
//! ([`crate::mending`]). What a row has taken is kept beside it together with the row's revision: of a row that takes its
//! place it says nothing.
//!
//! * [`config`]: what is configured, and what it resolves to.
//! * `folder`, `session`, `failure`: the lock, one connection, rebuilt after every error; which errors may pass.
//! * `tables`, `schema`, `names`: the tables by number, made by versioned migrations; names by number.
//! * `numbers`, `pack`, `packing`: values in few bytes; rows as bytes; fresh rows into packed ones.
//! * `retention`, `usage`: what leaves, and when; how large the store is.
//! * `progress`, `sink`, `mend`, `dead_letters`, `anomalies`: what is written.
//! * `hot`, `stored`, `devices`, `letters`, `found`: what is read; `copy`: a copy as of one moment.

mod anomalies;
pub mod config;
mod copy;
mod dead_letters;
mod devices;
mod failure;
mod folder;
mod found;
mod hot;
mod letters;
mod mend;
mod names;
mod numbers;
mod pack;
mod packing;
mod progress;
mod retention;
mod schema;
mod session;
mod sink;
mod stored;
mod tables;
#[cfg(test)]
mod tests;
mod usage;

pub use anomalies::SqliteAnomalies;
pub use config::{SqliteConfig, SqliteSettings};
pub use dead_letters::SqliteDeadLetters;
pub use folder::{News, Sqlite};
pub use hot::SqliteHotStore;
pub use letters::SqliteLetters;
pub use sink::SqliteSink;
pub use usage::{Evicted, Usage};
