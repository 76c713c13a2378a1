//! Windows that were published before and have changed since.

use super::SeriesState;
use super::dirty::{Change, Dirty};
use super::rows::Rows;
use crate::config::{HOP_PANES, epochs_of};
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::row::{Job, Status};
use tidewatch_proto::time::PaneNo;

impl SeriesState {
    /// Whether corrections are pending and may leave: at most once in their interval, unless it must be `now`.
    pub(super) fn are_corrections_due(&self, epoch: Epoch, now: bool) -> bool {
        let interval = epochs_of(self.config.correction_interval_ms);
        !self.dirty.is_empty() && (now || epoch.0 >= self.corrected_at.0 + interval)
    }

    /// Publishes pending corrections.
    pub(super) fn publish_corrections(&mut self, epoch: Epoch, rows: &mut Rows) {
        self.corrected_at = epoch;
        let changes = self.dirty.take();
        let mut ends: BTreeSet<(u32, PaneNo, Job)> = BTreeSet::new();
        let mut longs = self.dirty.take_longs();
        for ((slot, pane), change) in &changes {
            ends.insert((*slot, *pane, Job::Minute));
            let reach = if self.config.five_minutes { HOP_PANES } else { 0 };
            let hops = (0..reach).map(|by| pane.plus(by)).filter(|end| *end <= change.through);
            ends.extend(hops.map(|end| (*slot, end, Job::FiveMinutes)));
            let spans = self.config.long_jobs().map(|job| (job, self.config.span(job, *pane)));
            let published = spans.filter(|(_, span)| span.last <= change.through);
            longs.extend(published.map(|(job, span)| (*slot, job, span.first)));
        }
        let before = (rows.len(), rows.corrected());
        for (slot, end, job) in ends {
            let home = self.home(slot as usize);
            let status = self.status(&changes, home, slot as usize, end, job);
            rows.extend(self.combined(job, home, slot as usize, end, status, epoch));
        }
        for (slot, job, first) in longs {
            self.publish_long(slot as usize, job, self.config.span(job, first), epoch, rows);
        }
        let corrected = rows.corrected() - before.1;
        self.stats.rows_corrected.add(corrected as u64);
        self.stats.rows_final.add((rows.len() - before.0 - corrected) as u64);
        self.judge_again(&changes, epoch);
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
}
