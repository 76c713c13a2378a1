//! A block's panes in slot order, each read only when it is wanted.

use super::closed::Block;
use super::open::Sketched;
use super::packed;
use std::borrow::Cow;
use std::collections::btree_map;
use std::iter::Peekable;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::PaneNo;
use tidewatch_proto::together::Together;

/// A pane that was found: where, and as it lies there.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The slot.
    pub slot: usize,
    /// The minute.
    pub number: PaneNo,
    kept: Kept<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Kept<'a> {
    /// Packed, with a sketch when it doesn't keep the values any more.
    Packed(&'a [u8], Option<&'a Sketch>),
    Whole(&'a Sketched),
}

impl<'a> Found<'a> {
    pub(super) fn packed(slot: u32, number: PaneNo, bytes: &'a [u8], sketch: Option<&'a Sketch>) -> Found<'a> {
        Found {
            slot: slot as usize,
            number,
            kept: Kept::Packed(bytes, sketch),
        }
    }

    pub(super) fn whole(slot: u32, pane: &'a Sketched) -> Found<'a> {
        Found {
            slot: slot as usize,
            number: pane.0.number,
            kept: Kept::Whole(pane),
        }
    }

    /// The pane.
    #[inline]
    pub fn pane(&self) -> Pane {
        match self.kept {
            Kept::Packed(bytes, _) => packed::read(bytes, self.number).expect("only whole panes are packed"),
            Kept::Whole((pane, _)) => *pane,
        }
    }

    /// Its sketch, if it has one.
    #[inline]
    pub fn sketch(&self) -> Option<Cow<'a, Sketch>> {
        match self.kept {
            Kept::Packed(_, Some(sketch)) => Some(Cow::Borrowed(sketch)),
            Kept::Packed(bytes, None) => {
                let values = packed::values(bytes);
                (values.len() > 0).then(|| Cow::Owned(Sketch::of_few(values)))
            }
            Kept::Whole((_, sketch)) => sketch.as_deref().map(Cow::Borrowed),
        }
    }

    /// Adds the values of its pane to others.
    #[inline]
    pub fn add_to(&self, pane: &Pane, together: &mut Together) {
        match self.kept {
            Kept::Packed(bytes, None) if pane.count > 2 => together.add_values(packed::values(bytes)),
            Kept::Packed(_, sketch) => together.add_pane(pane, sketch),
            Kept::Whole((_, sketch)) => together.add_pane(pane, sketch.as_deref()),
        }
    }

    /// Gives the pane's packed bytes, which lie in `room` when it isn't kept packed, and the sketch that isn't in them.
    pub fn bytes<'b>(&'b self, room: &'b mut Vec<u8>) -> (&'b [u8], Option<&'a Sketch>) {
        match self.kept {
            Kept::Packed(bytes, sketch) => (bytes, sketch),
            Kept::Whole((pane, sketch)) => {
                let values = sketch.as_deref().and_then(Sketch::values);
                room.clear();
                packed::append(pane, values.unwrap_or_default(), room);
                (room, sketch.as_deref().filter(|_| values.is_none()))
            }
        }
    }
}

/// Goes through a block's panes in slot order.
#[derive(Debug)]
pub struct Walk<'a> {
    block: &'a Block,
    /// The next packed pane: its chunk, its place there, and where its bytes begin.
    chunk: usize,
    at: usize,
    begin: usize,
    overlay: Peekable<btree_map::Range<'a, u32, Sketched>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(block: &'a Block) -> Walk<'a> {
        Walk {
            block,
            chunk: 0,
            at: 0,
            begin: 0,
            overlay: block.overlay.range(..).peekable(),
        }
    }

    /// A walk that begins with a slot.
    pub(super) fn from(block: &'a Block, slot: usize) -> Walk<'a> {
        let slot = slot as u32;
        let chunk = block
            .chunks
            .partition_point(|chunk| chunk.slots.last().is_some_and(|last| *last < slot));
        let found = block.chunks.get(chunk);
        let at = found.map_or(0, |chunk| chunk.slots.partition_point(|other| *other < slot));
        Walk {
            block,
            chunk,
            at,
            begin: found.map_or(0, |chunk| chunk.range(at).start),
            overlay: block.overlay.range(slot..).peekable(),
        }
    }

    #[inline]
    fn next_packed(&self) -> Option<u32> {
        self.block.chunks.get(self.chunk).map(|chunk| chunk.slots[self.at])
    }

    /// The slot of the next pane.
    #[inline]
    pub fn slot(&mut self) -> Option<usize> {
        let packed = self.next_packed();
        let overlaid = self.overlay.peek().map(|(slot, _)| **slot);
        let next = match (packed, overlaid) {
            (Some(packed), Some(overlaid)) => Some(packed.min(overlaid)),
            (packed, overlaid) => packed.or(overlaid),
        };
        next.map(|slot| slot as usize)
    }

    /// The pane of a slot, leaving those before it behind; slots are asked for in ascending order.
    #[inline]
    pub fn seek(&mut self, slot: usize) -> Option<Found<'a>> {
        while self.slot()? < slot {
            self.next();
        }
        self.next_at(slot)
    }

    /// The next pane, if it is that of a slot.
    #[inline]
    pub fn next_at(&mut self, slot: usize) -> Option<Found<'a>> {
        if self.slot()? == slot { self.next() } else { None }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Found<'a>;

    #[inline]
    fn next(&mut self) -> Option<Found<'a>> {
        let packed = self.next_packed();
        if let Some((overlaid, _)) = self.overlay.peek()
            && packed.is_none_or(|packed| **overlaid < packed)
        {
            return self.overlay.next().map(|(slot, pane)| Found::whole(*slot, pane));
        }
        let (chunk, slot) = (&self.block.chunks[..].get(self.chunk)?, packed?);
        let end = usize::from(chunk.ends[self.at]);
        let sketch = chunk.sketches.get(self.at).and_then(|sketch| sketch.as_deref());
        let found = Found::packed(slot, self.block.number, &chunk.bytes[self.begin..end], sketch);
        (self.at, self.begin) = (self.at + 1, end);
        if self.at == chunk.slots.len() {
            (self.chunk, self.at, self.begin) = (self.chunk + 1, 0, 0);
        }
        Some(found)
    }
}

/// Walks several blocks at once and gives each slot's panes together, in block order.
pub fn together<'a>(blocks: impl Iterator<Item = &'a Block>, mut each: impl FnMut(usize, &[Found<'a>])) {
    let mut walks: Vec<Walk<'a>> = blocks.map(Block::walk).collect();
    let mut found = Vec::with_capacity(walks.len());
    while let Some(slot) = walks.iter_mut().filter_map(Walk::slot).min() {
        found.clear();
        found.extend(walks.iter_mut().filter_map(|walk| walk.next_at(slot)));
        each(slot, &found);
    }
}
