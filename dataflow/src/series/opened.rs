//! Which slots of a partition have an open pane, minute by minute: what closing goes through.

use super::bits::Bits;
use std::collections::BTreeMap;
use tidewatch_proto::time::PaneNo;

/// Slots with an open pane, by minute, as bits of the partition's own numbering of its slots.
#[derive(Debug, Default)]
pub struct Opened {
    minutes: BTreeMap<PaneNo, Bits>,
}

impl Opened {
    /// Notes that a pane was opened.
    #[inline]
    pub fn note(&mut self, pane: PaneNo, local: usize) {
        self.minutes.entry(pane).or_default().set(local);
    }

    /// Takes out the first minute that is not after `through`: its number and its slots in their order.
    pub fn take(&mut self, through: PaneNo) -> Option<(PaneNo, impl Iterator<Item = usize> + use<>)> {
        let first = self.minutes.first_entry().filter(|minute| *minute.key() <= through)?;
        let (pane, slots) = first.remove_entry();
        Some((pane, slots.into_slots()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_once_in_their_order_minute_by_minute() {
        let mut opened = Opened::default();
        for (pane, local) in [(8, 70), (7, 5_000), (7, 3), (7, 63), (7, 64), (7, 3), (9, 1)] {
            opened.note(PaneNo(pane), local);
        }
        let mut taken = Vec::new();
        while let Some((pane, slots)) = opened.take(PaneNo(8)) {
            taken.extend(slots.map(|slot| (pane.0, slot)));
        }
        assert_eq!(taken, [(7, 3), (7, 63), (7, 64), (7, 5_000), (8, 70)]);
        assert_eq!(
            opened.take(PaneNo(9)).map(|(pane, slots)| (pane, slots.collect())),
            Some((PaneNo(9), vec![1]))
        );
    }
}
