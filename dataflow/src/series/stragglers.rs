//! Messages for a store: they wait here until no window that covers them can change any more.

use super::SeriesState;
use crate::checkpoint::{Partitions, Stateful};
use crate::config::EngineConfig;
use std::collections::{BTreeMap, VecDeque};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::PaneNo;

/// Stragglers of one worker's devices: those that wait, and those that are ready.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    /// By device, in the order of the log.
    waiting: BTreeMap<u32, VecDeque<Straggler>>,
    ready: Vec<Straggler>,
}

impl Stragglers {
    /// One more that waits.
    pub(super) fn wait(&mut self, device: u32, straggler: Straggler) {
        self.waiting.entry(device).or_default().push_back(straggler);
    }
}

impl Stateful for Stragglers {
    fn name(&self) -> &'static str {
        "stragglers"
    }

    fn save(&self, device: u32, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.get(&device) {
            postcard::to_io(waiting, out).expect("every sequence knows its length, and a Vec has no end");
        }
    }

    fn restore(&mut self, device: u32, saved: &[u8], partitions: &Partitions<'_>) -> Result<(), String> {
        let mut waiting: VecDeque<Straggler> = postcard::from_bytes(saved).map_err(|error| error.to_string())?;
        for straggler in &mut waiting {
            straggler.partition = partitions.now(straggler.partition)?;
        }
        self.waiting.insert(device, waiting);
        Ok(())
    }
}

impl SeriesState {
    /// What became ready since the last call, of each device in the order of the log.
    pub fn take_stragglers(&mut self) -> Vec<Straggler> {
        std::mem::take(&mut self.stragglers.ready)
    }

    /// Makes those ready whose windows are all published for good: a row that is published later would take the place
    /// of the one that the store has added to. Of one device none overtakes another, so that a store can tell by
    /// the offset which ones a row has.
    pub(super) fn release_stragglers(&mut self) {
        let Stragglers { waiting, ready } = &mut self.stragglers;
        waiting.retain(|device, list| {
            let home = &self.partitions[self.devices[*device as usize].home.index()];
            // At the end of the input nothing is published any more.
            let settled = if home.published == PaneNo(i32::MAX) {
                home.published
            } else {
                home.expired
            };
            let is_ready = |straggler: &Straggler| settles(&self.config, straggler) <= settled;
            while list.front().is_some_and(is_ready) {
                ready.extend(list.pop_front());
            }
            !list.is_empty()
        });
    }
}

/// The last pane of all windows that cover a straggler and haven't taken it in memory.
fn settles(config: &EngineConfig, straggler: &Straggler) -> PaneNo {
    let pane = PaneNo::of(straggler.at);
    let hop = pane.plus(config.panes_per_window_max() - 1);
    let longs = config.long_jobs().filter(|job| !straggler.taken.has(*job));
    longs.map(|job| config.span(job, pane).last).fold(hop, PaneNo::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Renamed;
    use tidewatch_proto::ids::{Offset, Partition};
    use tidewatch_proto::row::{Job, Jobs};
    use tidewatch_proto::time::EventTime;

    #[test]
    fn what_waits_comes_back_with_its_partition_as_it_is_numbered_then() {
        let straggler = |partition| Straggler {
            partition: Partition(partition),
            offset: Offset(7),
            device: "d".into(),
            at: EventTime(60_000),
            readings: vec![("a".into(), 1.5)],
            taken: Jobs::default().with(Job::Day),
        };
        let (mut before, mut after, mut saved) = (Stragglers::default(), Stragglers::default(), Vec::new());
        before.save(3, &mut saved);
        assert!(saved.is_empty(), "nothing waits");
        before.wait(3, straggler(1));
        before.save(3, &mut saved);
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let renamed = Renamed::new(&names(&["log/0", "log/1"]), &names(&["log/1", "log/new", "log/0"]));
        let renamed = renamed.expect("all are there");
        after.restore(5, &saved, &Partitions::of(&renamed)).expect("restored");
        assert_eq!(after.waiting[&5], [straggler(0)]);
        before.wait(4, straggler(2));
        saved.clear();
        before.save(4, &mut saved);
        let problem = after
            .restore(6, &saved, &Partitions::of(&renamed))
            .expect_err("no such partition");
        assert!(problem.contains("no partition"), "{problem}");
    }
}
