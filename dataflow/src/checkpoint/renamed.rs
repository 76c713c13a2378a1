//! Partitions by other numbers: those of a checkpoint go by name, and a source may have more of them now.

use super::Outbox;
use super::file::{CheckpointError, content_error};
use crate::batch::Position;
use crate::journal::Entry;
use crate::series::{DeviceSnapshot, PartitionSnapshot};
use std::collections::HashMap;
use tidewatch_proto::ids::{KeyGroup, Partition};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::PaneNo;

/// Where the partitions of a checkpoint are in a source.
pub(crate) struct Renamed {
    places: Vec<Partition>,
    /// How many the source has.
    count: usize,
}

/// What is wrong with the parts of a worker that don't know as many partitions as the checkpoint names.
const UNFIT: &str = "partitions and their names don't fit together";

impl Renamed {
    pub(crate) fn new(saved: &[String], now: &[String]) -> Result<Renamed, CheckpointError> {
        let places: HashMap<&str, u32> = (0..).zip(now).map(|(at, name)| (name.as_str(), at)).collect();
        let places = saved.iter().map(|name| {
            let place = places.get(name.as_str()).copied().map(Partition);
            place.ok_or_else(|| CheckpointError::PartitionGone { name: name.clone() })
        });
        Ok(Renamed {
            places: places.collect::<Result<_, _>>()?,
            count: now.len(),
        })
    }

    /// The number of a partition now; the error says what is at home on one that there isn't.
    pub(super) fn place(&self, saved: Partition, of: impl FnOnce() -> String) -> Result<Partition, CheckpointError> {
        let problem = || content_error(&of(), "it is at home on no partition");
        self.places.get(saved.index()).copied().ok_or_else(problem)
    }

    /// What is said of each partition, of all that there are now.
    fn all<T: Copy>(&self, saved: &[T], fresh: T, part: &str) -> Result<Vec<T>, CheckpointError> {
        if saved.len() != self.places.len() {
            return Err(content_error(part, UNFIT));
        }
        let mut all = vec![fresh; self.count];
        for (place, saved) in self.places.iter().zip(saved) {
            all[place.index()] = *saved;
        }
        Ok(all)
    }

    pub(super) fn partitions(&self, saved: &[PartitionSnapshot]) -> Result<Vec<PartitionSnapshot>, CheckpointError> {
        self.all(saved, PartitionSnapshot::FRESH, "a slice")
    }

    pub(super) fn positions(&self, mut positions: Vec<Position>) -> Result<Vec<Position>, CheckpointError> {
        for position in &mut positions {
            position.partition = self.place(position.partition, || "a position".into())?;
        }
        Ok(positions)
    }

    pub(super) fn device(
        &self,
        mut device: DeviceSnapshot,
        group: KeyGroup,
    ) -> Result<DeviceSnapshot, CheckpointError> {
        let of = || format!("key group {}: device {}", group.0, device.name);
        device.home = self.place(device.home, of)?;
        Ok(device)
    }

    pub(super) fn entry(&self, mut entry: Entry) -> Result<Entry, CheckpointError> {
        match &mut entry {
            Entry::Applied(_, batch) => batch.partition = self.place(batch.partition, || "a journal".into())?,
            Entry::Completed(completion) => {
                completion.expired = self.all(&completion.expired, PaneNo::NONE, "a journal")?;
            }
        }
        Ok(entry)
    }

    pub(super) fn outbox(&self, outbox: &mut Outbox) -> Result<(), CheckpointError> {
        for reject in outbox.rejects.values_mut().flatten() {
            reject.partition = self.place(reject.partition, || "a dead letter".into())?;
        }
        for straggler in outbox.stragglers.values_mut().flatten() {
            let of = |straggler: &Straggler| format!("a reading of device {}", straggler.device);
            straggler.partition = self.place(straggler.partition, || of(straggler))?;
        }
        Ok(())
    }
}
