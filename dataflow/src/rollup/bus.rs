//! How closed panes and the registry get from the main dataflow to those that are built at runtime.
//!
//! A queue on each worker, between an operator of one dataflow and a source of another. Only the bounds are
//! told to all workers: what they agree on at an epoch is then the same everywhere.

use crate::series::PaneChange;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::ids::{Epoch, KeyGroup};
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::time::PaneNo;
use timely::scheduling::Activator;

/// What partitions have come to at the end of an epoch, as one worker sees it or as all agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// The last pane that every busy partition had closed; all panes until there were given out.
    pub closed: PaneNo,
    /// The last pane whose changes mean nothing any more: every correction until there was given out.
    pub expired: PaneNo,
    /// The last pane of which a part may have been forgotten before anybody listened.
    pub partial: PaneNo,
}

/// One worker's bounds on their way to another.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// To whom.
    pub target: usize,
    /// By whom.
    pub worker: usize,
    /// What.
    pub bounds: Bounds,
}

/// Closed panes, registry and bounds on their way.
pub struct Bus {
    worker: usize,
    /// Whether a dataflow listens.
    listening: bool,
    /// Pane changes by epoch, not yet taken.
    pub panes: Vec<(Epoch, PaneChange)>,
    /// Registry changes by epoch, not yet taken.
    pub placements: Vec<(Epoch, (Placement, isize))>,
    /// Notices by epoch, not yet taken.
    pub notices: Vec<(Epoch, Notice)>,
    /// No change of an earlier epoch will come.
    pub frontier: Epoch,
    /// The last epoch, when nothing will come any more.
    pub ended: Option<Epoch>,
    /// The sources to wake.
    pub wake: Vec<Activator>,
    told: Option<Bounds>,
    /// What each worker has told, by epoch.
    heard: Vec<BTreeMap<Epoch, Bounds>>,
    /// The placements of this worker's devices that hold now.
    registry: BTreeSet<Placement>,
}

impl Bus {
    /// The bus of one worker.
    pub fn new(worker: usize, peers: usize) -> Bus {
        Bus {
            worker,
            listening: false,
            panes: Vec::new(),
            placements: Vec::new(),
            notices: Vec::new(),
            frontier: Epoch(0),
            ended: None,
            wake: Vec::new(),
            told: None,
            heard: vec![BTreeMap::new(); peers],
            registry: BTreeSet::new(),
        }
    }

    /// Takes a registry change, of which only this worker's devices matter.
    pub fn change_registry(&mut self, change: &RegistryChange) {
        let (worker, peers) = (self.worker, self.heard.len());
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
        self.told = None;
        self.panes.clear();
        self.placements.clear();
        self.notices.clear();
        self.wake.clear();
        self.heard.iter_mut().for_each(BTreeMap::clear);
    }

    /// Takes what an epoch has brought and moves on to `next`.
    pub fn advance(&mut self, epoch: Epoch, panes: Vec<PaneChange>, bounds: Bounds, next: Option<Epoch>) {
        if self.listening {
            self.panes.extend(panes.into_iter().map(|change| (epoch, change)));
            if self.told != Some(bounds) {
                self.told = Some(bounds);
                let worker = self.worker;
                let notice = |target| (epoch, Notice { target, worker, bounds });
                self.notices.extend((0..self.heard.len()).map(notice));
            }
        }
        match next {
            Some(next) => self.frontier = next,
            None => self.ended = Some(epoch),
        }
        self.wake_all();
    }

    /// Moves on to `next`: nothing has come before it.
    pub fn skip_to(&mut self, next: Epoch) {
        self.frontier = next;
        self.wake_all();
    }

    /// Takes a notice of a worker.
    pub fn hear(&mut self, epoch: Epoch, notice: &Notice) {
        self.heard[notice.worker].insert(epoch, notice.bounds);
    }

    /// What all workers agree on at the end of an epoch, as far as their notices have come; `None` as long as
    /// one of them has told nothing.
    pub fn agreed(&self, epoch: Epoch) -> Option<Bounds> {
        let told = |heard: &BTreeMap<Epoch, Bounds>| heard.range(..=epoch).next_back().map(|(_, bounds)| *bounds);
        self.heard.iter().map(told).reduce(|a, b| {
            a.zip(b).map(|(a, b)| Bounds {
                closed: a.closed.min(b.closed),
                expired: a.expired.min(b.expired),
                partial: a.partial.max(b.partial),
            })
        })?
    }

    /// Forgets notices that nobody asks for any more: every question is about `epoch` or later.
    pub fn forget_before(&mut self, epoch: Epoch) {
        for heard in &mut self.heard {
            let later = heard.split_off(&epoch);
            let last = heard.pop_last();
            *heard = later;
            heard.extend(last);
        }
    }

    fn wake_all(&self) {
        self.wake.iter().for_each(Activator::activate);
    }
}
