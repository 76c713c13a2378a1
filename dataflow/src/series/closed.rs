//! Closed panes of one partition and minute: packed in slot order, with an overlay of late arrivals.

use super::open::{Sketched, add_reading};
use super::packed;
use super::walk::{Found, Walk};
use std::borrow::Cow;
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
    /// The sketches that keep no values any more; as long as it must be to hold the last of them.
    pub(super) sketches: Vec<Option<Box<Sketch>>>,
}

/// How many panes a chunk holds: their bytes are counted in 16 bits, and moved when a late reading makes one larger.
const CHUNK: usize = 256;

const _: () = assert!(CHUNK * packed::BYTES_MAX <= u16::MAX as usize);

impl Chunk {
    fn push(&mut self, slot: u32, pane: Sketched) {
        let at = self.slots.len();
        self.slots.push(slot);
        self.keep_sketch(at, &pane);
        append(&pane, &mut self.bytes);
        self.ends.push(self.bytes.len() as u16);
        if self.slots.len() == CHUNK {
            // Nothing is appended any more.
            self.slots.shrink_to_fit();
            self.ends.shrink_to_fit();
            self.bytes.shrink_to_fit();
        }
    }

    /// Keeps a sketch that has no values any more beside the bytes.
    fn keep_sketch(&mut self, at: usize, (_, sketch): &Sketched) {
        if let Some(sketch) = sketch.as_ref().filter(|sketch| sketch.values().is_none()) {
            self.sketches.resize_with(self.sketches.len().max(at + 1), || None);
            self.sketches[at] = Some(sketch.clone());
        }
    }

    pub(super) fn range(&self, at: usize) -> std::ops::Range<usize> {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        start.into()..self.ends[at].into()
    }

    /// A pane with its sketch, which leaves the chunk.
    fn take(&mut self, at: usize, number: PaneNo) -> Sketched {
        let found = self.found(at, number);
        let (pane, sketch) = (found.pane(), found.sketch().map(|sketch| Box::new(sketch.into_owned())));
        if let Some(kept) = self.sketches.get_mut(at) {
            *kept = None;
        }
        (pane, sketch)
    }

    /// Puts a pane where another state of it was.
    fn replace(&mut self, at: usize, pane: &Sketched) {
        let range = self.range(at);
        let mut bytes = Vec::with_capacity(packed::BYTES_MAX);
        append(pane, &mut bytes);
        let (before, after) = (range.len() as u16, bytes.len() as u16);
        self.ends[at..].iter_mut().for_each(|end| *end = *end - before + after);
        self.bytes.splice(range, bytes);
        self.keep_sketch(at, pane);
    }

    fn found(&self, at: usize, number: PaneNo) -> Found<'_> {
        let sketch = self.sketches.get(at).and_then(|sketch| sketch.as_deref());
        Found::packed(self.slots[at], number, &self.bytes[self.range(at)], sketch)
    }
}

fn append((pane, sketch): &Sketched, out: &mut Vec<u8>) {
    let values = sketch.as_deref().and_then(Sketch::values);
    packed::append(pane, values.unwrap_or_default(), out);
}

/// What a sketch takes that isn't packed.
fn bytes_aside(sketch: Option<&Sketch>) -> usize {
    sketch
        .filter(|sketch| sketch.values().is_none())
        .map_or(0, Sketch::bytes)
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
    pub fn insert(&mut self, slot: usize, pane: Sketched) {
        let slot = slot as u32;
        let last = self.chunks.last().and_then(|chunk| chunk.slots.last());
        if last.is_some_and(|last| *last >= slot) {
            self.sketch_bytes += pane.1.as_deref().map_or(0, Sketch::bytes);
            self.overlay.insert(slot, pane);
            return;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.slots.len() == CHUNK) {
            self.chunks.push(Chunk::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            self.sketch_bytes += bytes_aside(pane.1.as_deref());
            let before = chunk.bytes.len();
            chunk.push(slot, pane);
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
        let before = chunk.bytes.len();
        let (mut pane, mut sketch) = chunk.take(place, self.number);
        self.sketch_bytes -= bytes_aside(sketch.as_deref());
        add_reading(&mut pane, quantiles.then_some(&mut sketch), at, value);
        self.sketch_bytes += bytes_aside(sketch.as_deref());
        chunk.replace(place, &(pane, sketch));
        self.packed_bytes = self.packed_bytes + chunk.bytes.len() - before;
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
    pub fn get(&self, slot: usize) -> Option<(Pane, Option<Cow<'_, Sketch>>)> {
        self.find(slot).map(|found| (found.pane(), found.sketch()))
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
            assert_eq!((pane.count, sketch.map(|sketch| sketch.count())), (3, Some(3)));
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
            let grown = raw - without;
            assert!(
                (10 * size_of::<f64>()..=packed::BYTES_MAX + size_of::<Sketch>()).contains(&grown),
                "the values are kept from the third reading on: {grown}"
            );
            (0..1_000).for_each(|value| add(&mut block, f64::from(value)));
            let Some(Sketch::Buckets(buckets)) = block.get(slot).unwrap().1.map(Cow::into_owned) else {
                panic!("buckets")
            };
            assert!(block.bytes() + packed::BYTES_MAX - raw >= size_of_val(buckets.as_slice()));
        }
        let (before, mut sketched) = (block.bytes(), pane(20));
        (0..1_000)
            .for_each(|value| add_reading(&mut sketched.0, Some(&mut sketched.1), NUMBER.start(), f64::from(value)));
        block.insert(20, sketched);
        assert!(block.bytes() - before > 2_000, "already there when it closed");
    }
}
