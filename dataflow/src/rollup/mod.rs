//! What crosses series: rollups of closed panes by site and fleet, differential.
//!
//! One shared arrangement of closed panes stands while at least one rollup runs. A rollup joins it with the
//! registry as of event time; each worker keeps what its own panes come to, group by group, and the workers' parts of a
//! group are put together.

pub mod bus;
mod dataflow;
mod exact;
mod partial;
mod rows;
mod total;

pub use dataflow::{RollupButtons, SharedPanes, build_rollup};
pub use exact::ExactSum;
pub use partial::{Partials, Place, Placed};
pub use rows::GroupRows;
pub use total::Total;

use serde::{Deserialize, Serialize};
use tidewatch_proto::ids::Name;
use tidewatch_proto::registry::Placement;
use tidewatch_proto::row::{Job, Values};
use tidewatch_proto::sketch::bucket_quantiles;
use tidewatch_proto::time::PaneNo;

/// What a rollup groups by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The site that a device stands in.
    Site,
    /// The fleet that a device belongs to.
    Fleet,
}

impl Level {
    /// The job whose rows the rollup makes.
    pub fn job(self) -> Job {
        match self {
            Level::Site => Job::SiteMinute,
            Level::Fleet => Job::FleetMinute,
        }
    }

    /// The group of a placement.
    pub fn group(self, placement: &Placement) -> &Name {
        match self {
            Level::Site => &placement.site,
            Level::Fleet => &placement.fleet,
        }
    }
}

/// The key of a rollup's window.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKey {
    /// Which minute.
    pub pane: PaneNo,
    /// The site or fleet.
    pub group: Name,
    /// The metric.
    pub metric: Name,
}

/// The value of a rollup's window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupValue {
    /// Counts, sum and buckets.
    pub total: Total,
    /// The least and the greatest value, in the order of their bits; `None` without valid readings.
    pub bounds: Option<(Ordered, Ordered)>,
}

/// A floating point number by its bits, so ordered that integers compare as the numbers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ordered(u64);

impl Ordered {
    /// A number, which is not NaN.
    pub fn of(value: f64) -> Ordered {
        let bits = value.to_bits();
        Ordered(if bits >> 63 == 0 { bits | 1 << 63 } else { !bits })
    }

    /// The number.
    pub fn value(self) -> f64 {
        f64::from_bits(if self.0 >> 63 == 1 {
            self.0 & !(1 << 63)
        } else {
            !self.0
        })
    }
}

impl GroupValue {
    /// The row's values.
    pub fn values(&self) -> Values {
        let total = &self.total;
        let count = total.count.max(0) as u64;
        let sum = match (total.over != 0, total.under != 0) {
            (false, false) => total.sum.value(),
            (true, false) => f64::INFINITY,
            (false, true) => f64::NEG_INFINITY,
            (true, true) => f64::NAN,
        };
        let bounds = self.bounds.map(|(min, max)| (min.value(), max.value()));
        let quantiles = bounds.and_then(|(min, max)| {
            let buckets = total
                .buckets
                .iter()
                .map(|(number, count)| (*number, (*count).max(0) as u64));
            // A pane without a sketch has buckets only of one or two readings.
            let held: u64 = buckets.clone().map(|(_, count)| count).sum();
            if held != count {
                return None;
            }
            bucket_quantiles(buckets, min, max)
        });
        Values {
            count,
            invalid_count: total.invalid.max(0) as u64,
            devices: total.devices.max(0) as u64,
            sum,
            min: bounds.map(|b| b.0),
            max: bounds.map(|b| b.1),
            first: None,
            last: None,
            mean: (count > 0).then(|| sum / count as f64),
            stddev: None,
            quantiles,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Given, Minutes};
    use tidewatch_proto::pane::Pane;
    use tidewatch_proto::sketch::Sketch;
    use tidewatch_proto::time::EventTime;

    /// A record of a device for each list of readings, with their sketch or without.
    fn records(lists: &[(&[f64], bool)]) -> (Minutes, Vec<Given>) {
        let mut minutes = Minutes::default();
        let mut given = Vec::new();
        for (device, (values, sketch)) in (0..).zip(lists) {
            let mut pane = Pane::empty(PaneNo(0));
            values.iter().for_each(|value| pane.add(EventTime(0), *value));
            let sketch = sketch.then(|| Sketch::of(values));
            minutes.add(0, &pane, sketch.as_ref(), true);
            given.push(minutes.end(PaneNo(0), device as usize, device).unwrap().0);
        }
        (minutes, given)
    }

    fn group(minutes: &Minutes, changes: impl IntoIterator<Item = (Given, i64)>) -> GroupValue {
        let mut total = Total::default();
        for (given, times) in changes {
            let panes = minutes.panes(given);
            panes.for_each(|(pane, buckets)| total.add_pane(pane, buckets, times));
        }
        let bounds = Some((Ordered::of(f64::MIN), Ordered::of(f64::MAX)));
        GroupValue { total, bounds }
    }

    #[test]
    fn quantiles_are_of_all_readings_or_there_are_none() {
        let quantiles = |sketch: bool| {
            let (minutes, given) = records(&[(&[1.0, 2.0], true), (&[1.0, 2.0, 3.0], sketch)]);
            group(&minutes, given.into_iter().map(|given| (given, 1)))
                .values()
                .quantiles
        };
        assert!(quantiles(true).is_some());
        assert_eq!(quantiles(false), None);
    }

    #[test]
    fn a_sum_overflows_to_its_own_side() {
        let (minutes, given) = records(&[(&[f64::MAX; 2], true), (&[f64::MIN; 2], true), (&[1.0], true)]);
        let [up, down, one] = given[..] else { unreachable!() };
        let sum = |changes: &[(Given, i64)]| group(&minutes, changes.iter().copied()).values().sum;
        assert_eq!(sum(&[(up, 1), (one, 1)]), f64::INFINITY);
        assert_eq!(sum(&[(down, 1), (one, 1)]), f64::NEG_INFINITY);
        assert!(sum(&[(up, 1), (down, 1), (one, 1)]).is_nan());
        assert_eq!(sum(&[(up, 1), (down, 1), (one, 1), (up, -1)]), f64::NEG_INFINITY);
    }
}
