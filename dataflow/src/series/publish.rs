//! Windows out, at the end of an epoch: closed ones once, corrected ones again.

use super::SeriesState;
use super::closed::Block;
use super::long::LongWindow;
use super::rows::Rows;
use super::walk::together;
use crate::config::HOP_PANES;
use crate::journal::Completion;
use std::collections::BTreeSet;
use tidewatch_proto::aggregate::{Aggregate, add_pane_to, pane_quantiles};
use tidewatch_proto::block::BlockHead;
use tidewatch_proto::calendar::Span;
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::row::{Job, Quantiles, Row, Status};
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;
use tidewatch_proto::together::Together;

/// A window under construction.
#[derive(Default)]
pub(super) struct Window {
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

    /// The quantiles, when they are kept and no valid reading lacks.
    fn quantiles(&self, kept: bool) -> Option<Quantiles> {
        let whole = kept && self.sketch.count() == self.aggregate.count;
        whole
            .then(|| self.sketch.quantiles(self.aggregate.min, self.aggregate.max))
            .flatten()
    }
}

/// Which window a row is of: its first and its last pane.
type Panes = (PaneNo, PaneNo);

impl SeriesState {
    /// What completing an epoch comes to. With `last` corrections don't wait for their interval.
    pub fn completion(&self, epoch: Epoch, last: bool) -> Completion {
        let expired = self.partitions.iter().map(|partition| self.next_expiry(partition));
        let expired: Vec<PaneNo> = expired.collect();
        // What spans partitions forgets panes when all changes of them are known.
        let flushing = self.feed.is_on() && self.expired_everywhere() > self.feed.flushed();
        let now = self.is_expiring(&expired) || flushing || last;
        Completion {
            epoch,
            corrections: self.are_corrections_due(epoch, now),
            expired,
        }
    }

    fn is_expiring(&self, bounds: &[PaneNo]) -> bool {
        let mut bounds = bounds.iter().zip(&self.partitions);
        bounds.any(|(bound, partition)| *bound > partition.expired)
    }

    /// Completes an epoch: publishes windows that have become due and corrections of windows that were published
    /// before, and lets expire what is beyond the horizon.
    pub fn complete(&mut self, completion: &Completion) -> Rows {
        let mut rows = Rows::default();
        let epoch = completion.epoch;
        let everywhere = self.expired_everywhere();
        if std::mem::take(&mut self.anomalies.has_orphans) {
            self.end_orphaned_anomalies(epoch);
        }
        if completion.corrections {
            self.publish_corrections(epoch, &mut rows);
        }
        for partition in 0..self.partitions.len() {
            self.publish_due(Partition(partition as u32), epoch, &mut rows);
        }
        self.look_for_silence(epoch);
        self.give_published();
        self.stats.rollup_panes_missed.add(self.feed.take_missed());
        self.feed.flush(everywhere);
        if self.is_expiring(&completion.expired) {
            self.settle_anomalies(&completion.expired);
            self.expire(&completion.expired);
        }
        self.release_stragglers();
        rows
    }

    fn publish_due(&mut self, partition: Partition, epoch: Epoch, rows: &mut Rows) {
        let state = &mut self.partitions[partition.index()];
        // Behind this nothing that is closed is not published.
        self.stats
            .unpublished_bytes
            .add(-std::mem::take(&mut state.unpublished_bytes));
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
        self.judge(partition, (published, due), epoch);
    }

    /// Publishes the closed windows that end after `published`, through `closed`.
    fn publish_range(
        &mut self,
        partition: Partition,
        published: PaneNo,
        closed: PaneNo,
        epoch: Epoch,
        rows: &mut Rows,
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
        for job in self.config.long_jobs() {
            let spans = self.long.of(job).spans();
            let ended: Vec<Span> = spans
                .filter(|span| span.last > published && span.last <= closed)
                .collect();
            for span in ended {
                self.publish_longs(partition, job, span, epoch, rows);
            }
        }
    }

    /// Publishes the windows that end with a closed pane, from the packed columns.
    fn publish_closed(&mut self, partition: Partition, end: PaneNo, epoch: Epoch, rows: &mut Rows) {
        let quantiles = self.config.quantiles;
        let before = rows.len();
        let state = &self.partitions[partition.index()];
        let mut window = rows.window(self.head(Job::Minute, (end, end), Status::Final, epoch));
        for found in state.blocks.get(&end).into_iter().flat_map(Block::walk) {
            let pane = found.pane();
            let quantiles = quantiles
                .then(|| pane_quantiles(&pane, found.sketch().as_deref()))
                .flatten();
            window.push(self.slots.series_of(found.slot), Aggregate::of(&pane), quantiles);
        }
        window.finish();
        if self.config.five_minutes {
            let first = end.plus(1 - HOP_PANES);
            let blocks = state.blocks.range(first..=end).map(|(_, block)| block);
            let mut window = rows.window(self.head(Job::FiveMinutes, (first, end), Status::Final, epoch));
            let mut values = Together::default();
            together(blocks, |slot, panes| {
                let mut aggregate = Aggregate::default();
                values.clear();
                for found in panes {
                    let pane = found.pane();
                    aggregate.merge(&pane);
                    if quantiles {
                        found.add_to(&pane, &mut values);
                    }
                }
                let whole = quantiles && values.count() == aggregate.count;
                let quantiles = whole.then(|| values.quantiles(aggregate.min, aggregate.max)).flatten();
                window.push(self.slots.series_of(slot), aggregate, quantiles);
            });
            window.finish();
        }
        self.stats.rows_final.add((rows.len() - before) as u64);
    }

    fn publish_longs(&mut self, partition: Partition, job: Job, span: Span, epoch: Epoch, rows: &mut Rows) {
        let before = rows.len();
        for slot in self.slots.of(partition) {
            self.publish_long(slot, job, span, epoch, rows);
        }
        self.stats.rows_final.add((rows.len() - before) as u64);
    }

    /// How many windows that end pane by pane a reading is part of.
    fn reach(&self) -> i32 {
        self.config.panes_per_window_max()
    }

    /// Publishes windows with open panes, because the partition is idle or its input has ended.
    fn publish_open(&mut self, partition: Partition, after: PaneNo, due: PaneNo, epoch: Epoch, rows: &mut Rows) {
        let before = rows.len();
        for slot in self.slots.of(partition) {
            if !self.slots.is_used(slot) {
                continue;
            }
            let first = after.plus(1 - self.reach());
            let mut panes: BTreeSet<PaneNo> = self.open.numbers(slot).into_iter().filter(|n| *n <= due).collect();
            let blocks = self.partitions[partition.index()].blocks.range(first..);
            panes.extend(blocks.filter(|(_, block)| block.holds(slot)).map(|(number, _)| *number));
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
            for job in self.config.long_jobs() {
                let spans = self.long_spans(job, &panes).into_iter();
                for span in spans.filter(|span| span.last > after && span.last <= due) {
                    self.publish_long(slot, job, span, epoch, rows);
                }
            }
        }
        self.stats.rows_final.add((rows.len() - before) as u64);
    }

    /// The row of a window that is combined from panes, found one by one.
    pub(super) fn combined(
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
                window.merge(&pane, sketch.as_deref(), self.config.quantiles);
            }
        }
        (window.aggregate.readings() > 0).then(|| self.window_row(job, slot, (first, end), &window, status, epoch))
    }

    /// The long windows of a job in which there may be something, open or closed.
    pub(super) fn long_spans(&self, job: Job, panes: &BTreeSet<PaneNo>) -> BTreeSet<Span> {
        let mut spans: BTreeSet<Span> = panes.iter().map(|pane| self.config.span(job, *pane)).collect();
        spans.extend(self.long.of(job).spans());
        if job == Job::Day {
            // A day may have nothing but hours that haven't closed.
            let hours = self.long.of(Job::Hour).spans();
            spans.extend(hours.map(|hour| self.config.span(job, hour.first)));
        }
        spans
    }

    pub(super) fn publish_long(&mut self, slot: usize, job: Job, span: Span, epoch: Epoch, rows: &mut Rows) {
        if !self.slots.is_used(slot) {
            return;
        }
        let Some(window) = self.long_so_far(slot, job, span) else {
            return;
        };
        let published = &mut self.long.of_mut(job).window(span, slot).published;
        let status = if std::mem::replace(published, true) {
            Status::Corrected
        } else {
            Status::Final
        };
        rows.push(self.window_row(job, slot, (span.first, span.last), &window, status, epoch));
    }

    /// What an hour or a day holds now: its accumulator, then what has not closed, in its order.
    pub(super) fn long_so_far(&self, slot: usize, job: Job, span: Span) -> Option<Window> {
        let so_far = self.long.of(job).get(span.first, slot);
        let mut window = so_far.map_or_else(Window::default, |long| Window {
            aggregate: long.aggregate.clone(),
            sketch: long.sketch().into_owned(),
        });
        let is_within = |pane: &PaneNo| span.first <= *pane && *pane <= span.last;
        let open: BTreeSet<PaneNo> = self.open.numbers(slot).into_iter().filter(is_within).collect();
        match job {
            Job::Day => self.add_open_hours(&mut window, slot, span, &open),
            _ => self.add_open(&mut window, slot, open),
        }
        (window.aggregate.readings() > 0).then_some(window)
    }

    fn add_open(&self, window: &mut Window, slot: usize, panes: BTreeSet<PaneNo>) {
        for (pane, sketch) in panes.into_iter().filter_map(|number| self.open.get(slot, number)) {
            window.merge(&pane, sketch, self.config.quantiles);
        }
    }

    /// Adds the hours of a day that have not closed; of one that midnight divides the panes.
    fn add_open_hours(&self, window: &mut Window, slot: usize, day: Span, open: &BTreeSet<PaneNo>) {
        let hours = self.long.of(Job::Hour).spans();
        let touches = |hour: &Span| hour.last >= day.first && hour.first <= day.last;
        let mut hours: BTreeSet<Span> = hours.filter(touches).collect();
        hours.extend(open.iter().map(|pane| Span::hour(*pane)));
        for hour in hours {
            if day.first <= hour.first && hour.last <= day.last {
                let known = self.long.of(Job::Hour).get(hour.first, slot);
                if known.is_some_and(LongWindow::is_folded) {
                    continue;
                }
                if let Some(hour) = self.long_so_far(slot, Job::Hour, hour) {
                    window.aggregate.combine(&hour.aggregate);
                    if self.config.quantiles {
                        window.sketch.merge(&hour.sketch);
                    }
                }
            } else {
                self.add_open(window, slot, open.range(hour.first..=hour.last).copied().collect());
            }
        }
    }

    /// What the rows of a window have in common.
    pub(super) fn head(&self, job: Job, (first, last): Panes, status: Status, revision: Epoch) -> BlockHead {
        let names = &self.names;
        BlockHead {
            job,
            window_start: first.start(),
            window_end: last.end(),
            status,
            revision,
            devices: names.devices.book(),
            metrics: names.metrics.book(),
        }
    }

    /// The row of a window.
    pub(super) fn window_row(
        &self,
        job: Job,
        slot: usize,
        (first, last): Panes,
        window: &Window,
        status: Status,
        revision: Epoch,
    ) -> Row {
        let names = &self.names;
        Row {
            job,
            key: names.devices.name(self.slots.device(slot)).clone(),
            metric: names.metrics.name(self.slots.metric(slot)).clone(),
            window_start: first.start(),
            window_end: last.end(),
            values: window.aggregate.values(window.quantiles(self.config.quantiles)),
            status,
            revision,
        }
    }
}
