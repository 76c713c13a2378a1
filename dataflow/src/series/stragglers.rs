//! Messages for a store: they wait here until no window that covers them can change any more.

use super::SeriesState;
use super::hours::{hour_of, last_pane};
use crate::config::EngineConfig;
use std::collections::{BTreeMap, VecDeque};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::PaneNo;

/// Stragglers of one worker's devices: those that wait, and those that are ready.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    /// By device, in the order of the log.
    waiting: BTreeMap<u32, VecDeque<Straggler>>,
    ready: Vec<Straggler>,
}

impl Stragglers {
    /// One more that waits.
    pub(super) fn wait(&mut self, device: u32, straggler: Straggler) {
        self.waiting.entry(device).or_default().push_back(straggler);
    }

    /// Those of a device that wait.
    pub(super) fn of(&self, device: u32) -> Vec<&Straggler> {
        self.waiting.get(&device).into_iter().flatten().collect()
    }

    /// Takes back what was saved.
    pub(super) fn restore(&mut self, device: u32, waiting: Vec<Straggler>) {
        self.waiting.insert(device, waiting.into());
    }
}

impl SeriesState {
    /// What became ready since the last call, of each device in the order of the log.
    pub fn take_stragglers(&mut self) -> Vec<Straggler> {
        std::mem::take(&mut self.stragglers.ready)
    }

    /// Makes those ready whose windows are all published for good: a row that is published later would take the place
    /// of the one that the store has added to. Of one device none overtakes another, so that a store can tell by
    /// the offset which ones a row has.
    pub(super) fn release_stragglers(&mut self) {
        let Stragglers { waiting, ready } = &mut self.stragglers;
        waiting.retain(|device, list| {
            let home = &self.partitions[self.devices[*device as usize].home.index()];
            // At the end of the input nothing is published any more.
            let settled = if home.published == PaneNo(i32::MAX) {
                home.published
            } else {
                home.expired
            };
            let is_ready = |straggler: &Straggler| settles(&self.config, straggler) <= settled;
            while list.front().is_some_and(is_ready) {
                ready.extend(list.pop_front());
            }
            !list.is_empty()
        });
    }
}

/// The last pane of all windows that cover a straggler.
fn settles(config: &EngineConfig, straggler: &Straggler) -> PaneNo {
    let pane = PaneNo::of(straggler.at);
    let hop = pane.plus(config.panes_per_window_max() - 1);
    match config.hour {
        true => hop.max(last_pane(hour_of(pane))),
        false => hop,
    }
}
