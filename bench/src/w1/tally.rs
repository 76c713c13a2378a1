//! What a system under test says about its answer: rows, readings and a hash, independent of the order of rows.

use super::{FLAKY_EVERY, WINDOW_MS};
use std::fmt;
use std::ops::AddAssign;

/// The modulus of the row hash.
const PRIME: i64 = 1_000_000_007;

/// The aggregates of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Readings in the window.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Figures {
    /// Of no readings.
    pub const EMPTY: Self = Self {
        count: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
    };

    /// Takes a reading.
    #[inline]
    pub fn take(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }
}

/// What is known of a set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Readings in all rows.
    pub count: u64,
    /// Sum of the hashes of all rows.
    pub hash: i64,
}

impl Tally {
    /// Counts a row that has no predecessor. `number` is that of a device or site, `metric` an index into
    /// [`METRICS`](super::METRICS), the window's start is in milliseconds since the epoch.
    pub fn add(&mut self, number: u32, metric: usize, window_start_ms: i64, figures: Figures) {
        self.rows += 1;
        self.count += figures.count;
        self.hash += row_hash(number, metric, window_start_ms, figures);
    }

    /// Uncounts a row that was counted with exactly these figures.
    pub fn remove(&mut self, number: u32, metric: usize, window_start_ms: i64, figures: Figures) {
        self.rows -= 1;
        self.count -= figures.count;
        self.hash -= row_hash(number, metric, window_start_ms, figures);
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.count += other.count;
        self.hash += other.hash;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows={} count={} hash={}", self.rows, self.count, self.hash)
    }
}

/// The tallies of a whole answer; each worker keeps its own, and they are added up at the end.
///
/// A row that corrects an earlier one counts once:
///
/// ```
/// use tidewatch_bench::w1::tally::{Figures, Tallies};
///
/// let early = Figures { count: 1, sum: 2.5, min: 2.5, max: 2.5 };
/// let late = Figures { count: 2, sum: 4.0, min: 1.5, max: 2.5 };
/// let (mut corrected, mut once) = (Tallies::default(), Tallies::default());
/// corrected.add(97, 0, 60_000, early);
/// corrected.replace(97, 0, 60_000, early, late);
/// once.add(97, 0, 60_000, late);
/// assert_eq!(corrected, once);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Rows of devices that never send late messages.
    pub steady: Tally,
    /// Rows of those that do.
    pub flaky: Tally,
}

impl Tallies {
    /// Counts a row that has no predecessor. `metric` is an index into [`METRICS`](super::METRICS), the window's
    /// start is in milliseconds since the epoch.
    pub fn add(&mut self, device: u32, metric: usize, window_start_ms: i64, figures: Figures) {
        self.group(device).add(device, metric, window_start_ms, figures);
    }

    /// Uncounts a row that was counted with exactly these figures.
    pub fn remove(&mut self, device: u32, metric: usize, window_start_ms: i64, figures: Figures) {
        self.group(device).remove(device, metric, window_start_ms, figures);
    }

    /// Counts a row in place of the one counted before for the same device, metric and window.
    pub fn replace(&mut self, device: u32, metric: usize, window_start_ms: i64, old: Figures, new: Figures) {
        self.remove(device, metric, window_start_ms, old);
        self.add(device, metric, window_start_ms, new);
    }

    /// The tally that a device's rows are counted in.
    pub fn group(&mut self, device: u32) -> &mut Tally {
        if device.is_multiple_of(FLAKY_EVERY) {
            &mut self.flaky
        } else {
            &mut self.steady
        }
    }
}

impl AddAssign for Tallies {
    fn add_assign(&mut self, other: Self) {
        self.steady += other.steady;
        self.flaky += other.flaky;
    }
}

/// In the form of a RESULT line.
impl fmt::Display for Tallies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "steady {} flaky {}", self.steady, self.flaky)
    }
}

/// The number at the end of a device's id, as in `dev-000042`; none if it is not a W1 device.
pub fn device_number(id: &[u8]) -> Option<u32> {
    number_after(b"dev-", id)
}

/// The number at the end of a site's name, as in `site-000042`; none if it is not a W1 site.
pub fn site_number(name: &[u8]) -> Option<u32> {
    number_after(b"site-", name)
}

fn number_after(prefix: &[u8], name: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A number below `PRIME` squared's remainder that depends on everything in the row.
fn row_hash(device: u32, metric: usize, window_start_ms: i64, figures: Figures) -> i64 {
    let minutes = window_start_ms / WINDOW_MS % 100_000;
    let who = (i64::from(device) * 1_000_003 + metric as i64 * 10_007 + minutes * 101 + 17) % PRIME;
    let scaled = |value: f64| (value * 64.0) as i64;
    let Figures { count, sum, min, max } = figures;
    let what = (count as i64 * 31 + scaled(sum) * 37 + scaled(min) * 41 + scaled(max) * 43) % PRIME;
    who * what % PRIME
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Figures = Figures {
        count: 3,
        sum: 6.5,
        min: 1.0,
        max: 4.25,
    };

    #[test]
    fn devices_are_steady_or_flaky() {
        let mut tallies = Tallies::default();
        tallies.add(97, 0, 0, ROW);
        tallies.add(98, 0, 0, ROW);
        assert_eq!((tallies.flaky.rows, tallies.steady.rows), (1, 1));
        assert_eq!((tallies.flaky.count, tallies.steady.count), (3, 3));
    }

    #[test]
    fn the_hash_is_the_documented_one() {
        let mut tallies = Tallies::default();
        tallies.add(1, 2, 120_000, ROW);
        let who = 1_000_003 + 2 * 10_007 + 2 * 101 + 17;
        let what = 3 * 31 + 416 * 37 + 64 * 41 + 272 * 43;
        assert_eq!(tallies.steady.hash, who * what % 1_000_000_007);
    }

    #[test]
    fn only_devices_have_numbers() {
        assert_eq!(device_number(b"dev-000042"), Some(42));
        assert_eq!(device_number(b"flush-1"), None);
        assert_eq!(device_number(b"dev-"), None);
    }
}
