//! The outbox parts that one sink owns.

use std::ops::Range;
use tidewatch_proto::ids::{KEY_GROUPS, KeyGroup};

/// Some of the [`KEY_GROUPS`] outbox parts: what one worker delivers and records progress for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts(Vec<KeyGroup>);

impl Parts {
    /// All parts: for a run whose only sink this is.
    pub fn all() -> Parts {
        Parts((0..KEY_GROUPS).map(KeyGroup).collect())
    }

    /// The parts of some of `peers` workers.
    pub fn of_workers(workers: Range<usize>, peers: usize) -> Parts {
        let all = (0..KEY_GROUPS).map(KeyGroup);
        Parts(all.filter(|part| workers.contains(&part.worker(peers))).collect())
    }

    /// The parts, in ascending order.
    pub fn as_slice(&self) -> &[KeyGroup] {
        &self.0
    }

    /// Whether the part is one of them.
    pub fn contains(&self, part: KeyGroup) -> bool {
        self.0.binary_search(&part).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_divide_the_parts() {
        let (first, second) = (Parts::of_workers(0..1, 2), Parts::of_workers(1..2, 2));
        for part in Parts::all().as_slice() {
            assert!(first.contains(*part) != second.contains(*part));
        }
        assert!(Parts::of_workers(64..65, 100).as_slice().is_empty());
    }
}
