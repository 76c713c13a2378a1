//! Published panes as differences: what crosses series stands on them.

use std::collections::{BTreeMap, HashMap};
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

/// The published panes that were given out, while somebody wants them.
#[derive(Debug)]
pub struct Feed {
    given: BTreeMap<PaneNo, HashMap<u32, Rc<PaneRecord>>>,
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
            given: BTreeMap::new(),
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

    /// Gives out a pane as it is now, taking back what it was.
    pub(super) fn give(&mut self, slot: u32, device: u32, metric: u32, pane: &Pane, sketch: Option<&Sketch>) {
        if pane.number <= self.expired {
            self.missed += 1;
            return;
        }
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
        match self.given.entry(pane.number).or_default().insert(slot, record.clone()) {
            Some(before) if before == record => return,
            Some(before) => self.changes.push((before, -1)),
            None => {}
        }
        self.changes.push((record, 1));
    }

    /// Takes back all panes until `through`: their time is over everywhere.
    pub fn expire(&mut self, through: PaneNo) {
        if through <= self.expired {
            return;
        }
        self.expired = through;
        let kept = self.given.split_off(&through.plus(1));
        let gone = std::mem::replace(&mut self.given, kept);
        let gone = gone.into_values().flat_map(HashMap::into_values);
        self.changes.extend(gone.map(|record| (record, -1)));
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
