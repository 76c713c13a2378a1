//! What a group's panes come to, as a difference: it can be added to and taken from exactly.

use super::exact::ExactSum;
use crate::series::PaneRecord;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts, an exact sum and sketch buckets of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Total {
    /// Panes, which is to say devices.
    pub devices: i64,
    /// Valid readings.
    pub count: i64,
    /// NaN and infinite readings.
    pub invalid: i64,
    /// Panes whose sum has overflowed to infinity, which enter no exact sum.
    pub over: i64,
    /// Panes whose sum has overflowed to minus infinity, which enter none either.
    pub under: i64,
    /// The sum of the panes' sums.
    pub sum: ExactSum,
    /// Readings by sketch bucket, none of them 0.
    pub buckets: BTreeMap<i32, i64>,
}

impl Total {
    /// The total of one pane.
    pub fn of(record: &PaneRecord) -> Total {
        let sum = record.pane.sum;
        Total {
            devices: 1,
            count: i64::from(record.pane.count),
            invalid: i64::from(record.pane.invalid),
            over: i64::from(sum == f64::INFINITY),
            under: i64::from(sum == f64::NEG_INFINITY),
            sum: if sum.is_finite() {
                ExactSum::of(sum)
            } else {
                ExactSum::default()
            },
            buckets: record
                .buckets
                .iter()
                .map(|(number, count)| (*number, i64::from(*count)))
                .collect(),
        }
    }
}

impl IsZero for Total {
    fn is_zero(&self) -> bool {
        *self == Total::default()
    }
}

impl Semigroup for Total {
    fn plus_equals(&mut self, other: &Total) {
        self.devices += other.devices;
        self.count += other.count;
        self.invalid += other.invalid;
        self.over += other.over;
        self.under += other.under;
        self.sum.add(&other.sum);
        for (number, count) in &other.buckets {
            let own = self.buckets.entry(*number).or_default();
            *own += count;
            if *own == 0 {
                self.buckets.remove(number);
            }
        }
    }
}

impl Monoid for Total {
    fn zero() -> Total {
        Total::default()
    }
}

impl Abelian for Total {
    fn negate(&mut self) {
        self.devices = -self.devices;
        self.count = -self.count;
        self.invalid = -self.invalid;
        self.over = -self.over;
        self.under = -self.under;
        self.sum.negate();
        self.buckets.values_mut().for_each(|count| *count = -*count);
    }
}

impl Multiply<isize> for Total {
    type Output = Total;

    fn multiply(self, by: &isize) -> Total {
        let mut unit = self;
        if *by < 0 {
            unit.negate();
        }
        let mut product = Total::default();
        (0..by.unsigned_abs()).for_each(|_| product.plus_equals(&unit));
        product
    }
}
