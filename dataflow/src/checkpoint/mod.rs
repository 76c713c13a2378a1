//! A checkpoint: the state at the end of an epoch, of all workers together, from which any number of workers goes on.
//!
//! It is written as it comes, in segments: slices of the workers' state, each as it was at a point of its worker's
//! journal, the journals, and what sinks have still to take. A manifest says at last which segments make up the state
//! at the end of which epoch. [`mod@file`] is how both look as bytes.

pub mod file;
mod recorder;
mod renamed;
mod restored;
mod share;
mod stateful;

pub use file::{CheckpointError, FORMAT_VERSION};
pub use recorder::Recorder;
#[cfg(test)]
pub(crate) use renamed::Renamed;
pub use restored::Restored;
pub(crate) use share::Share;
pub use stateful::{Partitions, Stateful};

use crate::batch::Position;
use crate::capture::StateSlice;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidewatch_proto::anomaly::{Anomaly, Rule};
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;
use tidewatch_proto::straggler::Straggler;

/// What a checkpoint says beside the series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The run that saved it.
    pub generation: Generation,
    /// The epoch it completes.
    pub epoch: Epoch,
    /// How many workers that run had.
    pub workers: usize,
    /// What the settings came to that the state depends on: see [`crate::EngineConfig::fingerprint`].
    pub settings: u64,
    /// What was looked for: the journal is done again with these.
    pub rules: Vec<Rule>,
    /// The names of the source's partitions: the numbers elsewhere are places in this list.
    pub partition_names: Vec<String>,
    /// Which log the positions are of, as its source tells it from one of the same name: a topic's id. Empty when the
    /// source doesn't tell.
    pub log: String,
    /// Where reading goes on; where a source doesn't say where it begins, a partition that never had a record has none.
    pub positions: Vec<Position>,
    /// All sinks have taken what epochs through this one have brought.
    pub delivered: Epoch,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// Whose segment it is: its run, and its number there. The first part of each.
    Begin(Generation, u64),
    /// A slice of a worker's state.
    State(StateSlice),
    /// A chunk of a worker's journal.
    Journal(Chunk),
    /// Rows of an epoch.
    Rows(Epoch, Vec<Row>),
    /// Records of an epoch that can't be used.
    Rejects(Epoch, Vec<Reject>),
    /// Readings that a store is to add to its rows.
    Stragglers(Epoch, Vec<Straggler>),
    /// What rules have found.
    Anomalies(Epoch, Vec<Anomaly>),
}

/// A part of a worker's journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The worker.
    pub worker: usize,
    /// How many entries its journal had before.
    pub entries: u64,
    /// The entries: see [`crate::journal`].
    #[serde(with = "crate::bytes")]
    pub bytes: Vec<u8>,
}

/// A checkpoint as it was saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Where it stands in time and in the log.
    pub meta: Meta,
    /// The parts of its segments, in their order.
    pub parts: Vec<Part>,
}

/// What sinks may not have taken, by epoch.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Rows.
    pub rows: BTreeMap<Epoch, Vec<Row>>,
    /// Rejects.
    pub rejects: BTreeMap<Epoch, Vec<Reject>>,
    /// Readings for the storing sink.
    pub stragglers: BTreeMap<Epoch, Vec<Straggler>>,
    /// What rules have found.
    pub anomalies: BTreeMap<Epoch, Vec<Anomaly>>,
}
