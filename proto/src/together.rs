//! Values of several sketches for their quantiles alone, which is cheaper than a sketch of all of them.

use crate::pane::Pane;
use crate::row::Quantiles;
use crate::sketch::{Bucket, RAW_MAX, Sketch, bucket, bucket_quantiles, raw_quantiles};

/// Values of several sketches, put together for their quantiles alone: the same answer as by [`Sketch::merge`], without
/// a sketch of all of them.
#[derive(Clone, Debug, Default)]
pub struct Together {
    values: Vec<f64>,
    /// Buckets of the sketches that have no values any more, in no order.
    buckets: Vec<Bucket>,
    /// How many values fell into each bucket, from that of the least value on.
    counts: Vec<u32>,
}

/// Beyond so many buckets between the least and the greatest value, buckets are sorted instead of counted.
const SPREAD_MAX: usize = 1_024;

impl Together {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.values.clear();
        self.buckets.clear();
    }

    /// Takes all that a sketch holds.
    pub fn add(&mut self, sketch: &Sketch) {
        match sketch {
            Sketch::Raw { len, values } => self.values.extend_from_slice(&values[..usize::from(*len)]),
            Sketch::Buckets(buckets) => self.buckets.extend_from_slice(buckets),
        }
    }

    /// Takes values, which are neither NaN nor infinite.
    #[inline]
    pub fn add_values(&mut self, values: impl IntoIterator<Item = f64>) {
        self.values.extend(values);
    }

    /// Takes the values of a pane: of one or two readings its bounds, otherwise what its sketch holds.
    pub fn add_pane(&mut self, pane: &Pane, own: Option<&Sketch>) {
        match (pane.count, own) {
            (0, _) => {}
            (1, _) => self.add_values([pane.min]),
            (2, _) => self.add_values([pane.min, pane.max]),
            (_, Some(own)) => self.add(own),
            (_, None) => {}
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.values.len() as u64 + self.buckets.iter().map(|(_, count)| u64::from(*count)).sum::<u64>()
    }

    /// p50, p95 and p99 by nearest rank of values that lie from `min` to `max`; `None` of nothing.
    pub fn quantiles(&mut self, min: f64, max: f64) -> Option<Quantiles> {
        if self.buckets.is_empty() && self.values.len() <= RAW_MAX {
            self.values.sort_unstable_by(f64::total_cmp);
            return raw_quantiles(&self.values);
        }
        let least = bucket(min);
        let spread = bucket(max).abs_diff(least) as usize + 1;
        if spread > SPREAD_MAX {
            self.buckets
                .extend(self.values.drain(..).map(|value| (bucket(value), 1)));
            self.buckets.sort_unstable();
            return bucket_quantiles(self.buckets.iter().map(|(b, n)| (*b, u64::from(*n))), min, max);
        }
        self.counts.clear();
        self.counts.resize(spread, 0);
        let place = |number: i32| (number.abs_diff(least) as usize).min(spread - 1);
        for value in &self.values {
            self.counts[place(bucket(*value))] += 1;
        }
        for (number, count) in &self.buckets {
            let counted = &mut self.counts[place(*number)];
            *counted = counted.saturating_add(*count);
        }
        let buckets = (least..).zip(&self.counts).filter(|(_, count)| **count > 0);
        bucket_quantiles(buckets.map(|(b, n)| (b, u64::from(*n))), min, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn together_is_what_merging_gives(
            parts in prop::collection::vec(prop::collection::vec(prop_oneof![3 => 10.0..90.0f64, 1 => -1e9..1e9f64], 1..30), 1..6),
            narrow in any::<bool>()
        ) {
            let parts: Vec<Vec<f64>> = match narrow {
                true => parts.into_iter().map(|part| part.into_iter().map(|value| value.clamp(10.0, 90.0)).collect()).collect(),
                false => parts,
            };
            let all: Vec<f64> = parts.concat();
            let (min, max) = (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            let (mut together, mut merged) = (Together::default(), Sketch::default());
            together.add_values([1.0]);
            together.clear();
            for part in &parts {
                together.add(&Sketch::of(part));
                merged.merge(&Sketch::of(part));
            }
            prop_assert_eq!(together.count(), merged.count());
            prop_assert_eq!(together.quantiles(min, max), merged.quantiles(min, max));
            // What was put together may be asked again.
            prop_assert_eq!(together.quantiles(min, max), merged.quantiles(min, max));
        }
    }
}
