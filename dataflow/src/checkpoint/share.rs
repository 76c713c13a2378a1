//! What each worker gets of a restored state: as many workers as there were go on with the same series, others divide
//! them by key group.

use super::Restored;
use crate::batch::Position;
use crate::config::EngineConfig;
use crate::series::{Devices, KnownDevice, PartitionSnapshot, SeriesState};
use crate::stats::Stats;
use crate::witness::Crash;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{KeyGroup, Partition};

/// What one worker goes on from.
pub(crate) struct Share {
    /// Its series.
    pub(crate) state: SeriesState,
    /// Where reading goes on; of all partitions.
    pub(crate) positions: Vec<Position>,
    /// The devices of each partition that it reads.
    pub(crate) known: BTreeMap<Partition, Vec<KnownDevice>>,
    /// Where workers have crashed, as far as it lies ahead.
    pub(crate) crashes: Vec<Crash>,
}

/// A key group that has devices in every test of mistakes.
const DROPPED: KeyGroup = KeyGroup(7);

impl Restored {
    /// Divides it among so many workers, of which these are wanted.
    pub(crate) fn into_shares(
        self,
        (wanted, all): (Range<usize>, usize),
        config: &Arc<EngineConfig>,
        stats: &Arc<Stats>,
    ) -> Vec<Share> {
        let mut known: Vec<BTreeMap<Partition, Vec<KnownDevice>>> = vec![BTreeMap::new(); wanted.len()];
        for device in self.states.iter().flat_map(SeriesState::known) {
            let reader = device.home.index() % all;
            if let Some(known) = reader.checked_sub(wanted.start).and_then(|own| known.get_mut(own)) {
                known.entry(device.home).or_default().push(device);
            }
        }
        let states = match self.states.len() == all {
            true => {
                let mut states = self.states;
                states.truncate(wanted.end);
                states.split_off(wanted.start)
            }
            false => regrouped(&self.states, &self.partitions, (wanted, all), config),
        };
        let shares = states.into_iter().zip(known).map(|(mut state, known)| {
            state.adopt(config.clone(), stats.clone());
            Share {
                state,
                positions: self.positions.clone(),
                known,
                crashes: self.crashes.clone(),
            }
        });
        shares.collect()
    }
}

/// The series of other workers than there were.
fn regrouped(
    states: &[SeriesState],
    partitions: &[PartitionSnapshot],
    (wanted, all): (Range<usize>, usize),
    config: &Arc<EngineConfig>,
) -> Vec<SeriesState> {
    let stats = Arc::new(Stats::new(partitions.len()));
    let mut regrouped: Vec<SeriesState> = wanted
        .clone()
        .map(|_| {
            let mut state = SeriesState::new(config.clone(), stats.clone(), partitions.len());
            state.restore_partitions(partitions);
            state
        })
        .collect();
    for state in states {
        for (group, content) in (0..state.slices()).flat_map(|number| state.save_slice(number)) {
            let own = group.worker(all).checked_sub(wanted.start);
            let Some(state) = own.and_then(|own| regrouped.get_mut(own)) else {
                continue;
            };
            if group == DROPPED && has_bug(Bug::DropKeyGroup) {
                continue;
            }
            let restored = Devices::of(group, &content).and_then(|devices| state.restore(devices));
            restored.expect("what a state has just written is read back");
        }
    }
    regrouped
}
