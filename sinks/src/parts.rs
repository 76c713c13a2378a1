//! The outbox parts that one sink owns.

use tidewatch_proto::ids::{KEY_GROUPS, KeyGroup};

/// Some of the [`KEY_GROUPS`] outbox parts: what one worker delivers and records progress for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts(Vec<KeyGroup>);

impl Parts {
    /// All parts: for a run whose only sink this is.
    pub fn all() -> Parts {
        Parts((0..KEY_GROUPS).map(KeyGroup).collect())
    }

    /// The parts of worker `index` of `peers`.
    pub fn of_worker(index: usize, peers: usize) -> Parts {
        Parts(
            (0..KEY_GROUPS)
                .map(KeyGroup)
                .filter(|part| part.worker(peers) == index)
                .collect(),
        )
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
        let (first, second) = (Parts::of_worker(0, 2), Parts::of_worker(1, 2));
        for part in Parts::all().as_slice() {
            assert!(first.contains(*part) != second.contains(*part));
        }
        assert!(Parts::of_worker(64, 100).as_slice().is_empty());
    }
}
