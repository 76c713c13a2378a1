//! Closed panes of one partition and minute: packed in slot order, with an overlay of late arrivals.

use super::open::{Sketched, add_reading};
use super::packed;
use super::walk::{Found, Walk};
use std::collections::BTreeMap;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::{EventTime, PaneNo};

/// The closed panes of one minute.
///
/// A minute may hold millions of them, so they lie in chunks: a single column would be copied whenever it grew, and
/// be half empty afterwards.
#[derive(Debug)]
pub struct Block {
    pub(super) number: PaneNo,
    pub(super) chunks: Vec<Chunk>,
    panes: usize,
    pub(super) overlay: BTreeMap<u32, Sketched>,
    packed_bytes: usize,
    sketch_bytes: usize,
}

/// Up to [`CHUNK`] panes in slot order.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) slots: Vec<u32>,
    /// Where each pane's bytes end.
    pub(super) ends: Vec<u16>,
    pub(super) bytes: Vec<u8>,
    /// As long as it must be to hold the last sketch.
    pub(super) sketches: Vec<Option<Box<Sketch>>>,
}

/// How many panes a chunk holds: their bytes are counted in 16 bits, and moved when a late reading makes one larger.
const CHUNK: usize = 256;

const _: () = assert!(CHUNK * packed::BYTES_MAX <= u16::MAX as usize);

impl Chunk {
    fn push(&mut self, slot: u32, (pane, sketch): Sketched) {
        if sketch.is_some() {
            self.sketches.resize_with(self.slots.len(), || None);
            self.sketches.push(sketch);
        }
        packed::append(&pane, &mut self.bytes);
        self.slots.push(slot);
        self.ends.push(self.bytes.len() as u16);
        if self.slots.len() == CHUNK {
            // Nothing is appended any more.
            self.slots.shrink_to_fit();
            self.ends.shrink_to_fit();
            self.bytes.shrink_to_fit();
        }
    }

    fn range(&self, at: usize) -> std::ops::Range<usize> {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        start.into()..self.ends[at].into()
    }

    fn pane(&self, at: usize, number: PaneNo) -> Pane {
        packed::read(&self.bytes[self.range(at)], number).expect("only whole panes are appended")
    }

    /// Puts a pane where another state of it was.
    fn replace(&mut self, at: usize, pane: &Pane) {
        let range = self.range(at);
        let mut bytes = Vec::with_capacity(packed::BYTES_MAX);
        packed::append(pane, &mut bytes);
        // A pane only grows.
        let by = (bytes.len() - range.len()) as u16;
        self.ends[at..].iter_mut().for_each(|end| *end += by);
        self.bytes.splice(range, bytes);
    }

    fn found(&self, at: usize, number: PaneNo) -> Found<'_> {
        let sketch = self.sketches.get(at).and_then(|sketch| sketch.as_deref());
        Found::packed(self.slots[at], number, &self.bytes[self.range(at)], sketch)
    }
}

impl Block {
    /// No panes of a minute.
    pub fn new(number: PaneNo) -> Block {
        Block {
            number,
            chunks: Vec::new(),
            panes: 0,
            overlay: BTreeMap::new(),
            packed_bytes: 0,
            sketch_bytes: 0,
        }
    }

    /// Puts in a pane that isn't there yet. In slot order it is appended, otherwise it joins the overlay.
    pub fn insert(&mut self, slot: usize, (pane, sketch): Sketched) {
        let slot = slot as u32;
        self.sketch_bytes += sketch.as_deref().map_or(0, Sketch::bytes);
        let last = self.chunks.last().and_then(|chunk| chunk.slots.last());
        if last.is_some_and(|last| *last >= slot) {
            self.overlay.insert(slot, (pane, sketch));
            return;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.slots.len() == CHUNK) {
            self.chunks.push(Chunk::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            let before = chunk.bytes.len();
            chunk.push(slot, (pane, sketch));
            self.packed_bytes += chunk.bytes.len() - before;
        }
        self.panes += 1;
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
        let Some((chunk, place)) = self.place(slot) else {
            let Some((pane, sketch)) = self.overlay.get_mut(&slot) else {
                return false;
            };
            self.sketch_bytes -= sketch.as_deref().map_or(0, Sketch::bytes);
            add_reading(pane, quantiles.then_some(&mut *sketch), at, value);
            self.sketch_bytes += sketch.as_deref().map_or(0, Sketch::bytes);
            return true;
        };
        let chunk = &mut self.chunks[chunk];
        let mut pane = chunk.pane(place, self.number);
        if quantiles {
            if chunk.sketches.len() <= place {
                chunk.sketches.resize_with(place + 1, || None);
            }
            let sketch = &mut chunk.sketches[place];
            self.sketch_bytes -= sketch.as_deref().map_or(0, Sketch::bytes);
            add_reading(&mut pane, Some(&mut *sketch), at, value);
            self.sketch_bytes += sketch.as_deref().map_or(0, Sketch::bytes);
        } else {
            add_reading(&mut pane, None, at, value);
        }
        let before = chunk.bytes.len();
        chunk.replace(place, &pane);
        self.packed_bytes += chunk.bytes.len() - before;
        true
    }

    /// The pane of a slot as it lies here.
    pub fn find(&self, slot: usize) -> Option<Found<'_>> {
        let slot = slot as u32;
        match self.place(slot) {
            Some((chunk, at)) => Some(self.chunks[chunk].found(at, self.number)),
            None => self.overlay.get(&slot).map(|pane| Found::whole(slot, pane)),
        }
    }

    /// The pane of a slot.
    pub fn get(&self, slot: usize) -> Option<(Pane, Option<&Sketch>)> {
        self.find(slot).map(|found| (found.pane(), found.sketch))
    }

    /// Whether there is a pane of a slot.
    pub fn holds(&self, slot: usize) -> bool {
        let slot = slot as u32;
        self.place(slot).is_some() || self.overlay.contains_key(&slot)
    }

    /// All panes, in slot order.
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// How many panes there are.
    pub fn len(&self) -> usize {
        self.panes + self.overlay.len()
    }

    /// What the panes take in memory, about.
    pub fn bytes(&self) -> usize {
        const PER_PANE: usize = size_of::<u32>() + size_of::<u16>() + size_of::<Option<Box<Sketch>>>();
        const OVERLAID: usize = 2 * (size_of::<u32>() + size_of::<Sketched>());
        self.panes * PER_PANE + self.packed_bytes + self.overlay.len() * OVERLAID + self.sketch_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut block = Block::new(NUMBER);
        for slot in even.clone().chain(odd.clone().step_by(5)) {
            block.insert(slot, pane(slot));
        }
        assert_eq!(block.len(), even.count() + odd.step_by(5).count());
        let in_order: Vec<usize> = block.walk().map(|found| found.slot).collect();
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
        let mut block = Block::new(NUMBER);
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
        let mut block = Block::new(NUMBER);
        [9, 3].into_iter().for_each(|slot| block.insert(slot, pane(slot)));
        for slot in [9, 3] {
            let without = block.bytes();
            let add = |block: &mut Block, value| assert!(block.add(slot, NUMBER.start(), value, true));
            (0..10).for_each(|value| add(&mut block, f64::from(value)));
            let raw = block.bytes();
            let grown = raw - without - size_of::<Sketch>();
            assert!(
                grown <= packed::BYTES_MAX,
                "the sketch is made by a late reading, the pane grows"
            );
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
