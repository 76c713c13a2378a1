//! Published panes, given out to what crosses series.

use super::SeriesState;
use super::dirty::Change;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::time::PaneNo;

impl SeriesState {
    /// Gives out the panes whose windows were published since the last time: closed ones, and those still open
    /// of a partition that is idle or has ended.
    pub(super) fn give_published(&mut self) {
        let quantiles = self.config.quantiles;
        for partition in 0..self.partitions.len() {
            let state = &self.partitions[partition];
            let (published, closed) = (state.published, state.closed);
            let Some(through) = self.feed.through(partition).filter(|through| *through < published) else {
                continue;
            };
            for (number, block) in state.blocks.range(through.plus(1)..=published) {
                if !self.feed.wants(*number, block.len()) {
                    continue;
                }
                let mut walk = block.walk().peekable();
                while let Some(first) = walk.peek() {
                    let series = self.neighbours(first.slot);
                    let device = self.slots.device(first.slot);
                    while let Some(found) = walk.next_if(|found| series.contains(&found.slot)) {
                        let metric = self.slots.metric(found.slot);
                        let sketch = if quantiles { found.sketch() } else { None };
                        self.feed.add(metric, &found.pane(), sketch.as_deref(), quantiles);
                    }
                    self.feed.end(*number, series.start, device);
                }
            }
            if published > closed {
                let used = self
                    .slots
                    .of(Partition(partition as u32))
                    .filter(|slot| self.slots.is_used(*slot));
                let open = used.flat_map(|slot| self.open.numbers(slot).into_iter().map(move |number| (slot, number)));
                let due = open.filter(|(_, number)| *number > through && *number <= published);
                let due: Vec<_> = due.collect();
                self.give_all(due);
            }
            self.feed.set_through(partition, published);
        }
    }

    /// Gives out changed panes again.
    pub(super) fn give_again(&mut self, changes: &BTreeMap<(u32, PaneNo), Change>) {
        let given = changes.keys().map(|(slot, number)| (*slot as usize, *number));
        let given = given.filter(|(slot, number)| {
            let through = self.feed.through(self.home(*slot).index());
            through.is_some_and(|through| *number <= through)
        });
        let given: Vec<_> = given.collect();
        self.give_all(given);
    }

    /// Gives out panes, each with those that lie together with it.
    fn give_all(&mut self, panes: Vec<(usize, PaneNo)>) {
        let wanted = panes.into_iter().filter(|(_, number)| self.feed.wants(*number, 1));
        let wanted: Vec<_> = wanted.collect();
        let records: BTreeSet<_> = wanted
            .into_iter()
            .map(|(slot, number)| (self.neighbours(slot).start, number))
            .collect();
        records.into_iter().for_each(|(first, number)| self.give(first, number));
    }

    /// Gives out a minute of the series from slot `first` on.
    fn give(&mut self, first: usize, number: PaneNo) {
        let home = self.home(first);
        for slot in self.neighbours(first) {
            if let Some((pane, sketch)) = self.pane(home, slot, number) {
                let (metric, sketch) = (self.slots.metric(slot), sketch.map(Cow::into_owned));
                self.feed.add(metric, &pane, sketch.as_ref(), self.config.quantiles);
            }
        }
        self.feed.end(number, first, self.slots.device(first));
    }

    /// The slots of the device's series that lie together with this one.
    fn neighbours(&self, slot: usize) -> Range<usize> {
        let together = self.devices[self.slots.device(slot) as usize].slots();
        if together.contains(&slot) {
            together
        } else {
            slot..slot + 1
        }
    }
}
