//! Mistakes that a test has a run make, to see whether it is caught: nothing without the feature `failpoints`.

use tidewatch_dataflow::checkpoint::{Outbox, Restored, Saved};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::{Row, Status};

/// The checkpoint to go on from.
pub(super) fn saved(saved: Option<Saved>) -> Option<Saved> {
    saved.filter(|_| !has_bug(Bug::FromBeginning))
}

/// The state to go on from.
pub(super) fn restored(restored: &mut Restored) {
    if has_bug(Bug::LoseOutbox) {
        restored.outbox = Outbox::default();
    }
}

/// The rows of a checkpoint.
pub(super) fn rows(rows: &mut Vec<Row>) {
    if has_bug(Bug::LoseCorrection)
        && let Some(at) = rows.iter().position(|row| row.status == Status::Corrected)
    {
        rows.remove(at);
    }
}

/// The rejects of a checkpoint.
pub(super) fn rejects(rejects: &mut Vec<Reject>) {
    if has_bug(Bug::ForgetLetter) {
        rejects.pop();
    }
}

/// Through which epoch a checkpoint's positions go.
pub(super) fn positions_through(through: Epoch) -> Epoch {
    match has_bug(Bug::PositionsFirst) {
        true => Epoch(u64::MAX - 1),
        false => through,
    }
}
