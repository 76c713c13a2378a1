//! Rules over published minutes: each is taken once, and those of a series again when one of them has changed.

use super::SeriesState;
use super::anomalies::{Anomalies, Subject};
use super::dirty::Change;
use crate::detectors::threshold::value;
use std::collections::BTreeMap;
use std::ops::Bound;
use tidewatch_proto::anomaly::{Anomaly, Threshold};
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::time::PaneNo;

impl SeriesState {
    /// What rules have found since the last call.
    pub fn take_anomalies(&mut self) -> Vec<Anomaly> {
        self.anomalies.take()
    }

    /// Takes the minutes of a partition that are published now: those after one, through another.
    pub(super) fn judge(&mut self, partition: Partition, (after, through): (PaneNo, PaneNo), epoch: Epoch) {
        self.with_anomalies(|state, anomalies| {
            let own = &state.partitions[partition.index()];
            for (number, block) in own.blocks.range((Bound::Excluded(after), Bound::Included(through))) {
                for found in block.walk() {
                    state.judge_minute(anomalies, found.slot, *number, || found.pane(), epoch);
                }
            }
            if through <= own.closed {
                return;
            }
            // The partition is idle, or its input has ended.
            for slot in state.slots.of(partition).filter(|slot| state.slots.is_used(*slot)) {
                let numbers = state.open.numbers(slot);
                for number in numbers
                    .into_iter()
                    .filter(|number| *number > after && *number <= through)
                {
                    if let Some((pane, _)) = state.open.get(slot, number) {
                        state.judge_minute(anomalies, slot, number, || pane, epoch);
                    }
                }
            }
        });
    }

    /// Takes a minute of a series.
    #[inline]
    fn judge_minute(
        &self,
        anomalies: &mut Anomalies,
        slot: usize,
        number: PaneNo,
        pane: impl FnOnce() -> Pane,
        epoch: Epoch,
    ) {
        let (device, metric) = self.slots.series_of(slot);
        let home = &self.partitions[self.devices[device as usize].home.index()];
        if anomalies.is_news(device, number) {
            anomalies.heard(self.subject(device, epoch), number, home.closed);
        }
        let Some(watching) = anomalies.watching(metric) else {
            return;
        };
        let (pane, name) = (pane(), self.names.metrics.name(metric));
        for (rule, threshold) in watching.iter() {
            if let Some(value) = value(threshold.of, &pane) {
                anomalies.step(
                    (*rule, name),
                    self.subject(device, epoch),
                    (number, value),
                    home.expired,
                );
            }
        }
    }

    /// Takes those series again of which published minutes have changed.
    pub(super) fn judge_again(&mut self, changes: &BTreeMap<(u32, PaneNo), Change>, epoch: Epoch) {
        self.with_anomalies(|state, anomalies| {
            let mut last = None;
            for (slot, pane) in changes.keys() {
                let (device, metric) = state.slots.series_of(*slot as usize);
                let partition = state.devices[device as usize].home;
                let home = &state.partitions[partition.index()];
                if anomalies.is_news(device, *pane) {
                    anomalies.heard(state.subject(device, epoch), *pane, home.closed);
                }
                let watching = anomalies.watching(metric);
                let Some(watching) = watching.filter(|_| last.replace(*slot) != Some(*slot)) else {
                    continue;
                };
                let name = state.names.metrics.name(metric);
                let bounds = (home.expired, home.published);
                for (rule, threshold) in watching.iter() {
                    let minutes = state.minutes(partition, *slot as usize, threshold, bounds);
                    anomalies.again((*rule, name), state.subject(device, epoch), &minutes, bounds);
                }
            }
        });
    }

    /// Looks for devices that have been silent since the log has closed more minutes.
    pub(super) fn look_for_silence(&mut self, epoch: Epoch) {
        if !self.anomalies.looks_for_silence() {
            return;
        }
        self.with_anomalies(|state, anomalies| {
            anomalies.checked.resize(state.partitions.len(), PaneNo::NONE);
            let pairs = state.partitions.iter().zip(&anomalies.checked);
            let due: Vec<bool> = pairs.map(|(partition, checked)| partition.closed > *checked).collect();
            if !due.contains(&true) {
                return;
            }
            let devices = (0..).zip(&state.devices).filter(|(_, device)| !device.is_unseen());
            for (number, device) in devices.filter(|(_, device)| due[device.home.index()]) {
                let closed = state.partitions[device.home.index()].closed;
                if anomalies.is_silent(number, closed) {
                    anomalies.look(state.subject(number, epoch), closed);
                }
            }
            let closed = state.partitions.iter().map(|partition| partition.closed);
            anomalies.checked = closed.collect();
        });
    }

    /// Takes minutes for good that can't change any more, before they leave memory.
    pub(super) fn settle_anomalies(&mut self, bounds: &[PaneNo]) {
        self.with_anomalies(|state, anomalies| {
            for number in anomalies.tracked() {
                let device = &state.devices[number as usize];
                let (home, bound) = (device.home, bounds[device.home.index()]);
                if bound <= state.partitions[home.index()].expired {
                    continue;
                }
                anomalies.settle(number, bound, |threshold, after, through| {
                    let metric = state.names.metrics.find(&threshold.metric);
                    let slot = metric.and_then(|metric| state.slots.find(number, device, metric));
                    slot.map_or_else(Vec::new, |slot| state.minutes(home, slot, threshold, (after, through)))
                });
            }
        });
    }

    /// Ends what rules have found that are no more, once the state is that of a run.
    pub(super) fn end_orphaned_anomalies(&mut self, epoch: Epoch) {
        self.with_anomalies(|state, anomalies| {
            anomalies.end_orphans(|number| {
                let home = state.devices[number as usize].home;
                let published = state.partitions[home.index()].published;
                (state.subject(number, epoch), published.end())
            });
        });
    }

    /// The values of a series' minutes in memory, after one and through another, in their order.
    fn minutes(
        &self,
        home: Partition,
        slot: usize,
        rule: &Threshold,
        (after, through): (PaneNo, PaneNo),
    ) -> Vec<(PaneNo, f64)> {
        if after >= through {
            return Vec::new();
        }
        let blocks = &self.partitions[home.index()].blocks;
        let blocks = blocks.range((Bound::Excluded(after), Bound::Included(through)));
        let closed = blocks
            .filter_map(|(_, block)| block.find(slot))
            .map(|found| found.pane());
        let mut panes: Vec<Pane> = closed.collect();
        let open = self.open.of(slot).into_iter().map(|(pane, _)| pane);
        panes.extend(open.filter(|pane| pane.number > after && pane.number <= through));
        panes.sort_unstable_by_key(|pane| pane.number);
        let values = panes.iter().map(|pane| (pane.number, value(rule.of, pane)));
        values.filter_map(|(number, value)| Some((number, value?))).collect()
    }

    fn subject(&self, number: u32, epoch: Epoch) -> Subject<'_> {
        Subject {
            number,
            device: self.names.devices.name(number),
            epoch,
        }
    }

    /// Does something with what rules know, unless there are none.
    fn with_anomalies(&mut self, work: impl FnOnce(&SeriesState, &mut Anomalies)) {
        if self.anomalies.is_off() {
            return;
        }
        let mut anomalies = std::mem::take(&mut self.anomalies);
        let names = &self.names.metrics;
        anomalies.learn(names.len(), |number| names.name(number));
        work(self, &mut anomalies);
        self.anomalies = anomalies;
    }
}
