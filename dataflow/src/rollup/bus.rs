//! How closed panes and the registry get from the main dataflow to those that are built at runtime.
//!
//! All of it stays on one worker: a queue between an operator of one dataflow and a source of another.

use crate::series::PaneChange;
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::ids::{Epoch, KeyGroup};
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::time::PaneNo;
use timely::scheduling::Activator;

/// What all partitions together had come to at the end of an epoch; the same on every worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The last pane that every busy partition had closed.
    pub closed: PaneNo,
    /// The last pane whose changes mean nothing any more.
    pub expired: PaneNo,
}

/// Closed panes and registry on their way.
#[derive(Default)]
pub struct Bus {
    /// Whether a dataflow listens.
    pub listening: bool,
    /// Pane changes by epoch, not yet taken.
    pub panes: Vec<(Epoch, PaneChange)>,
    /// Registry changes by epoch, not yet taken.
    pub placements: Vec<(Epoch, (Placement, isize))>,
    /// No change of an earlier epoch will come.
    pub frontier: Epoch,
    /// Nothing will come any more.
    pub ended: bool,
    /// The bounds at the end of each recent epoch.
    pub bounds: BTreeMap<Epoch, Bounds>,
    /// The sources to wake.
    pub wake: Vec<Activator>,
    /// The placements of this worker's devices that hold now.
    registry: BTreeSet<Placement>,
}

/// How many epochs' bounds are kept for rollups that lag behind.
const BOUNDS_MAX: usize = 100_000;

impl Bus {
    /// Takes a registry change, of which only this worker's devices matter.
    pub fn change_registry(&mut self, change: &RegistryChange, worker: usize, peers: usize) {
        let own = |placement: &&Placement| KeyGroup::of(placement.device.as_bytes()).worker(peers) == worker;
        for placement in change.removed.iter().filter(own) {
            if self.registry.remove(placement) && self.listening {
                self.placements.push((self.frontier, (placement.clone(), -1)));
            }
        }
        for placement in change.added.iter().filter(own) {
            if self.registry.insert(placement.clone()) && self.listening {
                self.placements.push((self.frontier, (placement.clone(), 1)));
            }
        }
        self.wake_all();
    }

    /// Begins to listen: the registry as it is comes first.
    pub fn listen(&mut self) {
        self.listening = true;
        self.placements = self
            .registry
            .iter()
            .map(|placement| (self.frontier, (placement.clone(), 1)))
            .collect();
    }

    /// Ends listening.
    pub fn hush(&mut self) {
        self.listening = false;
        self.panes.clear();
        self.placements.clear();
        self.wake.clear();
    }

    /// Takes what an epoch has brought and moves on to `next`.
    pub fn advance(&mut self, epoch: Epoch, panes: Vec<PaneChange>, bounds: Bounds, next: Option<Epoch>) {
        if self.listening {
            self.panes.extend(panes.into_iter().map(|change| (epoch, change)));
        }
        if self.bounds.values().next_back() != Some(&bounds) {
            self.bounds.insert(epoch, bounds);
            if self.bounds.len() > BOUNDS_MAX {
                self.bounds.pop_first();
            }
        }
        match next {
            Some(next) => self.frontier = next,
            None => self.ended = true,
        }
        self.wake_all();
    }

    /// The bounds as they were when epoch `epoch` had ended.
    pub fn bounds_at(&self, epoch: Epoch) -> Option<Bounds> {
        self.bounds.range(..=epoch).next_back().map(|(_, bounds)| *bounds)
    }

    fn wake_all(&self) {
        self.wake.iter().for_each(Activator::activate);
    }
}
