//! Closed panes of one partition and minute: packed columns in slot order, with an overlay of late arrivals.

use super::open::{Sketched, add_reading};
use std::collections::BTreeMap;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::EventTime;

/// The closed panes of one minute.
///
/// A minute may hold millions of them, so they lie in chunks: a single column would be copied whenever it grew, and
/// be half empty afterwards.
#[derive(Debug, Default)]
pub struct Block {
    chunks: Vec<Chunk>,
    packed: usize,
    overlay: BTreeMap<u32, Sketched>,
    sketch_bytes: usize,
}

/// Up to [`CHUNK`] panes in slot order.
#[derive(Debug, Default)]
struct Chunk {
    slots: Vec<u32>,
    panes: Vec<Pane>,
    /// As long as it must be to hold the last sketch.
    sketches: Vec<Option<Box<Sketch>>>,
}

/// How many panes a chunk holds.
const CHUNK: usize = 1_024;

/// A pane as it is read: with its slot and sketch.
pub type Entry<'a> = (u32, &'a Pane, Option<&'a Sketch>);

impl Chunk {
    /// A chunk with room for all its panes.
    fn roomy() -> Chunk {
        Chunk {
            slots: Vec::with_capacity(CHUNK),
            panes: Vec::with_capacity(CHUNK),
            sketches: Vec::new(),
        }
    }

    fn push(&mut self, slot: u32, (pane, sketch): Sketched) {
        if sketch.is_some() {
            self.sketches.resize_with(self.slots.len(), || None);
            self.sketches.push(sketch);
        }
        self.slots.push(slot);
        self.panes.push(pane);
    }

    fn entry(&self, at: usize) -> Entry<'_> {
        let sketch = self.sketches.get(at).and_then(|sketch| sketch.as_deref());
        (self.slots[at], &self.panes[at], sketch)
    }
}

impl Block {
    /// Puts in a pane that isn't there yet. In slot order it is appended, otherwise it joins the overlay.
    pub fn insert(&mut self, slot: usize, (pane, sketch): Sketched) {
        let slot = slot as u32;
        self.sketch_bytes += sketch.as_deref().map_or(0, Sketch::bytes);
        let last = self.chunks.last().and_then(|chunk| chunk.slots.last());
        if last.is_some_and(|last| *last >= slot) {
            self.overlay.insert(slot, (pane, sketch));
            return;
        }
        match self.chunks.last_mut() {
            Some(chunk) if chunk.slots.len() < CHUNK => chunk.push(slot, (pane, sketch)),
            // Only what is large gets all its room at once.
            full => {
                let mut chunk = if full.is_some() {
                    Chunk::roomy()
                } else {
                    Chunk::default()
                };
                chunk.push(slot, (pane, sketch));
                self.chunks.push(chunk);
            }
        }
        self.packed += 1;
    }

    /// Where a slot lies among the chunks.
    fn place(&self, slot: u32) -> Option<(usize, usize)> {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.slots.last().is_some_and(|last| *last < slot));
        let at = self.chunks.get(chunk)?.slots.binary_search(&slot).ok()?;
        Some((chunk, at))
    }

    /// Adds a late reading to a pane that is there; `false` when there is none.
    pub fn add(&mut self, slot: usize, at: EventTime, value: f64, quantiles: bool) -> bool {
        let slot = slot as u32;
        let (pane, sketch) = match self.place(slot) {
            Some((chunk, place)) => {
                let Chunk { panes, sketches, .. } = &mut self.chunks[chunk];
                if quantiles && sketches.len() <= place {
                    sketches.resize_with(place + 1, || None);
                }
                (&mut panes[place], sketches.get_mut(place))
            }
            None => match self.overlay.get_mut(&slot) {
                Some((pane, sketch)) => (pane, Some(sketch)),
                None => return false,
            },
        };
        let Some(sketch) = sketch.filter(|_| quantiles) else {
            add_reading(pane, None, at, value);
            return true;
        };
        self.sketch_bytes -= sketch.as_deref().map_or(0, Sketch::bytes);
        add_reading(pane, Some(sketch), at, value);
        self.sketch_bytes += sketch.as_deref().map_or(0, Sketch::bytes);
        true
    }

    /// The pane of a slot.
    pub fn get(&self, slot: usize) -> Option<(&Pane, Option<&Sketch>)> {
        let slot = slot as u32;
        match self.place(slot) {
            Some((chunk, at)) => {
                let (_, pane, sketch) = self.chunks[chunk].entry(at);
                Some((pane, sketch))
            }
            None => self.overlay.get(&slot).map(|(pane, sketch)| (pane, sketch.as_deref())),
        }
    }

    /// All panes, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let chunks = self.chunks.iter();
        let mut packed = chunks
            .flat_map(|chunk| (0..chunk.slots.len()).map(|at| chunk.entry(at)))
            .peekable();
        let mut overlay = self
            .overlay
            .iter()
            .map(|(slot, (pane, s))| (*slot, pane, s.as_deref()))
            .peekable();
        std::iter::from_fn(move || match (packed.peek(), overlay.peek()) {
            (Some(own), Some(late)) if late.0 < own.0 => overlay.next(),
            (Some(_), _) => packed.next(),
            (None, _) => overlay.next(),
        })
    }

    /// How many panes there are.
    pub fn len(&self) -> usize {
        self.packed + self.overlay.len()
    }

    /// What the panes take in memory, about.
    pub fn bytes(&self) -> usize {
        const PER_PANE: usize = size_of::<u32>() + size_of::<Pane>() + size_of::<Option<Box<Sketch>>>();
        self.packed * PER_PANE + self.overlay.len() * 2 * PER_PANE + self.sketch_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::time::PaneNo;

    const NUMBER: PaneNo = PaneNo(7);

    /// A pane of one reading, which is the slot's number.
    fn pane(slot: usize) -> Sketched {
        let mut pane = (Pane::empty(NUMBER), None);
        add_reading(&mut pane.0, Some(&mut pane.1), NUMBER.start(), slot as f64);
        pane
    }

    #[test]
    fn panes_in_any_order_are_found_and_come_in_slot_order() {
        let slots = CHUNK * 3;
        let (even, odd) = ((0..slots).step_by(2), (1..slots).step_by(2));
        let mut block = Block::default();
        for slot in even.clone().chain(odd.clone().step_by(5)) {
            block.insert(slot, pane(slot));
        }
        assert_eq!(block.len(), even.count() + odd.step_by(5).count());
        let in_order: Vec<usize> = block.iter().map(|(slot, ..)| slot as usize).collect();
        assert!(in_order.is_sorted());
        assert_eq!(in_order.len(), block.len());
        for slot in 0..slots + 2 {
            let found = block.get(slot).map(|(pane, _)| pane.sum);
            let expected = in_order.binary_search(&slot).is_ok().then_some(slot as f64);
            assert_eq!(found, expected, "{slot}");
        }
    }

    #[test]
    fn late_readings_reach_panes_with_and_without_sketches() {
        let mut block = Block::default();
        (0..CHUNK + 10).for_each(|slot| block.insert(slot, pane(slot)));
        for slot in [3, CHUNK + 5] {
            for value in [1.0, 2.0] {
                assert!(block.add(slot, NUMBER.start(), value, true));
            }
            let (pane, sketch) = block.get(slot).unwrap();
            assert_eq!((pane.count, sketch.map(Sketch::count)), (3, Some(3)));
            assert!(block.get(slot + 1).unwrap().1.is_none());
        }
        assert!(!block.add(CHUNK + 10, NUMBER.start(), 1.0, true));
    }

    #[test]
    fn bytes_count_what_sketches_hold() {
        let mut block = Block::default();
        [9, 3].into_iter().for_each(|slot| block.insert(slot, pane(slot)));
        for slot in [9, 3] {
            let without = block.bytes();
            let add = |block: &mut Block, value| assert!(block.add(slot, NUMBER.start(), value, true));
            (0..10).for_each(|value| add(&mut block, f64::from(value)));
            let raw = block.bytes();
            assert_eq!(raw - without, size_of::<Sketch>(), "made by a late reading");
            (0..1_000).for_each(|value| add(&mut block, f64::from(value)));
            let Some(Sketch::Buckets(buckets)) = block.get(slot).unwrap().1 else {
                panic!("buckets")
            };
            assert!(block.bytes() - raw >= size_of_val(buckets.as_slice()));
        }
        let (before, mut sketched) = (block.bytes(), pane(20));
        (0..1_000)
            .for_each(|value| add_reading(&mut sketched.0, Some(&mut sketched.1), NUMBER.start(), f64::from(value)));
        block.insert(20, sketched);
        assert!(block.bytes() - before > 2_000, "already there when it closed");
    }
}
