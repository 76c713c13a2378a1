//! Who says of which epochs checkpoints are made: the first process by its pace, the others when they are told.

use super::talk::Talk;
use std::sync::mpsc;
use std::time::Duration;
use tidewatch_checkpoints::Pace;
use tidewatch_proto::ids::Epoch;

/// How often a process looks whether it was told.
const LOOK: Duration = Duration::from_millis(10);

/// A checkpoint to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Of which epoch.
    pub epoch: Epoch,
    /// Whether it is the run's last one.
    pub is_last: bool,
}

/// Who says it.
pub enum Sealing {
    /// This process, for all.
    Own {
        /// How often.
        pace: Pace,
        /// To tell the others.
        talk: Talk,
        /// The last epochs of the others, as they end.
        ended: mpsc::Receiver<Epoch>,
    },
    /// The first process.
    Told {
        /// To tell the first one.
        talk: Talk,
        /// What it says.
        seals: mpsc::Receiver<Seal>,
        /// What it has said and isn't done.
        next: Option<Seal>,
    },
}

impl Sealing {
    /// How long to wait for workers at most.
    pub fn wait(&self, is_new: bool) -> Duration {
        match self {
            Sealing::Own { pace, talk, .. } => pace.wait(is_new || !talk.is_alone()).max(Duration::from_millis(1)),
            Sealing::Told { .. } => LOOK,
        }
    }

    /// The epoch of which a checkpoint is due when all through `complete` is there, `border` is the last border
    /// until there, and what came until `sealed` is in a checkpoint.
    pub fn due(&mut self, complete: Epoch, border: Epoch, sealed: Epoch, is_new: bool) -> Option<Epoch> {
        match self {
            Sealing::Own { pace, talk, .. } => {
                let is_due = pace.wait(is_new || !talk.is_alone()).is_zero() && border > sealed;
                is_due.then(|| {
                    talk.seal(Seal {
                        epoch: border,
                        is_last: false,
                    });
                    border
                })
            }
            Sealing::Told { seals, next, .. } => {
                *next = next.take().or_else(|| seals.try_recv().ok());
                next.take_if(|seal| seal.epoch <= complete && !seal.is_last)
                    .map(|seal| seal.epoch)
            }
        }
    }

    /// The checkpoint to make when this process's workers have ended and its state is of this epoch; `None` when nobody
    /// says so any more.
    pub fn after_end(&mut self, state_of: Epoch) -> Option<Seal> {
        match self {
            Sealing::Own { talk, ended, .. } => {
                let mut others = (1..talk.member.processes).map(|_| ended.recv().ok());
                let epoch = others.try_fold(state_of, |latest, other| Some(latest.max(other?)))?;
                let seal = Seal { epoch, is_last: true };
                talk.seal(seal);
                Some(seal)
            }
            Sealing::Told { seals, next, .. } => next.take().or_else(|| seals.recv().ok()),
        }
    }

    /// This process's workers have ended, and its state is of this epoch.
    pub fn has_ended(&self, state_of: Epoch) {
        if let Sealing::Told { talk, .. } = self {
            talk.ended(state_of);
        }
    }

    /// A checkpoint was made.
    pub fn made(&mut self) {
        if let Sealing::Own { pace, .. } = self {
            pace.made();
        }
    }
}
