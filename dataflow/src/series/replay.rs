//! The state at a point of the journal, from slices that were saved before it and from the journal since.
//!
//! Slices are of different points of the journal. So the journal is applied from the earliest of these on, and a
//! device takes only what came after the point of its own slice. What a device had still to publish then is kept back
//! until there: published before, it would be lost.

use super::SeriesState;
use super::snapshot::{DeviceSnapshot, PartitionSnapshot, Pending};
use crate::batch::{Batch, Messages, NO_SHAPE};
use crate::checkpoint::Partitions;
use crate::journal::Entry;
use std::collections::BTreeMap;
use tidewatch_proto::ids::Epoch;

/// A state on its way from its slices to a later point of its journal.
pub struct Replay {
    state: SeriesState,
    /// By device how many entries its slice holds; entries before these are not for it.
    since: Vec<u64>,
    /// By the number of entries that must have come before, what is still to be published.
    pending: BTreeMap<u64, Vec<Pending>>,
    /// Entries before this many are not wanted.
    begun: u64,
    /// How many entries came so far.
    entries: u64,
    /// The epoch to get to.
    through: Epoch,
}

impl Replay {
    /// Begins with a state that is empty, as partitions stood after so many entries, on the way to the end of
    /// epoch `through`.
    pub fn new(mut state: SeriesState, partitions: &[PartitionSnapshot], entries: u64, through: Epoch) -> Replay {
        state.restore_partitions(partitions);
        Replay {
            state,
            since: Vec::new(),
            pending: BTreeMap::new(),
            entries,
            begun: entries,
            through,
        }
    }

    /// Makes room for so many more devices.
    pub fn reserve(&mut self, devices: usize) {
        self.state.names.devices.reserve(devices);
        self.since.reserve(devices);
    }

    /// Takes a device that was saved after so many entries, where operators had these names.
    ///
    /// # Errors
    /// What is wrong with what an operator had saved.
    pub fn restore(
        &mut self,
        device: DeviceSnapshot,
        entries: u64,
        kept: (&[String], &Partitions<'_>),
    ) -> Result<(), String> {
        self.state
            .restore_device(device, kept, self.pending.entry(entries).or_default())?;
        self.since.resize(self.state.devices.len(), entries);
        Ok(())
    }

    /// Begins a chunk of the journal, whose first entry has this many before it: it explains its numbers itself.
    /// `false`: entries are missing before it.
    #[must_use]
    pub fn begin_chunk(&mut self, entries: u64) -> bool {
        self.state.origins.clear();
        let follows = entries <= self.entries;
        self.entries = entries;
        follows
    }

    /// Does again what an entry says. `false`: the epoch to get to is complete, and no more is wanted.
    pub fn apply(&mut self, entry: &Entry) -> bool {
        while let Some(due) = self.pending.first_entry().filter(|due| *due.key() <= self.entries) {
            due.remove()
                .into_iter()
                .for_each(|pending| self.state.restore_pending(pending));
        }
        match entry {
            Entry::Completed(completion) if completion.epoch > self.through => return false,
            Entry::Completed(completion) if self.entries >= self.begun => drop(self.state.complete(completion)),
            Entry::Completed(_) => {}
            Entry::Applied(epoch, batch) => {
                self.state.learn(batch);
                // What no slice has begins with the journal.
                self.since.resize(self.state.devices.len(), 0);
                if *epoch <= self.through && self.entries >= self.begun {
                    match self.wanted(batch) {
                        None => self.state.apply_learned(batch),
                        Some(batch) => self.state.apply_learned(&batch),
                    }
                }
            }
        }
        // Those that can't be used were given out when it was done first.
        drop((
            self.state.take_rejects(),
            self.state.take_stragglers(),
            self.state.take_anomalies(),
        ));
        self.entries += 1;
        true
    }

    /// The state that was got to.
    pub fn finish(mut self) -> SeriesState {
        let pending = std::mem::take(&mut self.pending).into_values().flatten();
        pending.for_each(|pending| self.state.restore_pending(pending));
        self.state
    }

    /// The batch without the messages that are not wanted; `None` when all are.
    fn wanted(&self, batch: &Batch) -> Option<Batch> {
        let devices = &self.state.origins[batch.origin as usize].devices;
        let is_wanted = |number: &u32| self.since[devices[*number as usize] as usize] <= self.entries;
        let all = batch.messages.device.iter().all(is_wanted);
        (!all).then(|| filtered(batch, is_wanted))
    }
}

/// The messages of a batch whose devices are wanted.
fn filtered(batch: &Batch, is_wanted: impl Fn(&u32) -> bool) -> Batch {
    let (all, mut kept) = (&batch.messages, Messages::default());
    let (mut metric, mut value, mut metrics) = (Vec::new(), Vec::new(), batch.metric.as_slice());
    for at in 0..all.len() {
        let readings = batch.readings(at);
        let own = match all.shape[at] {
            NO_SHAPE => metrics.split_off(..readings.len()).unwrap_or_default(),
            _ => &[],
        };
        if !is_wanted(&all.device[at]) {
            continue;
        }
        metric.extend_from_slice(own);
        value.extend_from_slice(&batch.value[readings]);
        if all.is_beyond(at) {
            kept.beyond.push(kept.len() as u32);
        }
        kept.device.push(all.device[at]);
        kept.shape.push(all.shape[at]);
        kept.event_time.push(all.event_time[at]);
        kept.closed.push(all.closed[at]);
        kept.fingerprint.push(all.fingerprint[at]);
        kept.offset.push(all.offset[at]);
        kept.readings_end.push(value.len() as u32);
    }
    Batch {
        messages: kept,
        metric,
        value,
        partition: batch.partition,
        progress: batch.progress,
        origin: batch.origin,
        ..Batch::default()
    }
}
