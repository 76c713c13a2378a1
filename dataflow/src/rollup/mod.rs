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
pub use partial::{Partials, Placed};
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
            // Without sketches only panes of one or two readings have buckets.
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
    use crate::series::PaneRecord;
    use tidewatch_proto::pane::Pane;
    use tidewatch_proto::sketch::Sketch;
    use tidewatch_proto::time::EventTime;

    fn record(values: &[f64], buckets: bool) -> PaneRecord {
        let mut pane = Pane::empty(PaneNo(0));
        values.iter().for_each(|value| pane.add(EventTime(0), *value));
        let buckets = if buckets {
            Sketch::of(values).buckets()
        } else {
            Vec::new()
        };
        PaneRecord {
            device: 0,
            metric: 0,
            pane,
            buckets,
        }
    }

    fn group(records: &[PaneRecord]) -> GroupValue {
        let mut total = Total::default();
        records.iter().for_each(|record| total.add_pane(record, 1));
        let bounds = Some((Ordered::of(f64::MIN), Ordered::of(f64::MAX)));
        GroupValue { total, bounds }
    }

    #[test]
    fn quantiles_are_of_all_readings_or_there_are_none() {
        let (few, many) = ([1.0, 2.0], [1.0, 2.0, 3.0]);
        let whole = group(&[record(&few, true), record(&many, true)]);
        assert!(whole.values().quantiles.is_some());
        let part = group(&[record(&few, true), record(&many, false)]);
        assert_eq!(part.values().quantiles, None);
    }

    #[test]
    fn a_sum_overflows_to_its_own_side() {
        let [up, down] = [f64::MAX, -f64::MAX].map(|value| record(&[value, value], true));
        let one = record(&[1.0], true);
        let sum = |records: &[PaneRecord]| group(records).values().sum;
        assert_eq!(sum(&[up.clone(), one.clone()]), f64::INFINITY);
        assert_eq!(sum(&[down.clone(), one.clone()]), f64::NEG_INFINITY);
        assert!(sum(&[up.clone(), down.clone(), one.clone()]).is_nan());
        let mut without = group(&[up.clone(), down, one]);
        without.total.add_pane(&up, -1);
        assert_eq!(without.values().sum, f64::NEG_INFINITY);
    }
}
