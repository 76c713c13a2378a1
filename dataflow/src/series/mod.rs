//! The state of the series that one worker owns: plain structs, tested without timely.
//!
//! * `apply`: batches in. Panes take readings and close as the log says, record by record.
//! * `publish`, `correct`, `expire`: windows out, at the end of an epoch: closed ones once, corrected ones
//!   again; and what is beyond the horizon is forgotten.
//! * `save`, `snapshot`: all of it, slice by slice and by key group, and back. `replay`: the journal on top of it.
//! * `give`, `feed`, `minutes`: published panes as differences, for what crosses series.
//! * `fingerprints`: what of messages was seen before.
//! * `stragglers`: readings for a store, until the windows that cover them can't change here any more.
//! * `judge`, `anomalies`, `track`: rules over published minutes, and what they know.
//! * `live`: open windows as they stand, and those that have changed.

mod anomalies;
mod apply;
mod bits;
mod closed;
mod correct;
mod dirty;
mod expire;
mod feed;
mod fingerprints;
mod give;
mod judge;
mod live;
mod long;
mod minutes;
mod names;
mod open;
mod opened;
mod packed;
mod paged;
mod publish;
mod replay;
mod rows;
mod save;
mod shapes;
mod slots;
mod snapshot;
mod stragglers;
mod track;
mod walk;

pub use feed::{Feed, PaneChange};
pub use minutes::{Given, Minutes, PaneRecord};
pub use names::{NameTable, Names};
pub use replay::Replay;
pub use rows::Rows;
pub use snapshot::{DeviceSnapshot, Devices, KnownDevice, PartitionSnapshot, SeriesSnapshot};

use crate::checkpoint::Stateful;
use crate::config::EngineConfig;
use crate::stats::Stats;
use anomalies::Anomalies;
use bits::Bits;
use closed::Block;
use dirty::Dirty;
use fingerprints::Fingerprints;
use long::LongWindows;
use open::OpenPanes;
use opened::Opened;
use shapes::Shapes;
use slots::{DeviceState, Slots};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use stragglers::Stragglers;
use tidewatch_proto::ids::{Epoch, Partition};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;

/// How many fingerprints of its last messages are kept of a device.
const FINGERPRINTS: usize = 8;

/// The state of one worker's series.
pub struct SeriesState {
    config: Arc<EngineConfig>,
    stats: Arc<Stats>,
    pub(crate) names: Names,
    origins: Vec<Origin>,
    shapes: Shapes,
    devices: Vec<DeviceState>,
    /// How many devices have readings.
    settled: usize,
    fingerprints: Fingerprints,
    slots: Slots,
    open: OpenPanes,
    partitions: Vec<PartitionState>,
    long: LongWindows,
    dirty: Dirty,
    feed: Feed,
    rejects: Vec<Reject>,
    stragglers: Stragglers,
    anomalies: Anomalies,
    corrected_at: Epoch,
    /// Slots that have taken readings since open windows were pushed, while somebody listens.
    touched: Option<Bits>,
    reported: Reported,
}

/// What a sending worker's numbers mean here.
#[derive(Clone, Debug, Default)]
struct Origin {
    batches: u64,
    devices: Vec<u32>,
    metrics: Vec<u32>,
    shapes: Vec<u32>,
}

/// How far a partition has come here, and the closed panes of the devices at home on it.
#[derive(Debug)]
struct PartitionState {
    /// The watermark, `i64::MIN` before the first record.
    watermark_ms: i64,
    /// Nothing comes: what spans partitions doesn't wait.
    idle: bool,
    /// The last pane that the log has closed.
    closed: PaneNo,
    /// The last pane that must be published.
    due: PaneNo,
    /// The last pane whose windows were published.
    published: PaneNo,
    /// The last pane that can't change any more.
    expired: PaneNo,
    /// What the rows take at most of panes that are closed and not published.
    unpublished_bytes: i64,
    /// Which of its slots have open panes.
    opened: Opened,
    blocks: BTreeMap<PaneNo, Block>,
}

impl Default for PartitionState {
    fn default() -> PartitionState {
        PartitionState {
            watermark_ms: i64::MIN,
            idle: false,
            closed: PaneNo::NONE,
            due: PaneNo::NONE,
            published: PaneNo::NONE,
            expired: PaneNo::NONE,
            unpublished_bytes: 0,
            opened: Opened::default(),
            blocks: BTreeMap::new(),
        }
    }
}

/// What was last added to the process's gauges.
#[derive(Debug, Default)]
struct Reported {
    devices: i64,
    series: i64,
    panes_open: i64,
    panes_closed: i64,
}

impl SeriesState {
    /// The state of a worker without series, for a source of so many partitions.
    pub fn new(config: Arc<EngineConfig>, stats: Arc<Stats>, partitions: usize) -> SeriesState {
        SeriesState {
            open: OpenPanes::new(config.quantiles),
            anomalies: Anomalies::new(&config.rules),
            config,
            stats,
            names: Names::default(),
            origins: Vec::new(),
            shapes: Shapes::default(),
            devices: Vec::new(),
            settled: 0,
            fingerprints: Fingerprints::default(),
            slots: Slots::default(),
            partitions: (0..partitions).map(|_| PartitionState::default()).collect(),
            long: LongWindows::default(),
            dirty: Dirty::default(),
            feed: Feed::default(),
            rejects: Vec::new(),
            stragglers: Stragglers::default(),
            corrected_at: Epoch(0),
            touched: None,
            reported: Reported::default(),
        }
    }

    /// What checkpoints hold of devices beside their series: every operator that keeps anything of them is here.
    fn stateful(&self) -> [&dyn Stateful; 3] {
        [&self.fingerprints, &self.stragglers, &self.anomalies]
    }

    fn stateful_mut(&mut self) -> [&mut dyn Stateful; 3] {
        [&mut self.fingerprints, &mut self.stragglers, &mut self.anomalies]
    }

    /// The closed panes as differences.
    pub fn feed(&mut self) -> &mut Feed {
        &mut self.feed
    }

    /// Begins to give out published panes; those in memory come with the next epoch.
    pub fn start_feed(&mut self) {
        let partial = self.partitions.iter().map(|partition| partition.expired).max();
        let partial = self.config.forgotten_by(partial.unwrap_or(PaneNo::NONE));
        self.feed.start(self.partitions.len(), partial);
    }

    /// Readings that could not be used here although the reader had let them pass, since the last call.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    /// The last pane that every partition has closed, not waiting for idle ones.
    pub fn closed_everywhere(&self) -> PaneNo {
        let busy = self.partitions.iter().filter(|p| !p.idle);
        match busy.map(|p| p.closed).min() {
            Some(least) => least,
            // All are idle: what was published by the wall clock counts.
            None => self.partitions.iter().map(|p| p.due).max().unwrap_or(PaneNo::NONE),
        }
    }

    /// The last pane that is beyond the horizon for what spans partitions.
    pub fn expired_everywhere(&self) -> PaneNo {
        let expired = |p: &PartitionState| match p.watermark_ms {
            i64::MIN => PaneNo::NONE,
            watermark => self.config.expired_by(watermark),
        };
        let busy = self.partitions.iter().filter(|p| !p.idle).map(expired).min();
        // All are idle: time stands still.
        let heard = || {
            self.partitions
                .iter()
                .filter(|p| p.watermark_ms != i64::MIN)
                .map(expired)
        };
        busy.or_else(|| heard().min()).unwrap_or(PaneNo::NONE)
    }

    fn home(&self, slot: usize) -> Partition {
        self.devices[self.slots.device(slot) as usize].home
    }

    /// A pane of a slot, open or closed.
    fn pane(&self, home: Partition, slot: usize, number: PaneNo) -> Option<(Pane, Option<Cow<'_, Sketch>>)> {
        let open = self.open.get(slot, number);
        open.map(|(pane, sketch)| (pane, sketch.map(Cow::Borrowed)))
            .or_else(|| {
                self.partitions[home.index()]
                    .blocks
                    .get(&number)
                    .and_then(|block| block.get(slot))
            })
    }

    /// Brings the process's gauges up to date.
    pub fn report(&mut self) {
        let now = Reported {
            devices: self.settled as i64,
            series: self.slots.series() as i64,
            panes_open: self.open.len() as i64,
            panes_closed: self
                .partitions
                .iter()
                .flat_map(|p| p.blocks.values())
                .map(|b| b.len() as i64)
                .sum(),
        };
        self.stats.devices.add(now.devices - self.reported.devices);
        self.stats.series.add(now.series - self.reported.series);
        self.stats.panes_open.add(now.panes_open - self.reported.panes_open);
        self.stats
            .panes_closed
            .add(now.panes_closed - self.reported.panes_closed);
        self.reported = now;
    }
}
