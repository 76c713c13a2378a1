//! What leaves the engine: rows and rejects by epoch, how far each worker has come, and saved state.

use crate::batch::Position;
use crate::series::PartitionSnapshot;
use std::collections::BTreeMap;
use std::sync::mpsc;
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, KeyGroup};
use tidewatch_proto::reject::Reject;

/// One message of a worker. Those of one worker come in order: what an epoch has brought, then that it ended.
#[derive(Debug)]
pub enum Captured {
    /// Rows that an epoch produced.
    Rows(Epoch, RowList),
    /// Records that can't be used.
    Rejects(Epoch, Vec<Reject>),
    /// Where reading stood at the end of an epoch.
    Positions(Epoch, Vec<Position>),
    /// The worker has completed everything through this epoch.
    Through {
        /// Which worker.
        worker: usize,
        /// The epoch.
        epoch: Epoch,
    },
    /// A part of the state of the worker's series at the end of an epoch.
    State(Box<StateSlice>),
    /// The worker has ended; nothing more comes from it.
    Ended {
        /// Which worker.
        worker: usize,
        /// Why, when it is not because all is done.
        error: Option<String>,
    },
}

/// A part of what one worker saved at a cut: all of it at once could take as much memory again as the state itself.
#[derive(Clone, Debug)]
pub struct StateSlice {
    /// Which worker.
    pub worker: usize,
    /// The epoch it completes.
    pub epoch: Epoch,
    /// Series by key group: what [`crate::series::GroupState`] is in postcard.
    pub groups: BTreeMap<KeyGroup, Vec<u8>>,
    /// Whether it is the worker's last of this cut.
    pub last: bool,
    /// How far partitions have come.
    pub partitions: Vec<PartitionSnapshot>,
}

/// Where captured messages go. It never blocks: the outbox's bound stops the source instead.
pub type CaptureSender = mpsc::Sender<Captured>;

/// About how many bytes a reject takes while it waits for a sink.
pub fn reject_bytes(reject: &Reject) -> i64 {
    256 + reject.payload.len() as i64
}
