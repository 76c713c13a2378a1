//! Open panes: one cache line for each of a series' two newest minutes, further ones aside.

use crate::prefetch::prefetch;
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
    panes: Vec<Pane>,
    sketches: Vec<Option<Box<Sketch>>>,
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
            if table.panes.len() < slots {
                table.panes.resize(slots, Pane::VACANT);
                if self.quantiles {
                    table.sketches.resize_with(slots, || None);
                }
            }
        }
    }

    /// Fetches the line that a reading will need.
    #[inline]
    pub fn prefetch(&self, slot: usize, pane: PaneNo) {
        prefetch(&self.tables[parity(pane)].panes, slot);
    }

    /// The number of the pane that occupies the line of `pane`, when it is another.
    #[inline]
    pub fn occupant(&self, slot: usize, pane: PaneNo) -> Option<PaneNo> {
        let number = self.tables[parity(pane)].panes[slot].number;
        (number != pane && number != PaneNo::NONE).then_some(number)
    }

    /// Adds a reading to its pane.
    #[inline]
    pub fn add(&mut self, slot: usize, pane: PaneNo, at: EventTime, value: f64) -> Added {
        let table = &mut self.tables[parity(pane)];
        let line = &mut table.panes[slot];
        if line.number == pane {
            add_reading(line, table.sketches.get_mut(slot), at, value);
            return Added::More;
        }
        self.add_elsewhere(slot, pane, at, value)
    }

    fn add_elsewhere(&mut self, slot: usize, pane: PaneNo, at: EventTime, value: f64) -> Added {
        let table = &mut self.tables[parity(pane)];
        let vacant = table.panes[slot].is_vacant();
        let aside = if self.aside.is_empty() {
            None
        } else {
            self.aside.remove(&(slot as u32, pane))
        };
        let added = if aside.is_some() { Added::More } else { Added::First };
        self.count += usize::from(aside.is_none());
        let (mut found, mut sketch) = aside.unwrap_or((Pane::empty(pane), None));
        add_reading(&mut found, self.quantiles.then_some(&mut sketch), at, value);
        if vacant {
            table.panes[slot] = found;
            if self.quantiles {
                table.sketches[slot] = sketch;
            }
        } else {
            self.aside.insert((slot as u32, pane), (found, sketch));
        }
        added
    }

    /// Puts back a pane that was saved.
    pub fn restore(&mut self, slot: usize, pane: Sketched) {
        self.count += 1;
        let table = &mut self.tables[parity(pane.0.number)];
        if table.panes[slot].is_vacant() {
            table.panes[slot] = pane.0;
            if self.quantiles {
                table.sketches[slot] = pane.1;
            }
        } else {
            self.aside.insert((slot as u32, pane.0.number), pane);
        }
    }

    /// The open pane of a slot.
    pub fn get(&self, slot: usize, pane: PaneNo) -> Option<(Pane, Option<&Sketch>)> {
        let table = &self.tables[parity(pane)];
        match table.panes.get(slot) {
            Some(line) if line.number == pane => {
                Some((*line, table.sketches.get(slot).and_then(|sketch| sketch.as_deref())))
            }
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
            numbers.extend(self.aside_of(slot, PaneNo(i32::MAX)));
        }
        numbers.sort_unstable();
        numbers
    }

    fn aside_of(&self, slot: usize, through: PaneNo) -> impl Iterator<Item = PaneNo> {
        self.aside
            .range((slot as u32, PaneNo::NONE)..=(slot as u32, through))
            .map(|((_, number), _)| *number)
    }

    /// Takes out the slot's panes up to `through`, in their order.
    #[inline]
    pub fn close(&mut self, slot: usize, through: PaneNo, mut closed: impl FnMut(Sketched)) {
        let due = |pane: &Pane| pane.number <= through && !pane.is_vacant();
        let lines = [due(&self.tables[0].panes[slot]), due(&self.tables[1].panes[slot])];
        if self.aside.is_empty() {
            match lines {
                [false, false] => {}
                [true, false] => closed(self.take(0, slot)),
                [false, true] => closed(self.take(1, slot)),
                [true, true] => {
                    let first = usize::from(self.tables[1].panes[slot].number < self.tables[0].panes[slot].number);
                    closed(self.take(first, slot));
                    closed(self.take(1 - first, slot));
                }
            }
            return;
        }
        let mut all: Vec<Sketched> = (0..2).filter(|t| lines[*t]).map(|t| self.take(t, slot)).collect();
        let aside: Vec<PaneNo> = self.aside_of(slot, through).collect();
        for number in aside {
            self.count -= 1;
            all.extend(self.aside.remove(&(slot as u32, number)));
        }
        all.sort_by_key(|(pane, _)| pane.number);
        all.into_iter().for_each(closed);
    }

    fn take(&mut self, table: usize, slot: usize) -> Sketched {
        self.count -= 1;
        let table = &mut self.tables[table];
        let pane = std::mem::replace(&mut table.panes[slot], Pane::VACANT);
        (pane, table.sketches.get_mut(slot).and_then(Option::take))
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
