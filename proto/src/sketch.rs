//! A mergeable quantile sketch: the readings themselves while they are few, then log buckets.
//!
//! Up to [`RAW_MAX`] values are kept as they are and quantiles are exact. Beyond that a value is counted in
//! the bucket of its sign, exponent and five leading mantissa bits, so that a quantile is within
//! [`RELATIVE_ERROR`] of a value of that rank (of normal numbers). What a sketch holds depends on the
//! multiset of values alone: not on their order, nor on how they came together.

use crate::row::Quantiles;
use serde::{Deserialize, Serialize, Serializer};

/// How many values a sketch keeps as they are.
pub const RAW_MAX: usize = 16;
/// The greatest relative error of a quantile from buckets.
pub const RELATIVE_ERROR: f64 = 1.0 / 64.0;
/// Mantissa bits that tell buckets of one exponent apart.
const MANTISSA_BITS: u32 = 5;

/// A bucket's number and how many values fell into it.
pub type Bucket = (i32, u32);

/// The values of a window, as far as quantiles need them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Form<Vec<f64>, Vec<Bucket>>")]
pub enum Sketch {
    /// The values, in no order: the first `len` of them.
    Raw {
        /// How many there are.
        len: u8,
        /// The values.
        values: [f64; RAW_MAX],
    },
    /// Buckets sorted by number, none of them empty.
    Buckets(Vec<Bucket>),
}

/// A sketch as it is written: no more values than there are.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Sketch")]
enum Form<V, B> {
    Raw(V),
    Buckets(B),
}

impl Serialize for Sketch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Sketch::Raw { len, values } => Form::Raw(&values[..usize::from(*len)]),
            Sketch::Buckets(buckets) => Form::Buckets(buckets),
        }
        .serialize(serializer)
    }
}

impl TryFrom<Form<Vec<f64>, Vec<Bucket>>> for Sketch {
    type Error = String;

    fn try_from(form: Form<Vec<f64>, Vec<Bucket>>) -> Result<Sketch, String> {
        match form {
            Form::Raw(values) if values.len() > RAW_MAX => Err(format!("a sketch of {} values", values.len())),
            Form::Raw(values) => Ok(Sketch::of(&values)),
            Form::Buckets(buckets) => Ok(Sketch::Buckets(buckets)),
        }
    }
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch::Raw {
            len: 0,
            values: [0.0; RAW_MAX],
        }
    }
}

impl Sketch {
    /// A sketch of a few values; at most [`RAW_MAX`].
    pub fn of(few: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in few {
            sketch.add(*value);
        }
        sketch
    }

    /// A sketch of a few values, as far as they are not more than [`RAW_MAX`].
    pub fn of_few(few: impl Iterator<Item = f64>) -> Sketch {
        let (mut values, mut len) = ([0.0; RAW_MAX], 0);
        for (place, value) in values.iter_mut().zip(few) {
            *place = value;
            len += 1;
        }
        Sketch::Raw { len, values }
    }

    /// The values, as long as they are kept.
    pub fn values(&self) -> Option<&[f64]> {
        match self {
            Sketch::Raw { len, values } => Some(&values[..usize::from(*len)]),
            Sketch::Buckets(_) => None,
        }
    }

    /// Counts a value, which is neither NaN nor infinite.
    #[inline]
    pub fn add(&mut self, value: f64) {
        match self {
            Sketch::Raw { len, values } if usize::from(*len) < RAW_MAX => {
                values[usize::from(*len)] = value;
                *len += 1;
            }
            Sketch::Raw { .. } => {
                self.promote();
                self.add(value);
            }
            Sketch::Buckets(buckets) => add_bucket(buckets, (bucket(value), 1)),
        }
    }

    /// Counts all that another sketch holds.
    pub fn merge(&mut self, other: &Sketch) {
        match other {
            Sketch::Raw { len, values } => {
                if let Sketch::Raw { len: own, .. } = self
                    && usize::from(*own) + usize::from(*len) > RAW_MAX
                {
                    self.promote();
                }
                for value in &values[..usize::from(*len)] {
                    self.add(*value);
                }
            }
            Sketch::Buckets(theirs) => {
                self.promote();
                if let Sketch::Buckets(own) = self {
                    *own = merged(own, theirs);
                }
            }
        }
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        match self {
            Sketch::Raw { len, .. } => u64::from(*len),
            Sketch::Buckets(buckets) => buckets.iter().map(|b| u64::from(b.1)).sum(),
        }
    }

    /// What the sketch takes in memory.
    pub fn bytes(&self) -> usize {
        let aside = match self {
            Sketch::Raw { .. } => 0,
            Sketch::Buckets(buckets) => buckets.capacity() * size_of::<Bucket>(),
        };
        size_of::<Sketch>() + aside
    }

    /// The sketch as buckets, whatever it holds: what sketches across series are made of.
    pub fn buckets(&self) -> Vec<Bucket> {
        match self {
            Sketch::Buckets(buckets) => buckets.clone(),
            Sketch::Raw { len, values } => {
                let mut buckets = Vec::new();
                for value in &values[..usize::from(*len)] {
                    add_bucket(&mut buckets, (bucket(*value), 1));
                }
                buckets
            }
        }
    }

    fn promote(&mut self) {
        if let Sketch::Raw { .. } = self {
            *self = Sketch::Buckets(self.buckets());
        }
    }

    /// p50, p95 and p99 by nearest rank, never outside of `min` and `max`; `None` of nothing.
    pub fn quantiles(&self, min: f64, max: f64) -> Option<Quantiles> {
        match self {
            Sketch::Raw { len, values } => {
                let mut sorted = *values;
                let sorted = &mut sorted[..usize::from(*len)];
                sorted.sort_unstable_by(f64::total_cmp);
                raw_quantiles(sorted)
            }
            Sketch::Buckets(buckets) => bucket_quantiles(buckets.iter().map(|(b, n)| (*b, u64::from(*n))), min, max),
        }
    }
}

/// p50, p95 and p99 of a few sorted values.
pub(crate) fn raw_quantiles(sorted: &[f64]) -> Option<Quantiles> {
    let at = |q| sorted[nearest_rank(q, sorted.len() as u64) as usize - 1];
    (!sorted.is_empty()).then(|| Quantiles {
        p50: at(0.50),
        p95: at(0.95),
        p99: at(0.99),
    })
}

/// p50, p95 and p99 of buckets in ascending order, clamped to `min` and `max`; `None` of nothing.
pub fn bucket_quantiles(buckets: impl Iterator<Item = (i32, u64)> + Clone, min: f64, max: f64) -> Option<Quantiles> {
    let total: u64 = buckets.clone().map(|(_, count)| count).sum();
    if total == 0 {
        return None;
    }
    let mut found = [max; 3];
    let ranks = [0.50, 0.95, 0.99].map(|quantile| nearest_rank(quantile, total));
    let (mut seen, mut next) = (0, 0);
    for (number, count) in buckets {
        seen += count;
        while next < ranks.len() && seen >= ranks[next] {
            found[next] = bucket_value(number).clamp(min, max);
            next += 1;
        }
    }
    let [p50, p95, p99] = found;
    Some(Quantiles { p50, p95, p99 })
}

/// The 1-based rank of a quantile among `total` values.
pub fn nearest_rank(quantile: f64, total: u64) -> u64 {
    ((quantile * total as f64).ceil() as u64).clamp(1, total)
}

/// The bucket a value falls into: 0 for zero, odd under negation, ascending with the value.
#[inline]
pub fn bucket(value: f64) -> i32 {
    let bits = value.to_bits();
    let magnitude = ((bits & !(1 << 63)) >> (52 - MANTISSA_BITS)) as i32 + i32::from(value != 0.0);
    if bits >> 63 == 0 { magnitude } else { -magnitude }
}

/// The value that stands for a bucket: the middle of its range.
pub fn bucket_value(number: i32) -> f64 {
    if number == 0 {
        return 0.0;
    }
    let shift = 52 - MANTISSA_BITS;
    let bits = (u64::from(number.unsigned_abs() - 1) << shift) | (1 << (shift - 1));
    if number > 0 {
        f64::from_bits(bits)
    } else {
        -f64::from_bits(bits)
    }
}

#[inline]
fn add_bucket(buckets: &mut Vec<Bucket>, (number, count): Bucket) {
    // Of many values the buckets lie next to each other.
    let first = buckets.first().map_or(number, |first| first.0);
    let guess = number.wrapping_sub(first) as usize;
    if let Some(found) = buckets.get_mut(guess).filter(|found| found.0 == number) {
        found.1 = found.1.saturating_add(count);
        return;
    }
    match buckets.binary_search_by_key(&number, |b| b.0) {
        Ok(at) => buckets[at].1 = buckets[at].1.saturating_add(count),
        Err(at) => buckets.insert(at, (number, count)),
    }
}

fn merged(a: &[Bucket], b: &[Bucket]) -> Vec<Bucket> {
    let mut all = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match a[i].0.cmp(&b[j].0) {
            std::cmp::Ordering::Less => {
                all.push(a[i]);
                i += 1;
            }
            std::cmp::Ordering::Greater => {
                all.push(b[j]);
                j += 1;
            }
            std::cmp::Ordering::Equal => {
                all.push((a[i].0, a[i].1.saturating_add(b[j].1)));
                i += 1;
                j += 1;
            }
        }
    }
    all.extend_from_slice(&a[i..]);
    all.extend_from_slice(&b[j..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(values: &[f64], q: f64) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[nearest_rank(q, sorted.len() as u64) as usize - 1]
    }

    proptest! {
        #[test]
        fn quantiles_are_within_the_stated_error(values in prop::collection::vec(-1e9..1e9f64, 1..300)) {
            let sketch = Sketch::of(&values);
            let (min, max) = (exact(&values, 0.0), exact(&values, 1.0));
            let found = sketch.quantiles(min, max).expect("values");
            for (q, got) in [(0.50, found.p50), (0.95, found.p95), (0.99, found.p99)] {
                let want = exact(&values, q);
                let error_max = if values.len() <= RAW_MAX { 0.0 } else { RELATIVE_ERROR };
                prop_assert!((got - want).abs() <= error_max * want.abs(), "{q}: {got} for {want}");
            }
        }

        #[test]
        fn a_sketch_is_a_function_of_the_multiset(
            values in prop::collection::vec(-1e9..1e9f64, 0..60), cuts in prop::collection::vec(1usize..20, 60)
        ) {
            let mut merged = Sketch::default();
            let mut rest = values.as_slice();
            for cut in cuts {
                let (part, later) = rest.split_at(cut.min(rest.len()));
                merged.merge(&Sketch::of(part));
                rest = later;
            }
            prop_assert_eq!(merged.quantiles(-1e9, 1e9), Sketch::of(&values).quantiles(-1e9, 1e9));
            prop_assert_eq!(merged.buckets(), Sketch::of(&values).buckets());
        }
    }

    #[test]
    fn buckets_ascend_with_values_and_round_trip() {
        let values = [-1e300, -2.0, -1.0, -1e-300, 0.0, 1e-300, 0.5, 1.0, 1.5, 2.0, 1e300];
        let buckets: Vec<i32> = values.iter().map(|v| bucket(*v)).collect();
        assert!(buckets.is_sorted() && buckets.windows(2).all(|w| w[0] != w[1]));
        for value in values {
            assert_eq!(bucket(bucket_value(bucket(value))), bucket(value));
        }
        assert_eq!(bucket(-0.0), 0);
    }
}
