//! Panes that changed after a window with them was published, until the correction is.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::row::Job;
use tidewatch_proto::time::PaneNo;

/// What a published pane's change means for the windows that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Windows that end here or before were published before the last reading came: they need a correction.
    pub through: PaneNo,
    /// Windows that end here or before were published when the pane had no reading yet.
    pub fresh_through: PaneNo,
}

/// The changed panes, by slot.
#[derive(Debug, Default)]
pub struct Dirty {
    panes: BTreeMap<(u32, PaneNo), Change>,
    /// Long windows that took a reading when its pane had left memory, by their first pane.
    longs: BTreeSet<(u32, Job, PaneNo)>,
}

impl Dirty {
    /// Notes a reading for a pane, when windows through `published` have been published. `first`: it had none.
    pub fn note(&mut self, slot: usize, pane: PaneNo, published: PaneNo, first: bool) {
        let fresh_through = if first { published } else { PaneNo::NONE };
        let change = self.panes.entry((slot as u32, pane)).or_insert(Change {
            through: published,
            fresh_through,
        });
        change.through = published;
    }

    /// Notes a reading for a published long window alone.
    pub fn note_long(&mut self, slot: usize, job: Job, first: PaneNo) {
        self.longs.insert((slot as u32, job, first));
    }

    /// The changed long windows of a slot.
    pub fn longs_of(&self, slot: usize) -> Vec<(Job, PaneNo)> {
        let of_slot = (slot as u32, Job::Minute, PaneNo::NONE)..(slot as u32 + 1, Job::Minute, PaneNo::NONE);
        self.longs
            .range(of_slot)
            .map(|(_, job, first)| (*job, *first))
            .collect()
    }

    /// Takes all changed long windows.
    pub fn take_longs(&mut self) -> BTreeSet<(u32, Job, PaneNo)> {
        std::mem::take(&mut self.longs)
    }

    /// Whether the window that ends with `end` was published when this pane had no reading.
    pub fn is_fresh(changes: &BTreeMap<(u32, PaneNo), Change>, slot: usize, pane: PaneNo, end: PaneNo) -> bool {
        changes
            .get(&(slot as u32, pane))
            .is_some_and(|change| end <= change.fresh_through)
    }

    /// The changes of a slot.
    pub fn of(&self, slot: usize) -> Vec<(PaneNo, Change)> {
        if self.panes.is_empty() {
            return Vec::new();
        }
        let of_slot = (slot as u32, PaneNo::NONE)..=(slot as u32, PaneNo(i32::MAX));
        let changes = self.panes.range(of_slot);
        changes.map(|((_, pane), change)| (*pane, *change)).collect()
    }

    /// Puts back a change that was saved.
    pub fn restore(&mut self, slot: usize, pane: PaneNo, change: Change) {
        self.panes.insert((slot as u32, pane), change);
    }

    /// Takes all changed panes.
    pub fn take(&mut self) -> BTreeMap<(u32, PaneNo), Change> {
        std::mem::take(&mut self.panes)
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty() && self.longs.is_empty()
    }
}
