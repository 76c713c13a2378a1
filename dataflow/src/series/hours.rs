//! One-hour windows: an accumulator of its own for each series, since an hour outlives its panes.

use crate::config::HOUR_PANES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidewatch_proto::aggregate::{Aggregate, add_pane_to};
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::{EventTime, PaneNo};

/// What closed panes and late readings of one series have brought to an hour, in the order they came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HourWindow {
    /// The aggregate.
    pub aggregate: Aggregate,
    /// The sketch; empty when quantiles are off.
    pub sketch: Sketch,
    /// Whether a row was published.
    pub published: bool,
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
            add_pane_to(&mut window.sketch, pane, sketch);
        }
    }

    /// Takes a reading that came after its pane closed.
    pub fn add_reading(&mut self, slot: usize, at: EventTime, value: f64, quantiles: bool) {
        let window = self.window(hour_of(PaneNo::of(at)), slot);
        window.aggregate.add(at, value);
        if quantiles && value.is_finite() {
            window.sketch.add(value + 0.0);
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
