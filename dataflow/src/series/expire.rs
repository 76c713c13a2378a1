//! What is beyond the horizon leaves memory.

use super::closed::Block;
use super::{PartitionState, SeriesState};
use crate::config::HOP_PANES;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::time::PaneNo;

impl SeriesState {
    /// The last pane of a partition that can't change from now on: it is beyond the horizon, or the oldest of
    /// more than memory may hold.
    pub(super) fn next_expiry(&self, state: &PartitionState) -> PaneNo {
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
        let oldest = state
            .blocks
            .keys()
            .next()
            .filter(|_| bytes > self.config.correction_bytes_max / self.partitions.len());
        match oldest {
            // Without the oldest, the panes that share a window with it can't be corrected either.
            Some(oldest) => {
                let spared = state.published.min(state.closed).plus(-HOP_PANES);
                bound.max((*oldest).min(spared).plus(self.config.panes_per_window_max() - 1))
            }
            None => bound,
        }
    }

    /// Lets each partition's panes expire through its bound, and forgets those that no window needs.
    pub(super) fn expire(&mut self, bounds: &[PaneNo]) {
        for (partition, bound) in bounds.iter().enumerate() {
            let state = &mut self.partitions[partition];
            if *bound <= state.expired {
                continue;
            }
            state.expired = *bound;
            let forgotten = self.config.forgotten_by(*bound);
            state.blocks = state.blocks.split_off(&forgotten.plus(1));
            let slots = || self.slots.of(Partition(partition as u32));
            self.long.expire(*bound, slots);
        }
    }
}
