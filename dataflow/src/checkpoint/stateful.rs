//! What operators keep of devices beside their windows, as part of checkpoints.

use super::file::CheckpointError;
use super::renamed::Renamed;
use tidewatch_proto::ids::Partition;

/// State of an operator, device by device. Checkpoints hold it with the device's series, in the device's key group; so it
/// is restored with them, and goes with the device to whichever worker owns it then.
///
/// * It is a function of what the device's worker has applied and completed, in that order and nothing else: after a
///   restart the same is applied again to what was saved.
/// * An operator is one of the list in `SeriesState::stateful`, and nothing else has to know of it. When there is nothing
///   of it in a checkpoint, it begins with nothing; what a checkpoint has of one that is not in the list is left out.
pub trait Stateful: Send {
    /// What it is called in checkpoints. It never changes.
    fn name(&self) -> &'static str;

    /// Appends what is known of a device, by its number on this worker; nothing when nothing is known.
    fn save(&self, device: u32, out: &mut Vec<u8>);

    /// Takes back what was saved of a device, which has this number now. Partitions may have other numbers too.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn restore(&mut self, device: u32, saved: &[u8], partitions: &Partitions<'_>) -> Result<(), String>;
}

/// Which numbers the partitions of a checkpoint have now.
pub struct Partitions<'a>(Option<&'a Renamed>);

impl<'a> Partitions<'a> {
    /// The same as before.
    pub(crate) const SAME: Partitions<'static> = Partitions(None);

    pub(crate) fn of(renamed: &'a Renamed) -> Partitions<'a> {
        Partitions(Some(renamed))
    }

    /// The number of a partition now.
    ///
    /// # Errors
    /// When the checkpoint doesn't know the partition.
    pub fn now(&self, saved: Partition) -> Result<Partition, String> {
        let place = |renamed: &Renamed| {
            let problem = |error: CheckpointError| error.to_string();
            renamed.place(saved, || "what was kept".into()).map_err(problem)
        };
        self.0.map_or(Ok(saved), place)
    }
}
