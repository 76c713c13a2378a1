//! What a group's panes come to: it can be added to and taken from exactly.

use super::exact::ExactSum;
use crate::series::PaneRecord;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidewatch_proto::sketch::Bucket;

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
    /// Adds a pane and its buckets so many times; takes it away when that is negative.
    pub fn add_pane(&mut self, pane: &PaneRecord, buckets: &[Bucket], times: i64) {
        self.devices += times;
        self.count += times * i64::from(pane.count);
        self.invalid += times * i64::from(pane.invalid);
        self.over += times * i64::from(pane.sum == f64::INFINITY);
        self.under += times * i64::from(pane.sum == f64::NEG_INFINITY);
        if pane.sum.is_finite() {
            let sum = if times < 0 { -pane.sum } else { pane.sum };
            (0..times.unsigned_abs()).for_each(|_| self.sum.add_number(sum));
        }
        for (number, count) in buckets {
            self.add_bucket(*number, times * i64::from(*count));
        }
    }

    /// Adds another total.
    pub fn add(&mut self, other: &Total) {
        self.devices += other.devices;
        self.count += other.count;
        self.invalid += other.invalid;
        self.over += other.over;
        self.under += other.under;
        self.sum.add(&other.sum);
        for (number, count) in &other.buckets {
            self.add_bucket(*number, *count);
        }
    }

    fn add_bucket(&mut self, number: i32, count: i64) {
        let own = self.buckets.entry(number).or_default();
        *own += count;
        if *own == 0 {
            self.buckets.remove(&number);
        }
    }

    /// Whether it is that of no pane.
    pub fn is_nothing(&self) -> bool {
        *self == Total::default()
    }
}
