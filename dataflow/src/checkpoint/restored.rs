//! The state that a checkpoint comes to, worker by worker.

use super::file::{CheckpointError, content_error};
use super::renamed::Renamed;
use super::{Chunk, Outbox, Part, Partitions, Saved};
use crate::batch::Position;
use crate::capture::StateSlice;
use crate::config::EngineConfig;
use crate::journal::{self, Entry};
use crate::series::{DeviceSnapshot, Devices, PartitionSnapshot, Replay, SeriesState};
use crate::stats::Stats;
use crate::witness::Crash;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidewatch_proto::ids::Epoch;

/// The state to go on from.
#[derive(Default)]
pub struct Restored {
    /// Where reading goes on.
    pub positions: Vec<Position>,
    /// How far partitions had come.
    pub partitions: Vec<PartitionSnapshot>,
    /// What sinks may not have taken yet.
    pub outbox: Outbox,
    /// Where workers have crashed, as far as it lies ahead.
    pub crashes: Vec<Crash>,
    /// The series of each worker that there was.
    pub(super) states: Vec<SeriesState>,
}

impl Restored {
    /// Nothing yet, for a source of so many partitions.
    pub fn fresh(partitions: usize) -> Restored {
        Restored {
            partitions: vec![PartitionSnapshot::FRESH; partitions],
            ..Restored::default()
        }
    }

    /// All devices, for whoever looks into it.
    pub fn devices(&self) -> Vec<DeviceSnapshot> {
        let states = self.states.iter();
        let slices = states.flat_map(|state| (0..state.slices()).flat_map(|number| state.save_slice(number)));
        let devices = slices.flat_map(|(group, content)| {
            let devices = Devices::of(group, &content).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            devices.expect("what a state has just written is read back")
        });
        devices.collect()
    }

    /// The series of each worker that there was, for whoever looks into them.
    pub fn states(&self) -> &[SeriesState] {
        &self.states
    }
}

impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored")
            .field("positions", &self.positions)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
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
        let mut restored = Restored::fresh(partition_names.len());
        let outbox = &mut restored.outbox;
        for part in self.parts {
            let undelivered = |epoch: Epoch| epoch > self.meta.delivered && epoch <= self.meta.epoch;
            match part {
                Part::Begin(..) => {}
                Part::State(slice) => of_worker(&mut workers, slice.worker)?.slices.push(slice),
                Part::Journal(chunk) => of_worker(&mut workers, chunk.worker)?.chunks.push(chunk),
                Part::Rows(epoch, rows) if undelivered(epoch) => {
                    outbox.rows.entry(epoch).or_default().extend(rows);
                }
                Part::Rejects(epoch, rejects) if undelivered(epoch) => {
                    outbox.rejects.entry(epoch).or_default().extend(rejects);
                }
                Part::Stragglers(epoch, stragglers) if undelivered(epoch) => {
                    outbox.stragglers.entry(epoch).or_default().extend(stragglers);
                }
                Part::Anomalies(epoch, anomalies) if undelivered(epoch) => {
                    outbox.anomalies.entry(epoch).or_default().extend(anomalies);
                }
                Part::Rows(..) | Part::Rejects(..) | Part::Stragglers(..) | Part::Anomalies(..) => {}
            }
        }
        now.outbox(outbox)?;
        restored.positions = now.positions(self.meta.positions)?;
        let config = Arc::new(EngineConfig {
            rules: self.meta.rules.into(),
            ..config.clone()
        });
        let of = (&now, self.meta.epoch, &config);
        let recovered = std::thread::scope(|scope| {
            let recover = |(worker, saved)| scope.spawn(move || recover(worker, saved, of));
            let threads: Vec<_> = workers.into_iter().enumerate().map(recover).collect();
            let ended = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ended.collect::<Vec<_>>()
        });
        for ended in recovered {
            let state = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            for (all, own) in restored.partitions.iter_mut().zip(state.save_partitions()) {
                all.widen(&own);
            }
            restored.states.push(state);
        }
        Ok(restored)
    }
}

fn of_worker(workers: &mut [OfWorker], worker: usize) -> Result<&mut OfWorker, CheckpointError> {
    let problem = || content_error("a part", &format!("it is of worker {worker}, which there was not"));
    workers.get_mut(worker).ok_or_else(problem)
}

/// More workers than any run has.
const WORKERS_MAX: u32 = 1 << 16;

/// A worker's state at the end of an epoch.
fn recover(
    worker: usize,
    saved: OfWorker,
    (now, through, config): (&Renamed, Epoch, &Arc<EngineConfig>),
) -> Result<SeriesState, CheckpointError> {
    let base = Base::choose(saved.slices, through).ok_or(CheckpointError::Incomplete { worker })?;
    let partitions = now.partitions(&base.partitions)?;
    let stats = Arc::new(Stats::new(partitions.len()));
    let state = SeriesState::new(config.clone(), stats, partitions.len());
    let mut replay = Replay::new(state, &partitions, base.entries, through);
    for slice in base.slices.into_values() {
        for (group, content) in slice.groups {
            let mut devices = Devices::of(group, &content)?;
            // However wrong the number may be, each takes a byte.
            replay.reserve(devices.left().min(content.len()));
            let operators = devices.operators();
            for device in &mut devices {
                let device = now.device(device?, group)?;
                let (name, partitions) = (device.name.clone(), Partitions::of(now));
                let restored = replay.restore(device, slice.entries, (&operators, &partitions));
                restored
                    .map_err(|problem| content_error(&format!("key group {}: device {name}", group.0), &problem))?;
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
        for entry in entries {
            if matches!(&entry, Entry::Applied(_, batch) if batch.origin >= WORKERS_MAX) {
                return Err(content_error("a journal", "it is of more workers than there are"));
            }
            if !replay.apply(&now.entry(entry)?) {
                break 'journal;
            }
        }
    }
    Ok(replay.finish())
}
