//! Published panes as differences: what crosses series stands on them.

use super::minutes::{Given, Minutes};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;

/// A record of a device, by its number on this worker, that came (+1) or went (-1).
pub type PaneChange = ((u32, Given), isize);

/// The published panes that were given out, while somebody wants them.
#[derive(Debug)]
pub struct Feed {
    /// Locked by nobody else but for a moment: a state moves between threads only before anybody reads these.
    minutes: Arc<Mutex<Minutes>>,
    /// Through which pane each partition's panes were given out; nobody wants them when it is `None`.
    through: Option<Vec<PaneNo>>,
    changes: Vec<PaneChange>,
    /// Panes until here were taken back.
    expired: PaneNo,
    /// All changes of panes until here were given out.
    flushed: PaneNo,
    /// Of panes until here some had been forgotten when it began.
    partial: PaneNo,
    /// Panes not given out, since their time was over everywhere.
    missed: u64,
}

impl Default for Feed {
    fn default() -> Feed {
        Feed {
            minutes: Arc::default(),
            through: None,
            changes: Vec::new(),
            expired: PaneNo::NONE,
            flushed: PaneNo::NONE,
            partial: PaneNo::NONE,
            missed: 0,
        }
    }
}

impl Feed {
    /// Begins: all published panes in memory come first, of which those until `partial` are not all.
    pub fn start(&mut self, partitions: usize, partial: PaneNo) {
        if self.through.is_none() {
            self.through = Some(vec![PaneNo::NONE; partitions]);
            self.partial = partial;
        }
    }

    /// Ends, and forgets all.
    pub fn stop(&mut self) {
        *self = Feed::default();
    }

    /// Whether somebody wants the panes.
    pub fn is_on(&self) -> bool {
        self.through.is_some()
    }

    /// All changes of panes until here were given out: what comes for them later changes nothing.
    pub fn flushed(&self) -> PaneNo {
        self.flushed
    }

    /// Of panes until here some had been forgotten when the feed began.
    pub fn partial(&self) -> PaneNo {
        self.partial
    }

    /// Says that all changes of panes until `through` were given out.
    pub(super) fn flush(&mut self, through: PaneNo) {
        if self.is_on() {
            self.flushed = self.flushed.max(through);
        }
    }

    /// Through which pane a partition's panes were given out.
    pub(super) fn through(&self, partition: usize) -> Option<PaneNo> {
        self.through.as_ref().map(|through| through[partition])
    }

    pub(super) fn set_through(&mut self, partition: usize, pane: PaneNo) {
        if let Some(through) = &mut self.through {
            through[partition] = pane;
        }
    }

    /// The records that the differences stand for.
    pub fn minutes(&self) -> Arc<Mutex<Minutes>> {
        self.minutes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Minutes> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether panes of a minute are wanted; counts them when their time is over everywhere.
    pub(super) fn wants(&mut self, minute: PaneNo, panes: usize) -> bool {
        let wanted = minute > self.expired;
        self.missed += if wanted { 0 } else { panes as u64 };
        wanted
    }

    /// Adds a pane of a wanted minute to the record that ends next, with its values when their quantiles are wanted.
    #[inline]
    pub(super) fn add(&mut self, metric: u32, pane: &Pane, sketch: Option<&Sketch>, quantiles: bool) {
        self.lock().add(metric, pane, sketch, quantiles);
    }

    /// Gives out the record of the panes that were added, a device's minute in the series from slot `first` on, and
    /// takes back what it was.
    #[inline]
    pub(super) fn end(&mut self, minute: PaneNo, first: usize, device: u32) {
        let ended = self.lock().end(minute, first, device);
        if let Some((given, before)) = ended {
            self.changes.push(((device, given), 1));
            self.changes.extend(before.map(|before| ((device, before), -1)));
        }
    }

    /// Takes back all panes until `through` in an epoch: their time is over everywhere.
    pub fn expire(&mut self, through: PaneNo, epoch: Epoch) {
        if through > self.expired {
            self.expired = through;
            let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
            self.changes
                .extend(minutes.leave(through, epoch).map(|record| (record, -1)));
        }
    }

    /// Everybody has seen what came and went in epochs before `epoch`.
    pub fn forget_before(&mut self, epoch: Epoch) {
        self.lock().forget_before(epoch);
    }

    /// How many panes were not given out since the last call, since their time was over everywhere.
    pub(super) fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// What came and went since the last call.
    pub fn take(&mut self) -> Vec<PaneChange> {
        std::mem::take(&mut self.changes)
    }
}
