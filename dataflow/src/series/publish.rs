//! Windows out, at the end of an epoch: closed ones once, corrected ones again.

use super::closed::{Block, Entry};
use super::dirty::{Change, Dirty};
use super::hours::{HourWindow, first_pane, hour_of, last_pane};
use super::{PartitionState, SeriesState};
use crate::config::{HOP_PANES, HOUR_PANES, epochs_of};
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::aggregate::{Aggregate, add_pane_to};
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;

/// A window under construction.
#[derive(Default)]
struct Window {
    aggregate: Aggregate,
    sketch: Sketch,
}

impl Window {
    fn merge(&mut self, pane: &Pane, sketch: Option<&Sketch>, quantiles: bool) {
        self.aggregate.merge(pane);
        if quantiles {
            add_pane_to(&mut self.sketch, pane, sketch);
        }
    }
}

impl SeriesState {
    /// Publishes what epoch `epoch` has completed: windows that have become due, corrections of windows that
    /// were published before, and the expiry of what is beyond the horizon. With `last` corrections don't wait
    /// for their interval.
    pub fn publish(&mut self, epoch: Epoch, last: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        let bounds: Vec<PaneNo> = self
            .partitions
            .iter()
            .map(|partition| self.next_expiry(partition))
            .collect();
        let expiring = bounds
            .iter()
            .zip(&self.partitions)
            .any(|(bound, partition)| *bound > partition.expired);
        self.publish_corrections(epoch, expiring || last, &mut rows);
        for partition in 0..self.partitions.len() {
            self.publish_due(Partition(partition as u32), epoch, &mut rows);
        }
        self.give_closed();
        if expiring {
            self.expire(&bounds);
        }
        rows
    }

    fn publish_due(&mut self, partition: Partition, epoch: Epoch, rows: &mut Vec<Row>) {
        let state = &self.partitions[partition.index()];
        let (published, closed, due) = (state.published, state.closed, state.due);
        if due <= published {
            return;
        }
        if closed > published {
            self.publish_range(partition, published, closed, epoch, rows);
        }
        if due > closed {
            self.publish_open(partition, closed.max(published), due, epoch, rows);
        }
        self.partitions[partition.index()].published = due;
    }

    /// Publishes the closed windows that end after `published`, through `closed`.
    fn publish_range(
        &mut self,
        partition: Partition,
        published: PaneNo,
        closed: PaneNo,
        epoch: Epoch,
        rows: &mut Vec<Row>,
    ) {
        let first = published.plus(1 - self.reach());
        let numbers = self.partitions[partition.index()]
            .blocks
            .range(first..=closed)
            .map(|(number, _)| *number);
        let ends: BTreeSet<PaneNo> = numbers
            .flat_map(|number| (0..self.reach()).map(move |by| number.plus(by)))
            .collect();
        for end in ends.into_iter().filter(|end| *end > published && *end <= closed) {
            self.publish_closed(partition, end, epoch, rows);
        }
        for hour in self.hours.numbers() {
            if last_pane(hour) > published && last_pane(hour) <= closed {
                self.publish_hours(partition, hour, epoch, rows);
            }
        }
    }

    /// Publishes the windows that end with a closed pane, from the packed columns.
    fn publish_closed(&mut self, partition: Partition, end: PaneNo, epoch: Epoch, rows: &mut Vec<Row>) {
        let quantiles = self.config.quantiles;
        let before = rows.len();
        let state = &self.partitions[partition.index()];
        for (slot, pane, sketch) in state.blocks.get(&end).into_iter().flat_map(|block| block.iter()) {
            let mut window = Window::default();
            window.merge(pane, sketch, quantiles);
            rows.push(self.row(Job::Minute, slot as usize, end, end, &window, Status::Final, epoch));
        }
        if self.config.five_minutes {
            let first = end.plus(1 - HOP_PANES);
            let blocks = state.blocks.range(first..=end).map(|(_, block)| block.iter());
            merge_slots(blocks, |slot, panes| {
                let mut window = Window::default();
                for (_, pane, sketch) in panes {
                    window.merge(pane, *sketch, quantiles);
                }
                rows.push(self.row(
                    Job::FiveMinutes,
                    slot as usize,
                    first,
                    end,
                    &window,
                    Status::Final,
                    epoch,
                ));
            });
        }
        self.stats.rows_final.add((rows.len() - before) as u64);
    }

    fn publish_hours(&mut self, partition: Partition, hour: i32, epoch: Epoch, rows: &mut Vec<Row>) {
        let before = rows.len();
        for slot in self.slots.of(partition) {
            self.publish_hour(slot, hour, epoch, rows);
        }
        self.stats.rows_final.add((rows.len() - before) as u64);
    }

    /// How many windows that end pane by pane a reading is part of.
    fn reach(&self) -> i32 {
        self.config.panes_per_window_max()
    }

    /// Publishes windows with open panes, because the partition is idle or its input has ended.
    fn publish_open(&mut self, partition: Partition, after: PaneNo, due: PaneNo, epoch: Epoch, rows: &mut Vec<Row>) {
        let before = rows.len();
        for slot in self.slots.of(partition) {
            if !self.slots.is_used(slot) {
                continue;
            }
            let first = after.plus(1 - self.reach());
            let mut panes: BTreeSet<PaneNo> = self.open.numbers(slot).into_iter().filter(|n| *n <= due).collect();
            let blocks = self.partitions[partition.index()].blocks.range(first..);
            panes.extend(
                blocks
                    .filter(|(_, block)| block.get(slot).is_some())
                    .map(|(number, _)| *number),
            );
            let ends: BTreeSet<PaneNo> = panes
                .iter()
                .flat_map(|number| (0..self.reach()).map(|by| number.plus(by)))
                .collect();
            for end in ends.into_iter().filter(|end| *end > after && *end <= due) {
                if panes.contains(&end) {
                    rows.extend(self.combined(Job::Minute, partition, slot, end, Status::Final, epoch));
                }
                if self.config.five_minutes {
                    rows.extend(self.combined(Job::FiveMinutes, partition, slot, end, Status::Final, epoch));
                }
            }
            if self.config.hour {
                let mut hours: BTreeSet<i32> = panes.iter().map(|n| hour_of(*n)).collect();
                hours.extend(self.hours.numbers());
                for hour in hours
                    .into_iter()
                    .filter(|h| last_pane(*h) > after && last_pane(*h) <= due)
                {
                    self.publish_hour(slot, hour, epoch, rows);
                }
            }
        }
        self.stats.rows_final.add((rows.len() - before) as u64);
    }

    /// The row of a window that is combined from panes, found one by one.
    fn combined(
        &self,
        job: Job,
        home: Partition,
        slot: usize,
        end: PaneNo,
        status: Status,
        epoch: Epoch,
    ) -> Option<Row> {
        let first = if job == Job::FiveMinutes {
            end.plus(1 - HOP_PANES)
        } else {
            end
        };
        let mut window = Window::default();
        for number in first.0..=end.0 {
            if let Some((pane, sketch)) = self.pane(home, slot, PaneNo(number)) {
                window.merge(pane, sketch, self.config.quantiles);
            }
        }
        (window.aggregate.readings() > 0).then(|| self.row(job, slot, first, end, &window, status, epoch))
    }

    fn publish_hour(&mut self, slot: usize, hour: i32, epoch: Epoch, rows: &mut Vec<Row>) {
        if !self.slots.is_used(slot) {
            return;
        }
        let Some(window) = self.hour_so_far(slot, hour) else {
            return;
        };
        let published = std::mem::replace(&mut self.hours.window(hour, slot).published, true);
        let status = if published { Status::Corrected } else { Status::Final };
        rows.push(self.row(
            Job::Hour,
            slot,
            first_pane(hour),
            last_pane(hour),
            &window,
            status,
            epoch,
        ));
    }

    /// What an hour holds now: its accumulator, then the panes still open, in their order.
    fn hour_so_far(&self, slot: usize, hour: i32) -> Option<Window> {
        let so_far = self.hours.get(hour, slot);
        let HourWindow { aggregate, sketch, .. } = so_far.cloned().unwrap_or_default();
        let mut window = Window { aggregate, sketch };
        let open = self
            .open
            .numbers(slot)
            .into_iter()
            .filter(|number| hour_of(*number) == hour);
        for (pane, sketch) in open.filter_map(|number| self.open.get(slot, number)) {
            window.merge(pane, sketch, self.config.quantiles);
        }
        (window.aggregate.readings() > 0).then_some(window)
    }

    fn publish_corrections(&mut self, epoch: Epoch, now: bool, rows: &mut Vec<Row>) {
        let interval = epochs_of(self.config.correction_interval_ms);
        if self.dirty.is_empty() || (epoch.0 < self.corrected_at.0 + interval && !now) {
            return;
        }
        self.corrected_at = epoch;
        let changes = self.dirty.take();
        let mut ends: BTreeSet<(u32, PaneNo, Job)> = BTreeSet::new();
        let mut hours: BTreeSet<(u32, i32)> = BTreeSet::new();
        for ((slot, pane), change) in &changes {
            ends.insert((*slot, *pane, Job::Minute));
            let reach = if self.config.five_minutes { HOP_PANES } else { 0 };
            let hops = (0..reach).map(|by| pane.plus(by)).filter(|end| *end <= change.through);
            ends.extend(hops.map(|end| (*slot, end, Job::FiveMinutes)));
            if self.config.hour && last_pane(hour_of(*pane)) <= change.through {
                hours.insert((*slot, hour_of(*pane)));
            }
        }
        let before = rows.len();
        for (slot, end, job) in ends {
            let home = self.home(slot as usize);
            let status = self.status(&changes, home, slot as usize, end, job);
            rows.extend(self.combined(job, home, slot as usize, end, status, epoch));
        }
        for (slot, hour) in hours {
            self.publish_hour(slot as usize, hour, epoch, rows);
        }
        let corrected = rows[before..]
            .iter()
            .filter(|row| row.status == Status::Corrected)
            .count();
        self.stats.rows_corrected.add(corrected as u64);
        self.stats.rows_final.add((rows.len() - before - corrected) as u64);
        self.give_again(&changes);
    }

    /// `Final` when the window is published the first time: no pane of it had a reading when it was due.
    fn status(
        &self,
        changes: &BTreeMap<(u32, PaneNo), Change>,
        home: Partition,
        slot: usize,
        end: PaneNo,
        job: Job,
    ) -> Status {
        let first = if job == Job::FiveMinutes {
            end.plus(1 - HOP_PANES)
        } else {
            end
        };
        let known = (first.0..=end.0)
            .map(PaneNo)
            .any(|number| self.pane(home, slot, number).is_some() && !Dirty::is_fresh(changes, slot, number, end));
        if known { Status::Corrected } else { Status::Final }
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row")]
    fn row(
        &self,
        job: Job,
        slot: usize,
        first: PaneNo,
        end: PaneNo,
        window: &Window,
        status: Status,
        revision: Epoch,
    ) -> Row {
        let names = self.names.borrow();
        let Window { aggregate, sketch } = window;
        let whole = self.config.quantiles && sketch.count() == aggregate.count;
        let quantiles = if whole {
            sketch.quantiles(aggregate.min, aggregate.max)
        } else {
            None
        };
        Row {
            job,
            key: names.devices.name(self.slots.device(slot)).clone(),
            metric: names.metrics.name(self.slots.metric(slot)).clone(),
            window_start: first.start(),
            window_end: end.end(),
            values: aggregate.values(quantiles),
            status,
            revision,
        }
    }

    /// The windows of a series that are still open, as they stand.
    pub fn live(&self, device: &str, metric: &str, as_of: Epoch) -> Vec<Row> {
        let (number, metric) = {
            let names = self.names.borrow();
            (names.devices.find(device), names.metrics.find(metric))
        };
        let (Some(number), Some(metric)) = (number, metric) else {
            return Vec::new();
        };
        let Some(device) = self.devices.get(number as usize).filter(|device| !device.is_unseen()) else {
            return Vec::new();
        };
        let Some(slot) = self.slots.find(number, device, metric) else {
            return Vec::new();
        };
        let state = &self.partitions[device.home.index()];
        let mut panes: BTreeSet<PaneNo> = self.open.numbers(slot).into_iter().collect();
        let recent = state.blocks.range(state.published.plus(1 - HOP_PANES)..);
        panes.extend(
            recent
                .filter(|(_, block)| block.get(slot).is_some())
                .map(|(number, _)| *number),
        );
        let mut rows = Vec::new();
        let last = panes.last().copied().unwrap_or(PaneNo::NONE);
        for end in panes.iter().filter(|end| **end > state.published) {
            rows.extend(self.combined(Job::Minute, device.home, slot, *end, Status::Live, as_of));
        }
        if self.config.five_minutes && last != PaneNo::NONE {
            let first = state.published.plus(1).max(last.plus(1 - HOP_PANES));
            for end in first.0..=last.plus(HOP_PANES - 1).0 {
                rows.extend(self.combined(Job::FiveMinutes, device.home, slot, PaneNo(end), Status::Live, as_of));
            }
        }
        if self.config.hour {
            let mut hours: BTreeSet<i32> = panes.iter().map(|number| hour_of(*number)).collect();
            hours.extend(self.hours.numbers());
            for hour in hours.into_iter().filter(|hour| last_pane(*hour) > state.published) {
                if let Some(window) = self.hour_so_far(slot, hour) {
                    let (first, end) = (first_pane(hour), first_pane(hour).plus(HOUR_PANES - 1));
                    rows.push(self.row(Job::Hour, slot, first, end, &window, Status::Live, as_of));
                }
            }
        }
        rows
    }

    /// Gives out the panes that have closed since the last time.
    fn give_closed(&mut self) {
        let SeriesState {
            feed,
            partitions,
            slots,
            ..
        } = self;
        for (partition, state) in partitions.iter().enumerate() {
            let Some(through) = feed.through(partition).filter(|through| *through < state.closed) else {
                continue;
            };
            for block in state
                .blocks
                .range(through.plus(1)..=state.closed)
                .map(|(_, block)| block)
            {
                for (slot, pane, sketch) in block.iter() {
                    feed.give(
                        slot,
                        slots.device(slot as usize),
                        slots.metric(slot as usize),
                        pane,
                        sketch,
                    );
                }
            }
            feed.set_through(partition, state.closed);
        }
    }

    /// Gives out corrected panes again.
    fn give_again(&mut self, changes: &BTreeMap<(u32, PaneNo), Change>) {
        for (slot, number) in changes.keys() {
            let home = self.home(*slot as usize);
            let SeriesState {
                feed,
                partitions,
                slots,
                ..
            } = self;
            let given = feed.through(home.index()).is_some_and(|through| *number <= through);
            let block = partitions[home.index()].blocks.get(number);
            if let Some((pane, sketch)) = block.filter(|_| given).and_then(|block| block.get(*slot as usize)) {
                feed.give(
                    *slot,
                    slots.device(*slot as usize),
                    slots.metric(*slot as usize),
                    pane,
                    sketch,
                );
            }
        }
    }

    /// The last pane of a partition that is to be forgotten now: it is beyond the horizon, or the oldest of
    /// more than memory may hold.
    fn next_expiry(&self, state: &PartitionState) -> PaneNo {
        if state.watermark_ms == i64::MIN {
            return PaneNo::NONE;
        }
        let own = self.config.expired_by(state.watermark_ms);
        let bound = if self.feed.is_on() {
            own.min(self.expired_everywhere())
        } else {
            own
        };
        let bytes: usize = state.blocks.values().map(Block::bytes).sum();
        match state.blocks.keys().next() {
            Some(oldest) if bytes > self.config.correction_bytes_max / self.partitions.len() => {
                bound.max((*oldest).min(state.published.plus(-HOP_PANES)))
            }
            _ => bound,
        }
    }

    fn expire(&mut self, bounds: &[PaneNo]) {
        for (partition, bound) in bounds.iter().enumerate() {
            let state = &mut self.partitions[partition];
            if *bound <= state.expired {
                continue;
            }
            state.expired = *bound;
            let kept = state.blocks.split_off(&bound.plus(1));
            let gone = std::mem::replace(&mut state.blocks, kept);
            if self.feed.is_on() {
                for (number, block) in &gone {
                    block.iter().for_each(|(slot, ..)| self.feed.expire(slot, *number));
                }
            }
            let slots: Vec<usize> = self.slots.of(Partition(partition as u32)).collect();
            self.hours.expire(*bound, slots.into_iter());
        }
    }
}

/// Walks several blocks in slot order at once and gives each slot's entries together, in block order.
fn merge_slots<'a>(
    blocks: impl Iterator<Item = impl Iterator<Item = Entry<'a>>>,
    mut each: impl FnMut(u32, &[Entry<'a>]),
) {
    let mut blocks: Vec<_> = blocks.map(Iterator::peekable).collect();
    let mut together = Vec::with_capacity(blocks.len());
    while let Some(slot) = blocks
        .iter_mut()
        .filter_map(|block| block.peek().map(|entry| entry.0))
        .min()
    {
        together.clear();
        together.extend(
            blocks
                .iter_mut()
                .filter_map(|block| block.next_if(|entry| entry.0 == slot)),
        );
        each(slot, &together);
    }
}
