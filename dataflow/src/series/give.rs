//! Published panes, given out to what crosses series.

use super::SeriesState;
use super::dirty::Change;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;

impl SeriesState {
    /// Gives out the panes whose windows were published since the last time: closed ones, and those still open
    /// of a partition that is idle or has ended.
    pub(super) fn give_published(&mut self) {
        for partition in 0..self.partitions.len() {
            let state = &self.partitions[partition];
            let (published, closed) = (state.published, state.closed);
            let Some(through) = self.feed.through(partition).filter(|through| *through < published) else {
                continue;
            };
            for (number, block) in state.blocks.range(through.plus(1)..=published) {
                for found in block.walk() {
                    debug_assert_eq!(found.number, *number);
                    let slot = found.slot;
                    let (device, metric) = (self.slots.device(slot), self.slots.metric(slot));
                    self.feed
                        .give(slot as u32, device, metric, &found.pane(), found.sketch().as_deref());
                }
            }
            if published > closed {
                for slot in self.slots.of(Partition(partition as u32)) {
                    if !self.slots.is_used(slot) {
                        continue;
                    }
                    let due = |number: &PaneNo| *number > through && *number <= published;
                    for number in self.open.numbers(slot).into_iter().filter(due) {
                        self.give(slot, number);
                    }
                }
            }
            self.feed.set_through(partition, published);
        }
    }

    /// Gives out changed panes again.
    pub(super) fn give_again(&mut self, changes: &BTreeMap<(u32, PaneNo), Change>) {
        for (slot, number) in changes.keys() {
            let home = self.home(*slot as usize);
            if self
                .feed
                .through(home.index())
                .is_some_and(|through| *number <= through)
            {
                self.give(*slot as usize, *number);
            }
        }
    }

    fn give(&mut self, slot: usize, number: PaneNo) {
        let home = self.home(slot);
        if let Some((pane, sketch)) = self.pane(home, slot, number) {
            let (device, metric) = self.slots.series_of(slot);
            let sketch: Option<Sketch> = sketch.map(Cow::into_owned);
            self.feed.give(slot as u32, device, metric, &pane, sketch.as_ref());
        }
    }
}
