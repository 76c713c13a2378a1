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

    /// Takes a change of a group's value.
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
    pub fn publish(&mut self, epoch: Epoch, bounds: Bounds) -> Vec<Row> {
        let mut rows = Vec::new();
        if self.corrected_at.0 + self.interval <= epoch.0 {
            self.corrected_at = epoch;
            let changed: Vec<GroupKey> = self
                .changed
                .iter()
                .filter(|key| key.pane <= self.closed)
                .cloned()
                .collect();
            for key in changed {
                self.changed.remove(&key);
                self.emit(&key, epoch, &mut rows);
            }
        }
        if bounds.closed > self.closed {
            let from = self.closed;
            self.closed = bounds.closed;
            let due: Vec<GroupKey> = self
                .values
                .keys()
                .filter(|key| key.pane > from && key.pane <= bounds.closed)
                .cloned()
                .collect();
            for key in due {
                self.changed.remove(&key);
                self.emit(&key, epoch, &mut rows);
            }
        }
        if bounds.expired > self.expired {
            self.expired = bounds.expired;
            self.values.retain(|key, _| key.pane > bounds.expired);
            self.changed.retain(|key| key.pane > bounds.expired);
            self.published.retain(|key| key.pane > bounds.expired);
        }
        rows
    }

    fn emit(&mut self, key: &GroupKey, epoch: Epoch, rows: &mut Vec<Row>) {
        let first = self.published.insert(key.clone());
        let value = self.values.get(key);
        if first && value.is_none() {
            self.published.remove(key);
            return;
        }
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
