//! Open panes: one cache line for each of a series' two newest minutes, further ones aside.

use super::paged::Paged;
use std::collections::BTreeMap;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::{EventTime, PaneNo};

/// A pane with its sketch, which exists from the third valid reading on.
pub type Sketched = (Pane, Option<Box<Sketch>>);

/// The open panes of every slot. Even minutes lie in one table and odd ones in the other, so that around the
/// turn of a minute, while both take readings, neither has to move.
#[derive(Debug)]
pub struct OpenPanes {
    tables: [Table; 2],
    aside: BTreeMap<(u32, PaneNo), Sketched>,
    quantiles: bool,
    count: usize,
}

#[derive(Debug, Default)]
struct Table {
    panes: Paged<Pane>,
    /// Empty when no sketches are kept.
    sketches: Paged<Option<Box<Sketch>>>,
}

impl Table {
    /// Adds a reading to the pane that the line holds.
    #[inline]
    fn add(&mut self, slot: usize, quantiles: bool, at: EventTime, value: f64) {
        let sketch = quantiles.then(|| self.sketches.at_mut(slot));
        add_reading(self.panes.at_mut(slot), sketch, at, value);
    }

    fn put(&mut self, slot: usize, (pane, sketch): Sketched) {
        *self.panes.at_mut(slot) = pane;
        if sketch.is_some() {
            *self.sketches.at_mut(slot) = sketch;
        }
    }

    fn sketch(&self, slot: usize) -> Option<&Sketch> {
        self.sketches.get(slot)?.as_deref()
    }
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The pane had readings before.
    More,
    /// It is the pane's first.
    First,
}

impl OpenPanes {
    /// No panes; with or without sketches.
    pub fn new(quantiles: bool) -> OpenPanes {
        OpenPanes {
            tables: Default::default(),
            aside: BTreeMap::new(),
            quantiles,
            count: 0,
        }
    }

    /// Makes room for so many slots.
    pub fn grow(&mut self, slots: usize) {
        for table in &mut self.tables {
            table.panes.grow(slots, || Pane::VACANT);
            if self.quantiles {
                table.sketches.grow(slots, || None);
            }
        }
    }

    /// Fetches the line that a reading will need.
    #[inline]
    pub fn prefetch(&self, slot: usize, pane: PaneNo) {
        self.tables[parity(pane)].panes.prefetch(slot);
    }

    /// Adds a reading to its pane.
    #[inline]
    pub fn add(&mut self, slot: usize, pane: PaneNo, at: EventTime, value: f64) -> Added {
        let table = &mut self.tables[parity(pane)];
        if table.panes.at(slot).number == pane {
            table.add(slot, self.quantiles, at, value);
            return Added::More;
        }
        self.add_elsewhere(slot, pane, at, value)
    }

    fn add_elsewhere(&mut self, slot: usize, pane: PaneNo, at: EventTime, value: f64) -> Added {
        let aside = if self.aside.is_empty() {
            None
        } else {
            self.aside.remove(&(slot as u32, pane))
        };
        let added = if aside.is_some() { Added::More } else { Added::First };
        self.count += usize::from(aside.is_none());
        let (mut found, mut sketch) = aside.unwrap_or((Pane::empty(pane), None));
        add_reading(&mut found, self.quantiles.then_some(&mut sketch), at, value);
        self.put(slot, (found, sketch));
        added
    }

    fn put(&mut self, slot: usize, (pane, sketch): Sketched) {
        // It was saved when quantiles were kept.
        let pane = (pane, sketch.filter(|_| self.quantiles));
        let table = &mut self.tables[parity(pane.0.number)];
        if table.panes.at(slot).is_vacant() {
            table.put(slot, pane);
        } else {
            self.aside.insert((slot as u32, pane.0.number), pane);
        }
    }

    /// Puts back a pane that was saved.
    pub fn restore(&mut self, slot: usize, pane: Sketched) {
        self.count += 1;
        self.put(slot, pane);
    }

    /// The open pane of a slot.
    pub fn get(&self, slot: usize, pane: PaneNo) -> Option<(Pane, Option<&Sketch>)> {
        let table = &self.tables[parity(pane)];
        match table.panes.get(slot) {
            Some(line) if line.number == pane => Some((*line, table.sketch(slot))),
            _ => self
                .aside
                .get(&(slot as u32, pane))
                .map(|(pane, sketch)| (*pane, sketch.as_deref())),
        }
    }

    /// The open panes of a slot, ascending.
    pub fn of(&self, slot: usize) -> Vec<(Pane, Option<&Sketch>)> {
        let numbers = self.numbers(slot).into_iter();
        numbers.filter_map(|number| self.get(slot, number)).collect()
    }

    /// The numbers of a slot's open panes, ascending.
    pub fn numbers(&self, slot: usize) -> Vec<PaneNo> {
        let mut numbers: Vec<PaneNo> = self
            .tables
            .iter()
            .filter_map(|t| t.panes.get(slot))
            .map(|p| p.number)
            .filter(|n| *n != PaneNo::NONE)
            .collect();
        if !self.aside.is_empty() {
            let of_slot = (slot as u32, PaneNo::NONE)..=(slot as u32, PaneNo(i32::MAX));
            numbers.extend(self.aside.range(of_slot).map(|((_, number), _)| *number));
        }
        numbers.sort_unstable();
        numbers
    }

    /// Takes out a pane, which closes.
    #[inline]
    pub fn take(&mut self, slot: usize, pane: PaneNo) -> Option<Sketched> {
        let table = &mut self.tables[parity(pane)];
        let line = table.panes.at_mut(slot);
        let taken = if line.number == pane {
            let pane = std::mem::replace(line, Pane::VACANT);
            let sketch = if self.quantiles {
                table.sketches.at_mut(slot).take()
            } else {
                None
            };
            Some((pane, sketch))
        } else {
            self.aside.remove(&(slot as u32, pane))
        };
        self.count -= usize::from(taken.is_some());
        taken
    }

    /// How many panes are open.
    pub fn len(&self) -> usize {
        self.count
    }
}

#[inline]
fn parity(pane: PaneNo) -> usize {
    (pane.0 & 1) as usize
}

/// Adds a reading to a pane and to its sketch, if sketches are kept. One or two valid readings need none:
/// they are the pane's bounds.
#[inline]
pub fn add_reading(pane: &mut Pane, sketch: Option<&mut Option<Box<Sketch>>>, at: EventTime, value: f64) {
    if let Some(sketch) = sketch
        && pane.count >= 2
        && value.is_finite()
    {
        if pane.count == 2 {
            *sketch = Some(Box::new(Sketch::of(&[pane.min, pane.max])));
        }
        if let Some(sketch) = sketch {
            sketch.add(value + 0.0);
        }
    }
    pane.add(at, value);
}
