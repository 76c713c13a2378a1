//! Closed panes as differences: what crosses series stands on them.

use std::collections::HashMap;
use std::rc::Rc;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::{Bucket, Sketch};
use tidewatch_proto::time::PaneNo;

/// One closed pane, immutable and shared.
#[derive(Clone, Debug)]
pub struct PaneRecord {
    /// The number of the device on this worker.
    pub device: u32,
    /// The number of the metric on this worker.
    pub metric: u32,
    /// The aggregate.
    pub pane: Pane,
    /// The values as sketch buckets.
    pub buckets: Vec<Bucket>,
}

impl PaneRecord {
    /// What tells two records apart, as integers.
    fn content(&self) -> (u32, u32, PaneNo, [u64; 6], [u32; 4], &[Bucket]) {
        let p = &self.pane;
        let values = [p.sum, p.squares, p.min, p.max, p.first, p.last].map(f64::to_bits);
        let counts = [p.count, p.invalid, u32::from(p.first_at), u32::from(p.last_at)];
        (self.device, self.metric, p.number, values, counts, &self.buckets)
    }
}

impl PartialEq for PaneRecord {
    fn eq(&self, other: &PaneRecord) -> bool {
        self.content() == other.content()
    }
}

impl Eq for PaneRecord {}

impl PartialOrd for PaneRecord {
    fn partial_cmp(&self, other: &PaneRecord) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PaneRecord {
    fn cmp(&self, other: &PaneRecord) -> std::cmp::Ordering {
        self.content().cmp(&other.content())
    }
}

/// A pane that came (+1) or went (-1).
pub type PaneChange = (Rc<PaneRecord>, isize);

/// The closed panes that were given out, while somebody wants them.
#[derive(Debug, Default)]
pub struct Feed {
    given: HashMap<(u32, PaneNo), Rc<PaneRecord>>,
    /// Through which pane each partition's panes were given out; nobody wants them when it is `None`.
    through: Option<Vec<PaneNo>>,
    changes: Vec<PaneChange>,
}

impl Feed {
    /// Begins: all closed panes in memory come first.
    pub fn start(&mut self, partitions: usize) {
        self.through.get_or_insert_with(|| vec![PaneNo::NONE; partitions]);
    }

    /// Ends, and forgets all.
    pub fn stop(&mut self) {
        *self = Feed::default();
    }

    /// Whether somebody wants the panes.
    pub fn is_on(&self) -> bool {
        self.through.is_some()
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

    /// Gives out a pane as it is now, taking back what it was.
    pub(super) fn give(&mut self, slot: u32, device: u32, metric: u32, pane: &Pane, sketch: Option<&Sketch>) {
        let buckets = match (pane.count, sketch) {
            (0, _) => Vec::new(),
            (1, _) => Sketch::of(&[pane.min]).buckets(),
            (2, _) => Sketch::of(&[pane.min, pane.max]).buckets(),
            (_, Some(sketch)) => sketch.buckets(),
            (_, None) => Vec::new(),
        };
        let record = Rc::new(PaneRecord {
            device,
            metric,
            pane: *pane,
            buckets,
        });
        match self.given.insert((slot, pane.number), record.clone()) {
            Some(before) if before == record => return,
            Some(before) => self.changes.push((before, -1)),
            None => {}
        }
        self.changes.push((record, 1));
    }

    /// Takes back a pane whose time is over.
    pub(super) fn expire(&mut self, slot: u32, pane: PaneNo) {
        if let Some(before) = self.given.remove(&(slot, pane)) {
            self.changes.push((before, -1));
        }
    }

    /// What came and went since the last call.
    pub fn take(&mut self) -> Vec<PaneChange> {
        std::mem::take(&mut self.changes)
    }
}
