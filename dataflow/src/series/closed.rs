//! Closed panes of one partition and minute: packed columns in slot order, with an overlay of late arrivals.

use super::open::{Sketched, add_reading};
use std::collections::BTreeMap;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::EventTime;

/// The closed panes of one minute.
#[derive(Debug, Default)]
pub struct Block {
    slots: Vec<u32>,
    panes: Vec<Pane>,
    sketches: Vec<Option<Box<Sketch>>>,
    overlay: BTreeMap<u32, Sketched>,
    sketched: usize,
}

/// A pane as it is read: with its slot and sketch.
pub type Entry<'a> = (u32, &'a Pane, Option<&'a Sketch>);

impl Block {
    /// Puts in a pane that isn't there yet. In slot order it is appended, otherwise it joins the overlay.
    pub fn insert(&mut self, slot: usize, (pane, sketch): Sketched) {
        let slot = slot as u32;
        self.sketched += usize::from(sketch.is_some());
        if self.slots.last().is_none_or(|last| *last < slot) {
            self.slots.push(slot);
            self.panes.push(pane);
            self.sketches.push(sketch);
        } else {
            self.overlay.insert(slot, (pane, sketch));
        }
    }

    /// Adds a late reading to a pane that is there; `false` when there is none.
    pub fn add(&mut self, slot: usize, at: EventTime, value: f64, quantiles: bool) -> bool {
        let slot = slot as u32;
        let (pane, sketch) = match self.slots.binary_search(&slot) {
            Ok(at) => (&mut self.panes[at], &mut self.sketches[at]),
            Err(_) => match self.overlay.get_mut(&slot) {
                Some((pane, sketch)) => (pane, sketch),
                None => return false,
            },
        };
        add_reading(pane, quantiles.then_some(sketch), at, value);
        true
    }

    /// The pane of a slot.
    pub fn get(&self, slot: usize) -> Option<(&Pane, Option<&Sketch>)> {
        let slot = slot as u32;
        match self.slots.binary_search(&slot) {
            Ok(at) => Some((&self.panes[at], self.sketches[at].as_deref())),
            Err(_) => self.overlay.get(&slot).map(|(pane, sketch)| (pane, sketch.as_deref())),
        }
    }

    /// All panes, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let packed = self.slots.iter().zip(&self.panes).zip(&self.sketches);
        let mut packed = packed
            .map(|((slot, pane), sketch)| (*slot, pane, sketch.as_deref()))
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
        self.slots.len() + self.overlay.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the panes take in memory, about.
    pub fn bytes(&self) -> usize {
        const PER_PANE: usize = size_of::<u32>() + size_of::<Pane>() + size_of::<Option<Box<Sketch>>>();
        self.slots.capacity() * PER_PANE + self.overlay.len() * 2 * PER_PANE + self.sketched * size_of::<Sketch>()
    }
}
