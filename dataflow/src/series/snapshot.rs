//! The state as it is saved, by key group, and taken back by whatever number of workers.

use super::closed::Block;
use super::dirty::Change;
use super::hours::HourWindow;
use super::open::Sketched;
use super::{FINGERPRINTS, SeriesState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidewatch_proto::ids::{KeyGroup, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;

/// The devices of one key group with all that is known of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupState {
    /// The devices, in no order.
    pub devices: Vec<DeviceSnapshot>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceSnapshot {
    /// Its id.
    pub name: String,
    /// The partition whose watermark closes its windows.
    pub home: Partition,
    /// The fingerprints of its last messages.
    pub fingerprints: [u64; FINGERPRINTS],
    /// Its series.
    pub series: Vec<SeriesSnapshot>,
}

/// A series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesSnapshot {
    /// Its metric.
    pub metric: String,
    /// Panes that still take readings.
    pub open: Vec<Sketched>,
    /// Panes that the log has closed.
    pub closed: Vec<Sketched>,
    /// Hours.
    pub hours: Vec<(i32, HourWindow)>,
    /// Corrections that are not published yet.
    pub changes: Vec<(PaneNo, Change)>,
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSnapshot {
    /// The watermark.
    pub watermark_ms: i64,
    /// The last closed pane.
    pub closed: PaneNo,
    /// The last pane whose windows were published.
    pub published: PaneNo,
    /// The last pane that can't change any more.
    pub expired: PaneNo,
}

impl PartitionSnapshot {
    /// A partition without a record.
    pub const FRESH: PartitionSnapshot = PartitionSnapshot {
        watermark_ms: i64::MIN,
        closed: PaneNo::NONE,
        published: PaneNo::NONE,
        expired: PaneNo::NONE,
    };

    /// Takes what another worker says of the same partition. They differ in the milliseconds of the watermark,
    /// which not every batch brings to all, and in what a lack of memory made one forget early.
    pub fn widen(&mut self, other: &PartitionSnapshot) {
        self.watermark_ms = self.watermark_ms.max(other.watermark_ms);
        self.closed = self.closed.max(other.closed);
        self.published = self.published.max(other.published);
        self.expired = self.expired.max(other.expired);
    }
}

impl SeriesState {
    /// The whole state, by key group, and how far each partition has come.
    pub fn snapshot(&self) -> (BTreeMap<KeyGroup, GroupState>, Vec<PartitionSnapshot>) {
        let names = self.names.borrow();
        let mut series: BTreeMap<u32, Vec<SeriesSnapshot>> = BTreeMap::new();
        // Slots come in their order and so do the panes of a block: each block is walked once beside them.
        let mut walks: Vec<Vec<_>> = self
            .partitions
            .iter()
            .map(|partition| partition.blocks.values().map(|block| block.iter().peekable()).collect())
            .collect();
        let mut closed: Vec<Sketched> = Vec::new();
        for slot in (0..self.slots.capacity()).filter(|slot| self.slots.is_used(*slot)) {
            for walk in &mut walks[self.home(slot).index()] {
                let found = walk.next_if(|(at, ..)| *at as usize == slot);
                closed.extend(found.map(|(_, pane, sketch)| owned((pane, sketch))));
            }
            let metric = names.metrics.name(self.slots.metric(slot));
            series
                .entry(self.slots.device(slot))
                .or_default()
                .push(self.series_snapshot(slot, metric, std::mem::take(&mut closed)));
        }
        let mut groups: BTreeMap<KeyGroup, GroupState> = BTreeMap::new();
        for (number, series) in series {
            let name = names.devices.name(number);
            groups
                .entry(KeyGroup::of(name.as_bytes()))
                .or_default()
                .devices
                .push(DeviceSnapshot {
                    name: name.to_string(),
                    home: self.devices[number as usize].home,
                    fingerprints: self.fingerprints[number as usize],
                    series,
                });
        }
        let partitions = self.partitions.iter().map(|p| PartitionSnapshot {
            watermark_ms: p.watermark_ms,
            closed: p.closed,
            published: p.published,
            expired: p.expired,
        });
        (groups, partitions.collect())
    }

    fn series_snapshot(&self, slot: usize, metric: &str, closed: Vec<Sketched>) -> SeriesSnapshot {
        let hours = self.hours.numbers().into_iter();
        SeriesSnapshot {
            metric: metric.to_string(),
            open: self
                .open
                .numbers(slot)
                .into_iter()
                .filter_map(|n| self.open.get(slot, n))
                .map(owned)
                .collect(),
            closed,
            hours: hours
                .filter_map(|hour| self.hours.get(hour, slot).map(|window| (hour, window.clone())))
                .collect(),
            changes: self.dirty.of(slot),
        }
    }

    /// Takes back how far the partitions had come.
    pub fn restore_partitions(&mut self, partitions: &[PartitionSnapshot]) {
        for (state, saved) in self.partitions.iter_mut().zip(partitions) {
            state.watermark_ms = saved.watermark_ms;
            state.closed = saved.closed;
            state.due = saved.published;
            state.published = saved.published;
            state.expired = saved.expired;
        }
    }

    /// Takes back a group that this worker owns.
    pub fn restore_group(&mut self, group: GroupState) {
        for device in group.devices {
            let number = {
                let mut names = self.names.borrow_mut();
                names.devices.intern(&device.name)
            };
            self.grow_devices();
            let metrics: Vec<u32> = {
                let mut names = self.names.borrow_mut();
                device
                    .series
                    .iter()
                    .map(|series| names.metrics.intern(&series.metric))
                    .collect()
            };
            let settled = self.slots.settle(number, device.home, &metrics);
            self.devices[number as usize] = settled;
            self.fingerprints[number as usize] = device.fingerprints;
            for ((place, metric), series) in metrics.into_iter().enumerate().zip(device.series) {
                let slot = self.slots.slot(number, &settled, metric, place);
                self.open.grow(self.slots.capacity());
                self.restore_series(device.home, slot, series);
            }
        }
    }

    fn restore_series(&mut self, home: Partition, slot: usize, series: SeriesSnapshot) {
        for pane in series.open {
            self.open.restore(slot, pane);
        }
        let expired = self.partitions[home.index()].expired;
        let forgotten = self.config.forgotten_by(expired);
        for pane in series.closed.into_iter().filter(|pane| pane.0.number > forgotten) {
            self.partitions[home.index()]
                .blocks
                .entry(pane.0.number)
                .or_insert_with(|| Block::new(pane.0.number))
                .insert(slot, pane);
        }
        for (hour, window) in series.hours {
            *self.hours.window(hour, slot) = window;
        }
        for (pane, change) in series.changes.into_iter().filter(|(pane, _)| *pane > expired) {
            self.dirty.restore(slot, pane, change);
        }
    }
}

/// A pane and its sketch, copied.
fn owned((pane, sketch): (Pane, Option<&Sketch>)) -> Sketched {
    (pane, sketch.cloned().map(Box::new))
}
