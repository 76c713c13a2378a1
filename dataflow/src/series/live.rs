//! Windows as they stand before they are published, for whoever asks or listens.

use super::SeriesState;
use super::bits::Bits;
use super::rows::Rows;
use crate::config::HOP_PANES;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tidewatch_proto::aggregate::{Aggregate, pane_quantiles};
use tidewatch_proto::block::RowList;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::time::PaneNo;

impl SeriesState {
    /// The windows of a series that are still open, as they stand.
    pub fn live(&self, device: &str, metric: &str, as_of: Epoch) -> Vec<Row> {
        let (number, metric) = {
            let names = &self.names;
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
        let mut rows = Rows::default();
        self.open_windows(slot, &self.config.jobs(), as_of, &mut rows);
        rows.into_lists().into_iter().flat_map(RowList::into_rows).collect()
    }

    /// From now on the slots that take readings are noted, and at first all are.
    pub fn touch_all(&mut self) {
        let used = (0..self.slots.capacity()).filter(|slot| self.slots.is_used(*slot));
        let mut touched = Bits::default();
        used.for_each(|slot| touched.set(slot));
        self.touched = Some(touched);
    }

    /// Slots are not noted any more.
    pub fn stop_touching(&mut self) {
        self.touched = None;
    }

    /// The open windows of the slots that have taken readings since the last call, as they stand: of these devices, or of
    /// all.
    pub fn take_touched(&mut self, (jobs, devices): (&[Job], Option<&HashSet<Name>>), as_of: Epoch) -> Rows {
        let (slots, names) = (&self.slots, &self.names.devices);
        let is_wanted = |slot: &usize| devices.is_none_or(|wanted| wanted.contains(names.name(slots.device(*slot))));
        let touched = self.touched.iter_mut().flat_map(Bits::drain);
        let slots: Vec<usize> = touched.filter(is_wanted).collect();
        let mut rows = Rows::default();
        if jobs.contains(&Job::Minute) {
            self.open_minutes(&slots, as_of, &mut rows);
        }
        let kept = self.config.jobs().into_iter();
        let longer: Vec<Job> = kept.filter(|job| *job != Job::Minute && jobs.contains(job)).collect();
        if !longer.is_empty() {
            slots
                .iter()
                .for_each(|slot| self.open_windows(*slot, &longer, as_of, &mut rows));
        }
        rows
    }

    /// The open minutes of slots, minute by minute.
    fn open_minutes(&self, slots: &[usize], as_of: Epoch, rows: &mut Rows) {
        let mut minutes: BTreeMap<PaneNo, Vec<usize>> = BTreeMap::new();
        for slot in slots {
            let published = self.partitions[self.home(*slot).index()].published;
            for number in self
                .open
                .numbers(*slot)
                .into_iter()
                .filter(|number| *number > published)
            {
                minutes.entry(number).or_default().push(*slot);
            }
        }
        for (number, slots) in minutes {
            let mut window = rows.window(self.head(Job::Minute, (number, number), Status::Live, as_of));
            for slot in slots {
                if let Some((pane, sketch)) = self.open.get(slot, number) {
                    let kept = self.config.quantiles;
                    let quantiles = kept.then(|| pane_quantiles(&pane, sketch)).flatten();
                    window.push(self.slots.series_of(slot), Aggregate::of(&pane), quantiles);
                }
            }
            window.finish();
        }
    }

    /// The open windows of a slot, of these jobs.
    fn open_windows(&self, slot: usize, jobs: &[Job], as_of: Epoch, rows: &mut Rows) {
        let home = self.home(slot);
        let state = &self.partitions[home.index()];
        let mut panes: BTreeSet<PaneNo> = self.open.numbers(slot).into_iter().collect();
        let recent = state.blocks.range(state.published.plus(1 - HOP_PANES)..);
        panes.extend(recent.filter(|(_, block)| block.holds(slot)).map(|(number, _)| *number));
        let open = |end: &PaneNo| *end > state.published;
        if jobs.contains(&Job::Minute) {
            for end in panes.iter().filter(|end| open(end)) {
                rows.extend(self.combined(Job::Minute, home, slot, *end, Status::Live, as_of));
            }
        }
        if jobs.contains(&Job::FiveMinutes) {
            let ends: BTreeSet<PaneNo> = panes
                .iter()
                .flat_map(|number| (0..HOP_PANES).map(|by| number.plus(by)))
                .collect();
            for end in ends.into_iter().filter(open) {
                rows.extend(self.combined(Job::FiveMinutes, home, slot, end, Status::Live, as_of));
            }
        }
        for job in self.config.long_jobs().filter(|job| jobs.contains(job)) {
            let spans = self.long_spans(job, &panes);
            for span in spans.into_iter().filter(|span| open(&span.last)) {
                if let Some(window) = self.long_so_far(slot, job, span) {
                    let panes = (span.first, span.last);
                    rows.push(self.window_row(job, slot, panes, &window, Status::Live, as_of));
                }
            }
        }
    }
}
