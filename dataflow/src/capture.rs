//! What leaves the engine: rows and rejects by epoch, how far each worker has come, and saved state.

use crate::batch::Position;
use crate::journal::Entry;
use crate::series::PartitionSnapshot;
use crate::witness::Crash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::mpsc;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, KeyGroup};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::wire::Telemetry;

/// One message of a worker. Those of one worker come in order: what an epoch has brought, then that it ended.
#[derive(Debug)]
pub enum Captured {
    /// Rows that an epoch produced.
    Rows(Epoch, RowList),
    /// Records that can't be used.
    Rejects(Epoch, Vec<Reject>),
    /// Readings that a store is to add to rows which it has got, or gets of this epoch.
    Stragglers(Epoch, Vec<Straggler>),
    /// What rules have found.
    Anomalies(Epoch, Vec<Anomaly>),
    /// Where reading stood at the end of an epoch.
    Positions(Epoch, Vec<Position>),
    /// The worker has completed everything through this epoch.
    Through {
        /// Which worker.
        worker: usize,
        /// The epoch.
        epoch: Epoch,
    },
    /// What the worker has done to its series.
    Journal {
        /// Which worker.
        worker: usize,
        /// The entry.
        entry: Entry,
    },
    /// A part of the state of the worker's series.
    State(Box<StateSlice>),
    /// The worker has crashed at these records; that it has ended comes next.
    Crashed {
        /// Which worker.
        worker: usize,
        /// Where it was, and what it said.
        crash: Crash,
    },
    /// The worker has ended; nothing more comes from it.
    Ended {
        /// Which worker.
        worker: usize,
        /// Why, when it is not because all is done.
        error: Option<String>,
    },
}

/// A part of a worker's series as they were at a point of its journal.
///
/// A round of slices is all of the state. While a worker runs, one round follows the other, slice by slice, so that
/// nothing has to stop for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateSlice {
    /// Which worker.
    pub worker: usize,
    /// The round, from 0.
    pub round: u64,
    /// Which slice of the round, from 0. A device is always part of the same one.
    pub number: u32,
    /// Whether the round is complete with it.
    pub is_last: bool,
    /// How many entries the worker's journal had before.
    pub entries: u64,
    /// All that the slice holds was read in this epoch or earlier.
    pub through: Epoch,
    /// How far partitions had come.
    pub partitions: Vec<PartitionSnapshot>,
    /// Series by key group: what [`crate::series::Devices`] reads.
    #[serde(with = "crate::bytes::values")]
    pub groups: BTreeMap<KeyGroup, Vec<u8>>,
}

impl StateSlice {
    /// How many bytes its series take.
    pub fn bytes(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }
}

/// Where captured messages go. It never blocks: the outbox's bound stops the source instead.
pub type CaptureSender = mpsc::Sender<Captured>;

/// The dead letter of a message that no store is there for: encoded anew, without `raw`.
pub fn letter_of(straggler: &Straggler, detail: String) -> Reject {
    let telemetry = Telemetry {
        device_id: straggler.device.to_string(),
        ts: straggler.at.0,
        metrics: straggler
            .readings
            .iter()
            .map(|(name, value)| (name.to_string(), *value))
            .collect(),
        raw: Vec::new(),
    };
    Reject {
        partition: straggler.partition,
        offset: straggler.offset,
        log_time: None,
        reason: Reason::BeyondHorizon,
        detail,
        key: Some(straggler.device.as_bytes().to_vec()),
        payload: prost::Message::encode_to_vec(&telemetry),
    }
}

/// About how many bytes a reject takes while it waits for a sink.
pub fn reject_bytes(reject: &Reject) -> i64 {
    256 + reject.payload.len() as i64
}
