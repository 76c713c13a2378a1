//! Windows as they stand before they are published, for whoever asks.

use super::SeriesState;
use super::hours::{first_pane, hour_of, last_pane};
use crate::config::{HOP_PANES, HOUR_PANES};
use std::collections::BTreeSet;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::time::PaneNo;

impl SeriesState {
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
        panes.extend(recent.filter(|(_, block)| block.holds(slot)).map(|(number, _)| *number));
        let mut rows = Vec::new();
        for end in panes.iter().filter(|end| **end > state.published) {
            rows.extend(self.combined(Job::Minute, device.home, slot, *end, Status::Live, as_of));
        }
        if self.config.five_minutes {
            let ends: BTreeSet<PaneNo> = panes
                .iter()
                .flat_map(|number| (0..HOP_PANES).map(|by| number.plus(by)))
                .collect();
            for end in ends.into_iter().filter(|end| *end > state.published) {
                rows.extend(self.combined(Job::FiveMinutes, device.home, slot, end, Status::Live, as_of));
            }
        }
        if self.config.hour {
            let mut hours: BTreeSet<i32> = panes.iter().map(|number| hour_of(*number)).collect();
            hours.extend(self.hours.numbers());
            for hour in hours.into_iter().filter(|hour| last_pane(*hour) > state.published) {
                if let Some(window) = self.hour_so_far(slot, hour) {
                    let (first, end) = (first_pane(hour), first_pane(hour).plus(HOUR_PANES - 1));
                    rows.push(self.window_row(Job::Hour, slot, (first, end), &window, Status::Live, as_of));
                }
            }
        }
        rows
    }
}
