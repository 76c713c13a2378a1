//! What the processes of a cluster say to each other.

use super::questions::Questions;
use super::sealing::Seal;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tidewatch_checkpoints::{Member, Share};
use tidewatch_cluster::Links;
use tidewatch_proto::ids::{Epoch, Generation, Name};
use tidewatch_proto::row::Row;

/// What processes say to each other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// From the first: which run this is.
    Claimed(Claim),
    /// From the first: it tries to go on from this checkpoint.
    Trying((Generation, Epoch)),
    /// From the first: how the run begins.
    Begin(Begin),
    /// To the first: older runs are shut out of this one's sinks.
    Ready,
    /// From the first: all are ready.
    Open,
    /// From the first: a checkpoint of this epoch is to be made; whether it is the last.
    Seal(Epoch, bool),
    /// To the first: what this one has of it.
    Share(Box<Share>),
    /// From the first: it is durable.
    Durable(Epoch),
    /// To the first: somebody wants the run to stop.
    WantsStop,
    /// From the first: it stops at this epoch.
    Stop(Epoch),
    /// To the first: its workers have ended, and its state is of this epoch.
    Ended(Epoch),
    /// To the first: its sinks have taken what epochs through this one have brought.
    Delivered(Epoch),
    /// From each, now and then: the epoch that its clock shows.
    Time(Epoch),
    /// To the one whose worker owns a device: which windows of a series are open. The answer has the same number.
    Peek { number: u64, device: Name, metric: Name },
    /// These are.
    Peeked { number: u64, rows: Vec<Row> },
}

/// Which run it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Its number.
    pub generation: Generation,
    /// The source's partitions.
    pub partitions: Vec<String>,
}

/// How a run begins.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// Its first epoch.
    pub begun: Epoch,
    /// The checkpoint to go on from.
    pub checkpoint: Option<(Generation, Epoch)>,
}

/// What the first process says on the way there.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// It tries to go on from this checkpoint.
    Trying((Generation, Epoch)),
    /// That is how the run begins.
    Begin(Begin),
}

/// Speaks to the other processes. Cheap to clone; without others nothing is said.
#[derive(Clone)]
pub struct Talk {
    /// Which process this is.
    pub member: Member,
    pub(super) links: Links,
    pub(super) questions: Arc<Questions>,
}

impl Talk {
    /// For a process without others.
    pub fn alone(threads: usize) -> Talk {
        Talk {
            member: Member::alone(threads),
            links: Links::default(),
            questions: Arc::default(),
        }
    }

    /// Says whether there is a way to it.
    pub(super) fn send(&self, to: usize, message: &Message) -> bool {
        // Plain data always has a form.
        postcard::to_stdvec(message).is_ok_and(|bytes| self.links.send(to, bytes))
    }

    pub(super) fn send_to_all(&self, message: &Message) {
        if let Ok(bytes) = postcard::to_stdvec(message) {
            self.links.send_to_all(&bytes);
        }
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.member.processes == 1
    }

    /// The first one tells the others which run it is.
    pub fn claimed(&self, claim: Claim) {
        self.send_to_all(&Message::Claimed(claim));
    }

    /// The first one tells the others which checkpoint it tries to go on from.
    pub fn trying(&self, chosen: (Generation, Epoch)) {
        self.send_to_all(&Message::Trying(chosen));
    }

    /// The first one tells the others how the run begins.
    pub fn begin(&self, begin: Begin) {
        self.send_to_all(&Message::Begin(begin));
    }

    /// Has all others make a checkpoint.
    pub fn seal(&self, seal: Seal) {
        self.send_to_all(&Message::Seal(seal.epoch, seal.is_last));
    }

    /// Gives the first one this process's share of a checkpoint.
    pub fn share(&self, share: Share) {
        self.send(0, &Message::Share(Box::new(share)));
    }

    /// Tells all others that a checkpoint is durable.
    pub fn durable(&self, epoch: Epoch) {
        self.send_to_all(&Message::Durable(epoch));
    }

    /// Has all others stop.
    pub fn stop(&self, epoch: Epoch) {
        self.send_to_all(&Message::Stop(epoch));
    }

    /// Asks the first one to stop everybody.
    pub fn want_stop(&self) {
        self.send(0, &Message::WantsStop);
    }

    /// Tells the first one that this process's workers have ended.
    pub fn ended(&self, state_of: Epoch) {
        self.send(0, &Message::Ended(state_of));
    }

    /// Tells the first one what this process's sinks have taken.
    pub fn delivered(&self, through: Epoch) {
        self.send(0, &Message::Delivered(through));
    }

    /// Tells all others which epoch this process's clock shows.
    pub fn time(&self, epoch: Epoch) {
        self.send_to_all(&Message::Time(epoch));
    }

    /// The open windows of a series as another process has them; `None` when it doesn't answer within `wait`.
    pub fn peek(&self, process: usize, device: &Name, metric: &Name, wait: Duration) -> Option<Vec<Row>> {
        self.questions.ask(wait, |number| {
            let (device, metric) = (device.clone(), metric.clone());
            let question = Message::Peek { number, device, metric };
            self.send(process, &question)
        })
    }

    /// Tells all others that this process is done.
    pub fn say_bye(&self) {
        self.links.say_bye();
    }
}
