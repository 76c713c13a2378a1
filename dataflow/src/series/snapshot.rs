//! The state as it was saved, by key group, taken back by whatever number of workers. `save` writes the same.

use super::closed::Block;
use super::dirty::Change;
use super::long::LongWindow;
use super::open::Sketched;
use super::packed;
use super::{Reported, SeriesState};
use crate::checkpoint::file::content_error;
use crate::checkpoint::{CheckpointError, Partitions};
use crate::config::EngineConfig;
use crate::stats::Stats;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::sync::Arc;
use tidewatch_proto::ids::{KeyGroup, Name, Partition};
use tidewatch_proto::row::Job;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;

/// A device.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DeviceSnapshot {
    /// Its id.
    pub name: Name,
    /// The partition whose watermark closes its windows.
    pub home: Partition,
    /// Its series.
    pub series: Vec<SeriesSnapshot>,
    /// What operators keep of it beside these.
    pub kept: Vec<Kept>,
}

/// What an operator keeps of a device.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Kept {
    /// Its place among the names of operators.
    pub operator: u32,
    /// What it has saved.
    #[serde(deserialize_with = "crate::bytes::deserialize")]
    pub bytes: Vec<u8>,
}

/// A series.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SeriesSnapshot {
    /// Its metric.
    pub metric: Name,
    /// Panes that still take readings.
    pub open: Vec<Sketched>,
    /// Panes that the log has closed.
    pub closed: Vec<ClosedPane>,
    /// Hours, by their first panes.
    pub hours: Vec<(PaneNo, LongWindow)>,
    /// Days, by their first panes.
    pub days: Vec<(PaneNo, LongWindow)>,
    /// Corrections that are not published yet.
    pub changes: Vec<(PaneNo, Change)>,
    /// Corrections of long windows alone.
    pub longs: Vec<(Job, PaneNo)>,
}

/// A closed pane with its sketch, in few bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedPane(pub Sketched);

impl<'de> Deserialize<'de> for ClosedPane {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ClosedPane, D::Error> {
        let (number, bytes, sketch) = <(PaneNo, &[u8], Option<Box<Sketch>>)>::deserialize(deserializer)?;
        let pane = packed::read(bytes, number);
        let pane = pane.ok_or_else(|| D::Error::custom(format!("a pane of {} bytes", bytes.len())))?;
        let values = packed::values(bytes);
        let kept = (values.len() > 0).then(|| Box::new(Sketch::of_few(values)));
        Ok(ClosedPane((pane, sketch.or(kept))))
    }
}

/// The devices of a key group, read one after the other: what all of them take in memory is many times their bytes.
pub struct Devices<'a> {
    group: KeyGroup,
    operators: Vec<String>,
    left: usize,
    rest: &'a [u8],
}

impl<'a> Devices<'a> {
    /// Begins with a group's bytes: the names of operators, how many devices there are, then each.
    ///
    /// # Errors
    /// When they don't begin with names and a number.
    pub fn of(group: KeyGroup, content: &'a [u8]) -> Result<Devices<'a>, CheckpointError> {
        let begun = postcard::take_from_bytes(content);
        let ((operators, left), rest) = begun.map_err(|problem| in_group(group, &problem))?;
        Ok(Devices {
            group,
            operators,
            left,
            rest,
        })
    }
}

impl Devices<'_> {
    /// The names of operators that have kept something of them.
    pub fn operators(&mut self) -> Vec<String> {
        std::mem::take(&mut self.operators)
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.left
    }
}

impl Iterator for Devices<'_> {
    type Item = Result<DeviceSnapshot, CheckpointError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            let bytes = std::mem::take(&mut self.rest).len();
            return (bytes > 0).then(|| Err(in_group(self.group, &format!("{bytes} bytes are left"))));
        };
        self.left = left;
        match postcard::take_from_bytes(self.rest) {
            Ok((device, rest)) => {
                self.rest = rest;
                Some(Ok(device))
            }
            Err(problem) => {
                (self.left, self.rest) = (0, &[]);
                Some(Err(in_group(self.group, &problem)))
            }
        }
    }
}

fn in_group(group: KeyGroup, problem: &impl ToString) -> CheckpointError {
    content_error(&format!("key group {}", group.0), &problem.to_string())
}

/// How far a partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSnapshot {
    /// The watermark.
    pub watermark_ms: i64,
    /// The last closed pane.
    pub closed: PaneNo,
    /// The last pane whose windows are to be published.
    pub due: PaneNo,
    /// The last pane whose windows were published.
    pub published: PaneNo,
    /// The last pane that can't change any more.
    pub expired: PaneNo,
}

impl PartitionSnapshot {
    /// A partition without a record.
    pub const FRESH: PartitionSnapshot = PartitionSnapshot {
        watermark_ms: i64::MIN,
        closed: PaneNo::NONE,
        due: PaneNo::NONE,
        published: PaneNo::NONE,
        expired: PaneNo::NONE,
    };

    /// Takes what another worker says of the same partition. They differ in the milliseconds of the watermark,
    /// which not every batch brings to all, and in what a lack of memory made one forget early.
    pub fn widen(&mut self, other: &PartitionSnapshot) {
        self.watermark_ms = self.watermark_ms.max(other.watermark_ms);
        self.closed = self.closed.max(other.closed);
        self.due = self.due.max(other.due);
        self.published = self.published.max(other.published);
        self.expired = self.expired.max(other.expired);
    }
}

/// What a reader knows of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Its id.
    pub name: Name,
    /// The partition whose watermark closes its windows.
    pub home: Partition,
    /// The metrics of its series.
    pub metrics: Arc<[Name]>,
}

/// What a series had still to publish.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    /// Corrections of the windows that a pane is part of.
    Change(usize, PaneNo, Change),
    /// The correction of a long window alone.
    Long(usize, Job, PaneNo),
    /// The first row of a long window.
    First(usize, Job, PaneNo),
}

impl SeriesState {
    /// The devices that have series.
    pub fn known(&self) -> impl Iterator<Item = KnownDevice> {
        // Most devices have the metrics of the one before.
        let mut last: (Vec<u32>, Arc<[Name]>) = (Vec::new(), Arc::new([]));
        let seen = (0..).zip(&self.devices).filter(|(_, device)| !device.is_unseen());
        seen.map(move |(number, device)| {
            let apart = self.slots.apart(number).iter().map(|slot| *slot as usize);
            let metrics = device.slots().chain(apart).map(|slot| self.slots.metric(slot));
            if !metrics.clone().eq(last.0.iter().copied()) {
                let numbers: Vec<u32> = metrics.collect();
                let names = numbers.iter().map(|metric| self.names.metrics.name(*metric).clone());
                last = (numbers.clone(), names.collect());
            }
            KnownDevice {
                name: self.names.devices.name(number).clone(),
                home: device.home,
                metrics: last.1.clone(),
            }
        })
    }

    /// Becomes the state of a worker of another run: it counts there, and nobody has told it anything yet.
    pub(crate) fn adopt(&mut self, config: Arc<EngineConfig>, stats: Arc<Stats>) {
        self.config = config;
        self.stats = stats;
        self.reported = Reported::default();
        self.anomalies.adopt(&self.config.rules);
        self.anomalies.grow(self.devices.len());
        self.origins.clear();
        self.partitions.iter_mut().for_each(|partition| partition.idle = false);
        let unpublished = self.partitions.iter().map(|partition| partition.unpublished_bytes);
        self.stats.unpublished_bytes.add(unpublished.sum());
    }

    /// Takes back how far the partitions had come.
    pub fn restore_partitions(&mut self, partitions: &[PartitionSnapshot]) {
        for (state, saved) in self.partitions.iter_mut().zip(partitions) {
            state.watermark_ms = saved.watermark_ms;
            state.closed = saved.closed;
            state.due = saved.due;
            state.published = saved.published;
            state.expired = saved.expired;
        }
    }

    /// Takes back a device that this worker owns, saved where operators had these names. What it had pending is added, by
    /// slot.
    pub(super) fn restore_device(
        &mut self,
        device: DeviceSnapshot,
        (operators, partitions): (&[String], &Partitions<'_>),
        pending: &mut Vec<Pending>,
    ) -> Result<(), String> {
        let number = {
            let names = &mut self.names;
            names.devices.intern(&device.name)
        };
        self.grow_devices();
        let metrics: Vec<u32> = {
            let names = &mut self.names;
            device
                .series
                .iter()
                .map(|series| names.metrics.intern(&series.metric))
                .collect()
        };
        let shape = self.shapes.intern(&metrics);
        let settled = self.slots.settle(number, device.home, &metrics, shape);
        self.devices[number as usize] = settled;
        self.settled += 1;
        for kept in &device.kept {
            let name = operators.get(kept.operator as usize);
            let name = name.ok_or_else(|| format!("operator {} of {}", kept.operator, operators.len()))?;
            // Nobody goes on with what an operator has kept that is there no more.
            let operator = self.stateful_mut().into_iter().find(|one| one.name() == name);
            if let Some(operator) = operator {
                let restored = operator.restore(number, &kept.bytes, partitions);
                restored.map_err(|problem| format!("{name}: {problem}"))?;
            }
        }
        for ((place, metric), series) in metrics.into_iter().enumerate().zip(device.series) {
            let slot = self.slots.slot(number, &settled, metric, place);
            self.open.grow(self.slots.capacity());
            self.restore_series(device.home, slot, series, pending);
        }
        Ok(())
    }

    /// Takes back devices that this worker owns, one after the other: no more than one is in memory twice.
    ///
    /// # Errors
    /// When they are not what a state has saved.
    pub(crate) fn restore(&mut self, mut devices: Devices<'_>) -> Result<(), CheckpointError> {
        let (mut pending, operators) = (Vec::new(), devices.operators());
        for device in &mut devices {
            let restored = self.restore_device(device?, (&operators, &Partitions::SAME), &mut pending);
            restored.map_err(|problem| content_error("a device", &problem))?;
            pending.drain(..).for_each(|pending| self.restore_pending(pending));
        }
        Ok(())
    }

    /// Takes back what is still to be published.
    pub(super) fn restore_pending(&mut self, pending: Pending) {
        match pending {
            Pending::Change(slot, pane, change) => {
                let expired = self.partitions[self.home(slot).index()].expired;
                if pane > expired {
                    self.dirty.restore(slot, pane, change);
                }
            }
            Pending::Long(slot, job, first) => self.dirty.note_long(slot, job, first),
            Pending::First(slot, job, first) => self.long.unpublish(job, first, slot),
        }
    }

    fn restore_series(&mut self, home: Partition, slot: usize, series: SeriesSnapshot, pending: &mut Vec<Pending>) {
        let longs = [(Job::Hour, series.hours), (Job::Day, series.days)];
        for (job, windows) in &longs {
            let published = windows.iter().filter(|(_, window)| window.published);
            let published: Vec<PaneNo> = published.map(|(first, _)| *first).collect();
            let firsts = series
                .open
                .iter()
                .map(|pane| self.config.span(*job, pane.0.number).first);
            let hours = longs[0].1.iter().map(|(hour, _)| self.config.span(*job, *hour).first);
            let firsts = firsts.chain(hours).chain(windows.iter().map(|(first, _)| *first));
            let unpublished = firsts.filter(|first| !published.contains(first));
            pending.extend(unpublished.map(|first| Pending::First(slot, *job, first)));
        }
        for pane in series.open {
            let opened = &mut self.partitions[home.index()].opened;
            opened.note(pane.0.number, self.slots.local(slot));
            self.open.restore(slot, pane);
        }
        let expired = self.partitions[home.index()].expired;
        let forgotten = self.config.forgotten_by(expired);
        let closed = series.closed.into_iter().map(|closed| closed.0);
        for pane in closed.filter(|pane| pane.0.number > forgotten) {
            self.partitions[home.index()]
                .blocks
                .entry(pane.0.number)
                .or_insert_with(|| Block::new(pane.0.number))
                .insert(slot, pane);
        }
        for (job, windows) in longs {
            for (first, window) in windows {
                let span = self.config.span(job, first);
                // A day that was begun in another zone is none here.
                if span.first == first {
                    *self.long.of_mut(job).window(span, slot) = window;
                }
            }
        }
        let changes = series.changes.into_iter();
        pending.extend(changes.map(|(pane, change)| Pending::Change(slot, pane, change)));
        let longs = series.longs.into_iter();
        pending.extend(longs.map(|(job, first)| Pending::Long(slot, job, first)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Stateful;

    /// What comes of a device of which an operator has kept these bytes.
    fn restored(operator: &str, bytes: &[u8]) -> Result<(SeriesState, Vec<u8>), String> {
        let mut state = SeriesState::new(Arc::default(), Arc::new(Stats::new(1)), 1);
        let device = DeviceSnapshot {
            name: "d".into(),
            home: Partition(0),
            series: Vec::new(),
            kept: vec![Kept {
                operator: 1,
                bytes: bytes.to_vec(),
            }],
        };
        let operators = ["another", operator].map(str::to_owned);
        state.restore_device(device, (&operators, &Partitions::SAME), &mut Vec::new())?;
        let mut saved = Vec::new();
        state
            .stateful()
            .iter()
            .for_each(|operator| operator.save(0, &mut saved));
        Ok((state, saved))
    }

    #[test]
    fn what_an_operator_keeps_comes_back_by_its_name() {
        let bytes = [7u64.to_le_bytes(), 8u64.to_le_bytes()].concat();
        let (mut state, saved) = restored("duplicates", &bytes).expect("restored");
        assert_eq!(saved, bytes);
        assert!(!state.fingerprints.note(0, 8) && state.fingerprints.note(0, 9));
        let (mut state, saved) = restored("of an older version", &bytes).expect("restored");
        assert!(
            saved.is_empty() && state.fingerprints.note(0, 8),
            "nobody goes on with it"
        );
        let problem = restored("duplicates", &bytes[1..]).err().expect("not whole");
        assert_eq!(problem, "duplicates: 15 bytes of fingerprints");
        let problem = restored("stragglers", &bytes).err().expect("no messages");
        assert!(problem.starts_with("stragglers: "), "{problem}");
    }

    #[test]
    fn what_is_saved_of_operators_is_restored_and_they_have_different_names() {
        let mut state = SeriesState::new(Arc::default(), Arc::new(Stats::new(1)), 1);
        let saved = state.stateful().map(Stateful::name);
        assert_eq!(saved, state.stateful_mut().map(|operator| operator.name()));
        assert_eq!(std::collections::BTreeSet::from(saved).len(), saved.len());
    }
}
