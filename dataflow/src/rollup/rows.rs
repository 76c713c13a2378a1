//! Groups' values as rows: which of them are published, and when. A plain struct, tested without timely.

use super::bus::Bounds;
use super::{GroupKey, GroupValue, Level};
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Row, Status};
use tidewatch_proto::time::PaneNo;

/// The values of the groups of one job on one worker, and how far they are published.
#[derive(Debug)]
pub struct GroupRows {
    level: Level,
    values: BTreeMap<GroupKey, GroupValue>,
    changed: BTreeSet<GroupKey>,
    published: BTreeSet<GroupKey>,
    closed: PaneNo,
    expired: PaneNo,
    corrected_at: Epoch,
    interval: u64,
}

impl GroupRows {
    /// No groups yet; corrections are published at most every `interval` epochs.
    pub fn new(level: Level, interval: u64) -> GroupRows {
        GroupRows {
            level,
            values: BTreeMap::new(),
            changed: BTreeSet::new(),
            published: BTreeSet::new(),
            closed: PaneNo::NONE,
            expired: PaneNo::NONE,
            corrected_at: Epoch(0),
            interval,
        }
    }

    /// What the job groups by.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes a change of a group's value. Changes of expired windows are not news: their panes are leaving.
    pub fn change(&mut self, key: GroupKey, value: GroupValue, diff: isize) {
        if key.pane <= self.expired {
            return;
        }
        if diff > 0 {
            self.values.insert(key.clone(), value);
        } else if self.values.get(&key) == Some(&value) {
            self.values.remove(&key);
        }
        self.changed.insert(key);
    }

    /// Publishes what has become final, and corrections of what was published, as of the end of an epoch.
    /// Corrections of windows that expire don't wait for their interval; with `last` none does.
    pub fn publish(&mut self, epoch: Epoch, bounds: Bounds, last: bool) -> Vec<Row> {
        // Whoever came too late for a part of a window says nothing of it.
        self.forget(bounds.partial);
        let mut rows = Vec::new();
        let now = last || self.corrected_at.0 + self.interval <= epoch.0;
        let due = |key: &&GroupKey| key.pane <= self.closed && (now || key.pane <= bounds.expired);
        let corrected: Vec<GroupKey> = self.changed.iter().filter(due).cloned().collect();
        if !corrected.is_empty() {
            self.corrected_at = epoch;
        }
        for key in corrected {
            self.emit(&key, epoch, &mut rows);
        }
        if bounds.closed > self.closed {
            let from = std::mem::replace(&mut self.closed, bounds.closed);
            let is_due = |key: &&GroupKey| key.pane > from && key.pane <= bounds.closed;
            let due: Vec<GroupKey> = self.values.keys().filter(is_due).cloned().collect();
            for key in due {
                self.emit(&key, epoch, &mut rows);
            }
        }
        self.forget(bounds.expired);
        rows
    }

    fn forget(&mut self, through: PaneNo) {
        if through > self.expired {
            self.expired = through;
            self.values.retain(|key, _| key.pane > through);
            self.changed.retain(|key| key.pane > through);
            self.published.retain(|key| key.pane > through);
        }
    }

    fn emit(&mut self, key: &GroupKey, epoch: Epoch, rows: &mut Vec<Row>) {
        self.changed.remove(key);
        let value = self.values.get(key);
        if value.is_none() && !self.published.contains(key) {
            return;
        }
        let first = self.published.insert(key.clone());
        rows.push(Row {
            job: self.level.job(),
            key: key.group.clone(),
            metric: key.metric.clone(),
            window_start: key.pane.start(),
            window_end: key.pane.end(),
            values: value.map(GroupValue::values).unwrap_or_default(),
            status: if first { Status::Final } else { Status::Corrected },
            revision: epoch,
        });
    }
}
