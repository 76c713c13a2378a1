//! The aggregate of a window: panes and single readings put together, in order.

use crate::pane::{Pane, square_step};
use crate::row::{Quantiles, Values};
use crate::sketch::Sketch;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// What a window of one series holds. Merging follows the order of the calls, which is that of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Valid readings.
    pub count: u64,
    /// NaN and infinite readings.
    pub invalid: u64,
    /// The sum.
    pub sum: f64,
    /// The sum of squares about the mean.
    pub squares: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The value of the earliest event time, and that time.
    pub first: (EventTime, f64),
    /// The value of the latest event time, and that time.
    pub last: (EventTime, f64),
}

impl Default for Aggregate {
    fn default() -> Aggregate {
        Aggregate {
            count: 0,
            invalid: 0,
            sum: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            first: (EventTime(i64::MAX), 0.0),
            last: (EventTime(i64::MIN), 0.0),
        }
    }
}

impl Aggregate {
    /// The aggregate of one pane.
    pub fn of(pane: &Pane) -> Aggregate {
        let mut aggregate = Aggregate::default();
        aggregate.merge(pane);
        aggregate
    }

    /// Valid and invalid readings.
    pub fn readings(&self) -> u64 {
        self.count + self.invalid
    }

    /// Takes all of a pane.
    pub fn merge(&mut self, pane: &Pane) {
        self.invalid += u64::from(pane.invalid);
        if pane.count == 0 {
            return;
        }
        let start = pane.number.start().0;
        self.sums(u64::from(pane.count), pane.sum, pane.squares);
        self.bounds(pane.min, pane.max);
        self.begins((EventTime(start + i64::from(pane.first_at)), pane.first));
        self.ends((EventTime(start + i64::from(pane.last_at)), pane.last));
    }

    /// Takes all of another window.
    pub fn combine(&mut self, other: &Aggregate) {
        self.invalid += other.invalid;
        if other.count == 0 {
            return;
        }
        self.sums(other.count, other.sum, other.squares);
        self.bounds(other.min, other.max);
        self.begins(other.first);
        self.ends(other.last);
    }

    #[inline]
    fn sums(&mut self, count: u64, sum: f64, squares: f64) {
        let (a, b) = (self.count as f64, count as f64);
        self.squares = match self.count {
            0 => squares,
            _ => {
                let apart = sum / b - self.sum / a;
                self.squares + squares + apart * apart * (a * b / (a + b))
            }
        };
        self.count += count;
        self.sum += sum;
    }

    /// Takes one reading.
    pub fn add(&mut self, at: EventTime, value: f64) {
        if !value.is_finite() {
            self.invalid += 1;
            return;
        }
        let value = value + 0.0; // -0 becomes 0
        self.count += 1;
        self.sum += value;
        if self.count > 1 {
            self.squares += square_step(self.count as f64, value, self.sum);
        }
        self.bounds(value, value);
        self.begins((at, value));
        self.ends((at, value));
    }

    fn bounds(&mut self, min: f64, max: f64) {
        self.min = if min < self.min { min } else { self.min };
        self.max = if max > self.max { max } else { self.max };
    }

    fn begins(&mut self, first: (EventTime, f64)) {
        if first.0 < self.first.0 {
            self.first = first;
        }
    }

    fn ends(&mut self, last: (EventTime, f64)) {
        if last.0 >= self.last.0 {
            self.last = last;
        }
    }

    /// The row's values.
    pub fn values(&self, quantiles: Option<Quantiles>) -> Values {
        let some = |value: f64| (self.count > 0).then_some(value);
        let n = self.count as f64;
        let stddev = (self.count > 1)
            .then(|| (self.squares / (n - 1.0)).sqrt())
            .filter(|s| !s.is_nan());
        Values {
            count: self.count,
            invalid_count: self.invalid,
            devices: 1,
            sum: if self.sum.is_nan() { f64::NAN } else { self.sum },
            min: some(self.min),
            max: some(self.max),
            first: some(self.first.1),
            last: some(self.last.1),
            mean: some(self.sum / n).filter(|m| !m.is_nan()),
            stddev,
            quantiles,
        }
    }
}

/// The quantiles of a pane: of one or two readings from its bounds, otherwise from its sketch.
pub fn add_pane_to(sketch: &mut Sketch, pane: &Pane, own: Option<&Sketch>) {
    match (pane.count, own) {
        (0, _) => {}
        (1, _) => sketch.add(pane.min),
        (2, _) => {
            sketch.merge(&Sketch::of(&[pane.min, pane.max]));
        }
        (_, Some(own)) => sketch.merge(own),
        (_, None) => {}
    }
}

/// The quantiles of one pane; `None` without valid readings, or when its sketch lacks some.
pub fn pane_quantiles(pane: &Pane, own: Option<&Sketch>) -> Option<Quantiles> {
    match (pane.count, own) {
        (0, _) => None,
        (1 | 2, _) => Some(Quantiles {
            p50: pane.min,
            p95: pane.max,
            p99: pane.max,
        }),
        (count, Some(own)) if own.count() == u64::from(count) => own.quantiles(pane.min, pane.max),
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::PaneNo;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_panes_agree_with_the_textbook(
            readings in prop::collection::vec((0i64..180_000, -1e6..1e6f64), 1..100)
        ) {
            let mut panes: std::collections::BTreeMap<PaneNo, Pane> = Default::default();
            for (at, value) in &readings {
                let number = PaneNo::of(EventTime(*at));
                panes.entry(number).or_insert(Pane::empty(number)).add(EventTime(*at), *value);
            }
            let mut whole = Aggregate::default();
            for pane in panes.values() {
                whole.merge(pane);
            }
            let n = readings.len() as f64;
            let mean = readings.iter().map(|r| r.1).sum::<f64>() / n;
            let squares = readings.iter().map(|r| (r.1 - mean).powi(2)).sum::<f64>();
            prop_assert_eq!(whole.count, readings.len() as u64);
            prop_assert!((whole.squares - squares).abs() <= 1e-9 * (1.0 + squares + mean * mean));
            let mut by_time = readings.clone();
            by_time.sort_by_key(|r| r.0);
            let earliest = by_time[0].0;
            let first = readings.iter().find(|r| r.0 == earliest).expect("there");
            prop_assert_eq!(whole.first, (EventTime(first.0), first.1));
            prop_assert_eq!(whole.last.1, by_time[by_time.len() - 1].1);
        }
    }

    proptest! {
        #[test]
        fn a_panes_quantiles_are_those_of_a_window_of_it(values in prop::collection::vec(-1e6..1e6f64, 0..40)) {
            let mut pane = Pane::empty(PaneNo(0));
            values.iter().for_each(|value| pane.add(EventTime(0), *value));
            let mut own = Sketch::default();
            values.iter().for_each(|value| own.add(*value + 0.0));
            let own = (values.len() > 2).then_some(&own);
            let mut sketch = Sketch::default();
            add_pane_to(&mut sketch, &pane, own);
            prop_assert_eq!(pane_quantiles(&pane, own), sketch.quantiles(pane.min, pane.max));
        }
    }

    #[test]
    fn invalid_readings_are_counted_and_nothing_else() {
        let mut pane = Pane::empty(PaneNo(0));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0] {
            pane.add(EventTime(5), value);
        }
        assert_eq!((pane.count, pane.invalid), (1, 3));
        assert!(pane.min.is_sign_positive() && pane.first.is_sign_positive());
        let values = Aggregate::of(&pane).values(None);
        assert_eq!((values.mean, values.stddev, values.invalid_count), (Some(0.0), None, 3));
    }
}
