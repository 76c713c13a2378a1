//! One-hour windows: an accumulator of its own for each series, since an hour outlives its panes.

use crate::config::HOUR_PANES;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tidewatch_proto::aggregate::Aggregate;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::{EventTime, PaneNo};

/// What closed panes and late readings of one series have brought to an hour, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct HourWindow {
    /// The aggregate.
    pub aggregate: Aggregate,
    /// The values counted so far; empty when quantiles are off.
    sketch: Sketch,
    /// Whether a row was published.
    pub published: bool,
    /// Values that no bucket has counted yet. An hour's buckets are seldom in the cache, so many values are
    /// counted at once.
    #[serde(skip)]
    waiting: Vec<f64>,
}

/// How many values wait at most.
const WAITING_MAX: usize = 64;

impl HourWindow {
    /// The sketch of all values.
    pub fn sketch(&self) -> Cow<'_, Sketch> {
        if self.waiting.is_empty() {
            return Cow::Borrowed(&self.sketch);
        }
        let mut sketch = self.sketch.clone();
        self.waiting.iter().for_each(|value| sketch.add(*value));
        Cow::Owned(sketch)
    }

    /// Counts values, which are neither NaN nor infinite.
    fn count(&mut self, values: &[f64]) {
        if self.sketch.values().is_some() {
            values.iter().for_each(|value| self.sketch.add(*value));
            return;
        }
        if self.waiting.len() + values.len() > WAITING_MAX {
            self.waiting.drain(..).for_each(|value| self.sketch.add(value));
        }
        self.waiting.reserve_exact(WAITING_MAX - self.waiting.len());
        self.waiting.extend_from_slice(values);
    }

    fn count_pane(&mut self, pane: &Pane, own: Option<&Sketch>) {
        match (pane.count, own) {
            (0, _) => {}
            (1, _) => self.count(&[pane.min]),
            (2, _) => self.count(&[pane.min, pane.max]),
            (_, Some(own)) => match own.values() {
                Some(values) => self.count(values),
                None => self.sketch.merge(own),
            },
            (_, None) => {}
        }
    }
}

impl Serialize for HourWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.aggregate, self.sketch(), self.published).serialize(serializer)
    }
}

/// The hours in memory, by number and slot.
#[derive(Debug, Default)]
pub struct Hours {
    hours: BTreeMap<i32, Hour>,
}

#[derive(Debug, Default)]
struct Hour {
    windows: Vec<Option<Box<HourWindow>>>,
    used: usize,
}

/// The hour that a pane lies in.
pub fn hour_of(pane: PaneNo) -> i32 {
    pane.0.div_euclid(HOUR_PANES)
}

/// The first pane of an hour.
pub fn first_pane(hour: i32) -> PaneNo {
    PaneNo(hour.saturating_mul(HOUR_PANES))
}

/// The last pane of an hour.
pub fn last_pane(hour: i32) -> PaneNo {
    first_pane(hour).plus(HOUR_PANES - 1)
}

impl Hours {
    /// The window of a slot, which is made when it isn't there.
    pub fn window(&mut self, hour: i32, slot: usize) -> &mut HourWindow {
        let hour = self.hours.entry(hour).or_default();
        if hour.windows.len() <= slot {
            hour.windows.resize_with((slot + 1).next_multiple_of(256), || None);
        }
        let window = &mut hour.windows[slot];
        hour.used += usize::from(window.is_none());
        window.get_or_insert_default()
    }

    /// Takes a pane when it closes.
    pub fn add_pane(&mut self, slot: usize, pane: &Pane, sketch: Option<&Sketch>, quantiles: bool) {
        let window = self.window(hour_of(pane.number), slot);
        window.aggregate.merge(pane);
        if quantiles {
            window.count_pane(pane, sketch);
        }
    }

    /// Takes a reading that came after its pane closed.
    pub fn add_reading(&mut self, slot: usize, at: EventTime, value: f64, quantiles: bool) {
        let window = self.window(hour_of(PaneNo::of(at)), slot);
        window.aggregate.add(at, value);
        if quantiles && value.is_finite() {
            window.count(&[value + 0.0]);
        }
    }

    /// Says that no row of a window was published, if there is one.
    pub fn unpublish(&mut self, hour: i32, slot: usize) {
        let windows = self.hours.get_mut(&hour).map(|hour| &mut hour.windows);
        if let Some(window) = windows.and_then(|windows| windows.get_mut(slot)?.as_mut()) {
            window.published = false;
        }
    }

    /// The window of a slot, if it has anything.
    pub fn get(&self, hour: i32, slot: usize) -> Option<&HourWindow> {
        self.hours.get(&hour)?.windows.get(slot)?.as_deref()
    }

    /// The hours in memory.
    pub fn numbers(&self) -> Vec<i32> {
        self.hours.keys().copied().collect()
    }

    /// Forgets the windows of these slots in all hours whose last pane is not after `expired`.
    pub fn expire<I: Iterator<Item = usize>>(&mut self, expired: PaneNo, slots: impl Fn() -> I) {
        self.hours.retain(|number, hour| {
            if last_pane(*number) <= expired {
                for slot in slots() {
                    if hour.windows.get_mut(slot).is_some_and(|window| window.take().is_some()) {
                        hour.used -= 1;
                    }
                }
            }
            hour.used > 0
        });
    }
}
