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
    begin: Epoch,
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
            begin: Epoch(0),
            closed: PaneNo::NONE,
            expired: PaneNo::NONE,
            corrected_at: Epoch(0),
            interval,
        }
    }

    /// Nothing is said of earlier epochs, nor of windows that expire by then: their panes may have left in part.
    pub fn begin_at(&mut self, epoch: Epoch) {
        self.begin = self.begin.max(epoch);
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
        if epoch < self.begin && !last {
            return Vec::new();
        }
        if self.begin > Epoch(0) {
            self.begin = Epoch(0);
            self.forget(bounds.expired);
        }
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

#[cfg(test)]
mod tests {
    use super::super::Total;
    use super::*;

    fn value(devices: i64) -> GroupValue {
        let total = Total {
            devices,
            invalid: devices,
            ..Total::default()
        };
        GroupValue { total, bounds: None }
    }

    fn key(pane: i32) -> GroupKey {
        GroupKey {
            pane: PaneNo(pane),
            group: "oslo".into(),
            metric: "a".into(),
        }
    }

    fn bounds(closed: i32, expired: i32) -> Bounds {
        Bounds {
            closed: PaneNo(closed),
            expired: PaneNo(expired),
            partial: PaneNo::NONE,
        }
    }

    fn published(rows: &[Row]) -> Vec<(i32, u64, Status)> {
        let shown = |row: &Row| (PaneNo::of(row.window_start).0, row.values.devices, row.status);
        rows.iter().map(shown).collect()
    }

    #[test]
    fn a_job_that_begins_late_waits_for_all_workers_and_leaves_what_expires() {
        let mut rows = GroupRows::new(Level::Site, 10);
        rows.begin_at(Epoch(50));
        rows.begin_at(Epoch(40));
        // One worker's panes tell of 40 and later, of two windows; the other's come at 50, the first window gone.
        rows.change(key(1), value(1), 1);
        rows.change(key(2), value(1), 1);
        assert_eq!(published(&rows.publish(Epoch(40), bounds(2, 0), false)), []);
        rows.change(key(2), value(1), -1);
        rows.change(key(2), value(2), 1);
        let first = rows.publish(Epoch(50), bounds(2, 1), false);
        assert_eq!(published(&first), [(2, 2, Status::Final)]);
        rows.change(key(2), value(2), -1);
        rows.change(key(2), value(3), 1);
        let second = rows.publish(Epoch(60), bounds(2, 1), false);
        assert_eq!(published(&second), [(2, 3, Status::Corrected)]);
    }

    #[test]
    fn a_job_that_begins_and_ends_before_its_first_epoch_says_what_it_has() {
        let mut rows = GroupRows::new(Level::Site, 10);
        rows.begin_at(Epoch(50));
        rows.change(key(2), value(2), 1);
        let all = rows.publish(Epoch(45), bounds(2, 1), true);
        assert_eq!(published(&all), [(2, 2, Status::Final)]);
    }
}
