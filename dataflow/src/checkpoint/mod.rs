//! A checkpoint: the state at the end of an epoch, of all workers together, from which any number of workers goes on.
//!
//! It is written as it comes, in segments: slices of the workers' state, each as it was at a point of its worker's
//! journal, the journals, and what sinks have still to take. A manifest says at last which segments make up the state
//! at the end of which epoch. [`mod@file`] is how both look as bytes.

pub mod file;
mod recorder;

pub use file::{CheckpointError, FORMAT_VERSION};
pub use recorder::Recorder;

use crate::batch::Position;
use crate::capture::StateSlice;
use crate::config::EngineConfig;
use crate::journal::{self, Entry};
use crate::series::{DeviceSnapshot, GroupState, Names, PartitionSnapshot, Replay, SeriesState};
use crate::stats::Stats;
use crate::witness::Crash;
use file::content_error;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use tidewatch_proto::ids::{Epoch, Generation, KeyGroup, Partition};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Row;
use tidewatch_proto::straggler::Straggler;

/// What a checkpoint says beside the series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The run that saved it.
    pub generation: Generation,
    /// The epoch it completes.
    pub epoch: Epoch,
    /// How many workers that run had.
    pub workers: usize,
    /// What the settings came to that the state depends on: see [`crate::EngineConfig::fingerprint`].
    pub settings: u64,
    /// The names of the source's partitions: the numbers elsewhere are places in this list.
    pub partition_names: Vec<String>,
    /// Which log the positions are of, as its source tells it from one of the same name: a topic's id. Empty when the
    /// source doesn't tell.
    pub log: String,
    /// Where reading goes on; where a source doesn't say where it begins, a partition that never had a record has none.
    pub positions: Vec<Position>,
    /// All sinks have taken what epochs through this one have brought.
    pub delivered: Epoch,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// Whose segment it is: its run, and its number there. The first part of each.
    Begin(Generation, u64),
    /// A slice of a worker's state.
    State(StateSlice),
    /// A chunk of a worker's journal.
    Journal(Chunk),
    /// Rows of an epoch.
    Rows(Epoch, Vec<Row>),
    /// Records of an epoch that can't be used.
    Rejects(Epoch, Vec<Reject>),
    /// Readings that a store is to add to its rows.
    Stragglers(Epoch, Vec<Straggler>),
}

/// A part of a worker's journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The worker.
    pub worker: usize,
    /// How many entries its journal had before.
    pub entries: u64,
    /// The entries: see [`crate::journal`].
    #[serde(with = "crate::bytes")]
    pub bytes: Vec<u8>,
}

/// A checkpoint as it was saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Where it stands in time and in the log.
    pub meta: Meta,
    /// The parts of its segments, in their order.
    pub parts: Vec<Part>,
}

/// The state to go on from.
#[derive(Debug, Default)]
pub struct Restored {
    /// Where reading goes on.
    pub positions: Vec<Position>,
    /// How far partitions had come.
    pub partitions: Vec<PartitionSnapshot>,
    /// Series by key group.
    pub groups: BTreeMap<KeyGroup, GroupState>,
    /// What sinks may not have taken yet.
    pub outbox: Outbox,
    /// Where workers have crashed, as far as it lies ahead.
    pub crashes: Vec<Crash>,
}

impl Restored {
    /// Nothing yet, for a source of so many partitions.
    pub fn fresh(partitions: usize) -> Restored {
        Restored {
            partitions: vec![PartitionSnapshot::FRESH; partitions],
            ..Restored::default()
        }
    }
}

/// What sinks may not have taken, by epoch.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Rows.
    pub rows: BTreeMap<Epoch, Vec<Row>>,
    /// Rejects.
    pub rejects: BTreeMap<Epoch, Vec<Reject>>,
    /// Readings for the storing sink.
    pub stragglers: BTreeMap<Epoch, Vec<Straggler>>,
}

/// What was saved of one worker.
#[derive(Default)]
struct OfWorker {
    slices: Vec<StateSlice>,
    chunks: Vec<Chunk>,
}

/// The slices of a worker's state to begin with.
struct Base {
    /// The slices, by their numbers.
    slices: BTreeMap<u32, StateSlice>,
    /// The journal is wanted from here on.
    entries: u64,
    /// How far partitions had come there.
    partitions: Vec<PartitionSnapshot>,
}

impl Base {
    /// The newest of a worker's slices that make up all of its state and hold nothing of epochs after `through`.
    fn choose(slices: impl IntoIterator<Item = StateSlice>, through: Epoch) -> Option<Base> {
        let slices = slices.into_iter().filter(|slice| slice.through <= through);
        let mut rounds: BTreeMap<u64, BTreeMap<u32, StateSlice>> = BTreeMap::new();
        for slice in slices {
            rounds.entry(slice.round).or_default().insert(slice.number, slice);
        }
        let whole = |round: &BTreeMap<u32, StateSlice>| {
            round
                .last_key_value()
                .is_some_and(|(number, last)| last.is_last && round.len() == *number as usize + 1)
        };
        let newest = rounds
            .iter()
            .rev()
            .find(|(_, round)| whole(round))
            .map(|(number, _)| *number)?;
        let later = rounds.split_off(&(newest + 1));
        let mut chosen = rounds.remove(&newest)?;
        let first = chosen.first_key_value()?.1;
        let (entries, partitions) = (first.entries, first.partitions.clone());
        chosen.extend(later.into_values().flatten());
        Some(Base {
            slices: chosen,
            entries,
            partitions,
        })
    }
}

impl Saved {
    /// What an engine goes on from whose source has these partitions now. Partitions go by name: those that
    /// are new start fresh.
    ///
    /// # Errors
    /// When a partition is gone: its name; or when parts don't hold what they should.
    pub fn into_restored(self, partition_names: &[String], config: &EngineConfig) -> Result<Restored, CheckpointError> {
        let now = Renamed::new(&self.meta.partition_names, partition_names)?;
        let mut workers: Vec<OfWorker> = (0..self.meta.workers).map(|_| OfWorker::default()).collect();
        let mut restored = Restored {
            positions: self.meta.positions,
            ..Restored::fresh(partition_names.len())
        };
        for part in self.parts {
            let undelivered = |epoch: Epoch| epoch > self.meta.delivered && epoch <= self.meta.epoch;
            match part {
                Part::Begin(..) => {}
                Part::State(slice) => of_worker(&mut workers, slice.worker)?.slices.push(slice),
                Part::Journal(chunk) => of_worker(&mut workers, chunk.worker)?.chunks.push(chunk),
                Part::Rows(epoch, rows) if undelivered(epoch) => {
                    restored.outbox.rows.entry(epoch).or_default().extend(rows);
                }
                Part::Rejects(epoch, rejects) if undelivered(epoch) => {
                    restored.outbox.rejects.entry(epoch).or_default().extend(rejects);
                }
                Part::Stragglers(epoch, stragglers) if undelivered(epoch) => {
                    restored.outbox.stragglers.entry(epoch).or_default().extend(stragglers);
                }
                Part::Rows(..) | Part::Rejects(..) | Part::Stragglers(..) => {}
            }
        }
        let (through, names) = (self.meta.epoch, &self.meta.partition_names);
        let recovered = std::thread::scope(|scope| {
            let recover = |(worker, saved)| scope.spawn(move || recover(worker, saved, names.len(), through, config));
            let threads: Vec<_> = workers.into_iter().enumerate().map(recover).collect();
            let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.collect::<Vec<_>>()
        });
        for ended in recovered {
            let recovered = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            for (place, snapshot) in now.places.iter().zip(&recovered.partitions) {
                restored.partitions[place.index()].widen(snapshot);
            }
            for (group, state) in recovered.groups {
                restored.groups.entry(group).or_default().devices.extend(state.devices);
            }
        }
        now.rename(&mut restored)?;
        Ok(restored)
    }
}

fn of_worker(workers: &mut [OfWorker], worker: usize) -> Result<&mut OfWorker, CheckpointError> {
    let problem = || content_error("a part", &format!("it is of worker {worker}, which there was not"));
    workers.get_mut(worker).ok_or_else(problem)
}

/// Where the partitions of a checkpoint are in a source.
struct Renamed {
    places: Vec<Partition>,
}

impl Renamed {
    fn new(saved: &[String], now: &[String]) -> Result<Renamed, CheckpointError> {
        let places: HashMap<&str, u32> = (0..).zip(now).map(|(at, name)| (name.as_str(), at)).collect();
        let places = saved.iter().map(|name| {
            let place = places.get(name.as_str()).copied().map(Partition);
            place.ok_or_else(|| CheckpointError::PartitionGone { name: name.clone() })
        });
        Ok(Renamed {
            places: places.collect::<Result<_, _>>()?,
        })
    }

    fn place(&self, saved: Partition, of: impl FnOnce() -> String) -> Result<Partition, CheckpointError> {
        let problem = || content_error(&of(), "it is at home on no partition");
        self.places.get(saved.index()).copied().ok_or_else(problem)
    }

    fn rename(&self, restored: &mut Restored) -> Result<(), CheckpointError> {
        for position in &mut restored.positions {
            position.partition = self.place(position.partition, || "a position".into())?;
        }
        for device in restored.groups.values_mut().flat_map(|group| &mut group.devices) {
            device.home = self.place(device.home, || format!("device {}", device.name))?;
            for straggler in &mut device.waiting {
                straggler.partition = self.place(straggler.partition, || format!("device {}", device.name))?;
            }
        }
        for reject in restored.outbox.rejects.values_mut().flatten() {
            reject.partition = self.place(reject.partition, || "a dead letter".into())?;
        }
        for straggler in restored.outbox.stragglers.values_mut().flatten() {
            let of = || format!("a reading of device {}", straggler.device);
            straggler.partition = self.place(straggler.partition, of)?;
        }
        Ok(())
    }
}

/// What is wrong with a device whose windows no partition closes.
const HOMELESS: &str = "a device is at home on no partition";
/// More workers than any run has.
const WORKERS_MAX: u32 = 1 << 16;

/// A worker's state at the end of an epoch.
struct Recovered {
    partitions: Vec<PartitionSnapshot>,
    groups: BTreeMap<KeyGroup, GroupState>,
}

fn recover(
    worker: usize,
    saved: OfWorker,
    partitions: usize,
    through: Epoch,
    config: &EngineConfig,
) -> Result<Recovered, CheckpointError> {
    let base = Base::choose(saved.slices, through).ok_or(CheckpointError::Incomplete { worker })?;
    if base.partitions.len() != partitions {
        return Err(content_error(
            "a slice",
            "partitions and their names don't fit together",
        ));
    }
    let (stats, names) = (
        Arc::new(Stats::new(partitions)),
        Rc::new(RefCell::new(Names::default())),
    );
    let config = Arc::new(config.clone());
    let state = SeriesState::new(config, stats, names, partitions);
    let mut replay = Replay::new(state, &base.partitions, base.entries, through);
    for slice in base.slices.into_values() {
        for (group, content) in slice.groups {
            for device in Devices::of(group, &content)? {
                let device = device?;
                if device.home.index() >= partitions {
                    return Err(content_error(&format!("key group {}", group.0), HOMELESS));
                }
                replay.restore(device, slice.entries);
            }
        }
    }
    // A segment that is kept for its rows may hold more of the journal, with a gap behind it.
    let before = |chunk: &Chunk| chunk.entries <= base.entries;
    let first = saved.chunks.iter().rposition(before).unwrap_or(0);
    'journal: for chunk in saved.chunks.into_iter().skip(first) {
        let entries = journal::read(&chunk.bytes).map_err(|problem| content_error("a journal", problem))?;
        if !replay.begin_chunk(chunk.entries) {
            return Err(content_error("a journal", "a part of it is not there"));
        }
        for entry in &entries {
            let fits = match entry {
                Entry::Applied(_, batch) => batch.partition.index() < partitions && batch.origin < WORKERS_MAX,
                Entry::Completed(completion) => completion.expired.len() == partitions,
            };
            if !fits {
                return Err(content_error(
                    "a journal",
                    "partitions and their names don't fit together",
                ));
            }
            if !replay.apply(entry) {
                break 'journal;
            }
        }
    }
    let state = replay.finish();
    let mut groups: BTreeMap<KeyGroup, GroupState> = BTreeMap::new();
    for (group, content) in (0..state.slices()).flat_map(|number| state.save_slice(number)) {
        groups
            .entry(group)
            .or_default()
            .devices
            .extend(parse_group(group, &content)?.devices);
    }
    Ok(Recovered {
        partitions: state.save_partitions(),
        groups,
    })
}

/// The devices of a key group, read one after the other: what all of them take in memory is many times their bytes.
struct Devices<'a> {
    group: KeyGroup,
    left: usize,
    rest: &'a [u8],
}

impl<'a> Devices<'a> {
    fn of(group: KeyGroup, content: &'a [u8]) -> Result<Devices<'a>, CheckpointError> {
        let (left, rest) = postcard::take_from_bytes(content).map_err(|problem| in_group(group, &problem))?;
        Ok(Devices { group, left, rest })
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

fn parse_group(group: KeyGroup, content: &[u8]) -> Result<GroupState, CheckpointError> {
    file::parse(content, &format!("key group {}", group.0))
}
