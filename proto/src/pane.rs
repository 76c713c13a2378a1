//! A pane: the aggregate of one series over one minute of event time, in one cache line.

use crate::time::{EventTime, PaneNo};
use serde::{Deserialize, Serialize};

/// What the readings of one series in one minute come to. All of it follows the log's order, so it is
/// bit-identical however the log was read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct Pane {
    /// The sum of the valid values, added in the order of the log.
    pub sum: f64,
    /// The sum of squares about the running mean, after Youngs and Cramer.
    pub squares: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The value of the earliest event time; of several, the first in the log.
    pub first: f64,
    /// The value of the latest event time; of several, the last in the log.
    pub last: f64,
    /// Which minute.
    pub number: PaneNo,
    /// Valid readings.
    pub count: u32,
    /// NaN and infinite readings.
    pub invalid: u32,
    /// The event time of `first`, in milliseconds within the pane.
    pub first_at: u16,
    /// The event time of `last`, in milliseconds within the pane.
    pub last_at: u16,
}

const _: () = assert!(size_of::<Pane>() == 64);

impl Pane {
    /// A slot that holds no pane.
    pub const VACANT: Pane = Pane::empty(PaneNo::NONE);

    /// A pane without readings.
    pub const fn empty(number: PaneNo) -> Pane {
        Pane {
            sum: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: 0.0,
            last: 0.0,
            number,
            count: 0,
            invalid: 0,
            first_at: u16::MAX,
            last_at: 0,
        }
    }

    /// Whether the slot holds no pane.
    pub fn is_vacant(&self) -> bool {
        self.number == PaneNo::NONE
    }

    /// Valid and invalid readings: it grows with every reading that the pane takes.
    pub fn readings(&self) -> u64 {
        u64::from(self.count) + u64::from(self.invalid)
    }

    /// Takes a reading whose event time lies in this pane.
    #[inline]
    pub fn add(&mut self, at: EventTime, value: f64) {
        if !value.is_finite() {
            self.invalid += 1;
            return;
        }
        let value = value + 0.0; // -0 becomes 0
        let at = (at.0 - self.number.start().0) as u16;
        self.count += 1;
        self.sum += value;
        if self.count > 1 {
            self.squares += square_step(f64::from(self.count), value, self.sum);
        }
        self.min = if value < self.min { value } else { self.min };
        self.max = if value > self.max { value } else { self.max };
        if at < self.first_at || self.count == 1 {
            (self.first, self.first_at) = (value, at);
        }
        if at >= self.last_at {
            (self.last, self.last_at) = (value, at);
        }
    }
}

/// What the `n`th value adds to the squares about the mean, when `sum` already holds it.
#[inline]
pub fn square_step(n: f64, value: f64, sum: f64) -> f64 {
    let t = n * value - sum;
    t * t / (n * (n - 1.0))
}
