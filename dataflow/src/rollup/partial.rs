//! What the panes of one worker come to, group by group. A plain struct, tested without timely.

use super::{GroupValue, Ordered, Total};
use crate::series::{Given, Minutes, PaneRecord};
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use tidewatch_proto::sketch::Bucket;
use tidewatch_proto::time::PaneNo;

/// The least and the greatest value of a pane or a group.
pub type Extent = (Ordered, Ordered);

/// A minute of a site or fleet, by its number on this worker.
pub type Place = (PaneNo, u32);

/// A device's minute that came to a place (+1) or left it (-1).
pub type Placed = ((Place, Given), isize);

/// A place's value of a metric, by its number on this worker, that holds from an epoch on (+1) or no longer does (-1).
pub type PartialChange = ((Place, u32, GroupValue), isize);

/// The places with panes on this worker. Their values depend on which panes there are and on nothing else: neither on
/// the order in which they came nor on those that have left.
#[derive(Debug)]
pub struct Partials {
    places: BTreeMap<PaneNo, HashMap<u32, Members>>,
    expired: PaneNo,
}

impl Default for Partials {
    fn default() -> Partials {
        Partials {
            places: BTreeMap::new(),
            expired: PaneNo::NONE,
        }
    }
}

/// What is in a place.
#[derive(Debug, Default)]
struct Members {
    /// How many times each record is there; never 0 times. A record may leave before it comes.
    records: HashMap<Given, isize>,
    metrics: BTreeMap<u32, Group>,
}

/// The panes of one metric in a place.
#[derive(Debug, Default)]
struct Group {
    total: Total,
    extent: Option<Extent>,
    /// Whether a pane has left that reached the extent.
    shrunk: bool,
    changed: bool,
    given: Option<GroupValue>,
}

impl Partials {
    /// Takes all changes of one epoch, and gives those of the places' values. The records are in `minutes`. Minutes that had `expired` before are
    /// forgotten as they stand: what changes in them is only that their panes leave.
    pub fn change(&mut self, changes: Vec<Placed>, expired: PaneNo, minutes: &Minutes) -> Vec<PartialChange> {
        let mut values = self.expire(expired);
        let mut changed = BTreeSet::new();
        for (((minute, group), given), diff) in changes {
            if minute > self.expired {
                let groups = self.places.entry(minute).or_default();
                groups.entry(group).or_default().change(given, diff, minutes);
                changed.insert((minute, group));
            }
        }
        for place @ (minute, group) in changed {
            let Some(groups) = self.places.get_mut(&minute) else {
                continue;
            };
            let Some(members) = groups.get_mut(&group) else {
                continue;
            };
            members.take_changes(minutes, |metric, value, diff| {
                values.push(((place, metric, value), diff))
            });
            if members.records.is_empty() && members.metrics.is_empty() {
                groups.remove(&group);
            }
        }
        values
    }

    fn expire(&mut self, through: PaneNo) -> Vec<PartialChange> {
        self.expired = self.expired.max(through);
        let kept = self.places.split_off(&self.expired.plus(1));
        let gone = std::mem::replace(&mut self.places, kept);
        let mut values = Vec::new();
        for (minute, groups) in gone {
            for (group, members) in groups {
                let given = members.metrics.into_iter();
                let given = given.filter_map(|(metric, group)| Some((metric, group.given?)));
                values.extend(given.map(|(metric, value)| (((minute, group), metric, value), -1)));
            }
        }
        values
    }
}

impl Members {
    fn change(&mut self, given: Given, diff: isize, minutes: &Minutes) {
        for (pane, buckets) in minutes.panes(given) {
            self.metrics.entry(pane.metric).or_default().change(pane, buckets, diff);
        }
        let times = self.records.entry(given).or_default();
        *times += diff;
        if *times == 0 {
            self.records.remove(&given);
        }
    }

    /// Gives the values that have changed since the last call.
    fn take_changes(&mut self, minutes: &Minutes, mut give: impl FnMut(u32, GroupValue, isize)) {
        self.find_extents(minutes);
        self.metrics.retain(|metric, group| {
            if !std::mem::take(&mut group.changed) {
                return true;
            }
            let now = group.value();
            if now != group.given {
                let before = std::mem::replace(&mut group.given, now);
                before.into_iter().for_each(|value| give(*metric, value, -1));
                group.given.iter().for_each(|value| give(*metric, value.clone(), 1));
            }
            group.given.is_some()
        });
    }

    /// Finds the extents of groups that may have become narrower.
    fn find_extents(&mut self, minutes: &Minutes) {
        let mut shrunk = self.metrics.values_mut().filter(|group| group.shrunk).peekable();
        if shrunk.peek().is_none() {
            return;
        }
        shrunk.for_each(|group| group.extent = None);
        for (pane, _) in self.records.keys().flat_map(|given| minutes.panes(*given)) {
            if let Some(group) = self.metrics.get_mut(&pane.metric).filter(|group| group.shrunk) {
                group.extent = extent_of(pane).map_or(group.extent, |own| Some(widest(group.extent, own)));
            }
        }
        self.metrics.values_mut().for_each(|group| group.shrunk = false);
    }
}

impl Group {
    fn change(&mut self, pane: &PaneRecord, buckets: &[Bucket], diff: isize) {
        self.changed = true;
        self.total.add_pane(pane, buckets, diff as i64);
        let Some(extent) = extent_of(pane) else { return };
        if diff > 0 {
            self.extent = Some(widest(self.extent, extent));
        } else {
            self.shrunk |= self
                .extent
                .is_none_or(|(least, greatest)| extent.0 <= least || extent.1 >= greatest);
        }
    }

    /// What its panes come to; `None` without any.
    fn value(&self) -> Option<GroupValue> {
        (!self.total.is_nothing()).then(|| GroupValue {
            total: self.total.clone(),
            bounds: self.extent,
        })
    }
}

/// What the parts of a group on several workers come to.
pub fn combined<'a>(mut parts: impl Iterator<Item = &'a GroupValue>) -> Option<GroupValue> {
    let mut whole = parts.next()?.clone();
    for part in parts {
        whole.total.add(&part.total);
        if let Some(extent) = part.bounds {
            whole.bounds = Some(widest(whole.bounds, extent));
        }
    }
    Some(whole)
}

fn extent_of(pane: &PaneRecord) -> Option<Extent> {
    (pane.count > 0).then(|| (Ordered::of(pane.min), Ordered::of(pane.max)))
}

fn widest(all: Option<Extent>, (low, high): Extent) -> Extent {
    all.map_or((low, high), |(least, greatest)| (least.min(low), greatest.max(high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidewatch_proto::pane::Pane;
    use tidewatch_proto::sketch::Sketch;
    use tidewatch_proto::time::EventTime;

    const MINUTE: PaneNo = PaneNo(0);
    const BEFORE: PaneNo = PaneNo(-1);

    /// A record of the metrics 0, 1 and so on.
    fn given(minutes: &mut Minutes, device: u32, metrics: &[Vec<f64>]) -> Given {
        for (metric, values) in (0..).zip(metrics) {
            let mut pane = Pane::empty(MINUTE);
            values.iter().for_each(|value| pane.add(EventTime(0), *value));
            minutes.add(metric, &pane, Some(&Sketch::of(values)), true);
        }
        minutes.end(MINUTE, device as usize, device).unwrap().0
    }

    /// What a metric's panes come to, one by one.
    fn one_by_one(minutes: &Minutes, records: &[Given], metric: u32) -> Option<GroupValue> {
        let panes = records.iter().flat_map(|given| minutes.panes(*given));
        let values: Vec<GroupValue> = panes
            .filter(|(pane, _)| pane.metric == metric)
            .map(|(pane, buckets)| {
                let mut total = Total::default();
                total.add_pane(pane, buckets, 1);
                GroupValue {
                    total,
                    bounds: extent_of(pane),
                }
            })
            .collect();
        combined(values.iter())
    }

    proptest! {
        /// Each step a device's record in a place is replaced, or leaves.
        #[test]
        fn values_are_those_of_the_panes_that_are_there(
            steps in prop::collection::vec(
                prop::collection::vec(
                    (0..3u32, 0..6u32, prop::collection::vec(prop::collection::vec(-100.0..100.0f64, 1..4), 0..3), any::<bool>()),
                    1..6),
                1..12)
        ) {
            let (mut partials, mut minutes) = (Partials::default(), Minutes::default());
            let mut present: HashMap<(u32, u32), Given> = HashMap::new();
            let mut values: HashMap<(Place, u32), GroupValue> = HashMap::new();
            for step in steps {
                let mut changes = Vec::new();
                for (group, device, metrics, first_in) in step {
                    let new = (!metrics.is_empty()).then(|| given(&mut minutes, device + 6 * group, &metrics));
                    let old = match new {
                        Some(new) => present.insert((group, device), new),
                        None => present.remove(&(group, device)),
                    };
                    let mut pair: Vec<Placed> = old.map(|old| (((MINUTE, group), old), -1)).into_iter().collect();
                    pair.extend(new.map(|new| (((MINUTE, group), new), 1)));
                    if first_in {
                        pair.reverse();
                    }
                    changes.extend(pair);
                }
                for ((place, metric, value), diff) in partials.change(changes, BEFORE, &minutes) {
                    match diff {
                        1 => prop_assert!(values.insert((place, metric), value).is_none()),
                        _ => prop_assert_eq!(values.remove(&(place, metric)), Some(value)),
                    }
                }
                for (group, metric) in (0..3).flat_map(|group| (0..3).map(move |metric| (group, metric))) {
                    let own: Vec<Given> =
                        present.iter().filter(|((of, _), _)| *of == group).map(|(_, given)| *given).collect();
                    prop_assert_eq!(values.get(&((MINUTE, group), metric)).cloned(), one_by_one(&minutes, &own, metric));
                }
            }
        }

        /// Whether the panes of a minute leave or the minute expires, its values are taken back and nothing is kept.
        #[test]
        fn nothing_is_left_of_what_has_left(
            metrics in prop::collection::vec(prop::collection::vec(-9.0..9.0f64, 1..4), 1..3), expires in any::<bool>()
        ) {
            let (mut partials, mut minutes) = (Partials::default(), Minutes::default());
            let given = given(&mut minutes, 0, &metrics);
            let came = partials.change(vec![(((MINUTE, 0), given), 1)], BEFORE, &minutes);
            let expired = if expires { MINUTE } else { BEFORE };
            let went = partials.change(vec![(((MINUTE, 0), given), -1)], expired, &minutes);
            prop_assert_eq!(came.len(), metrics.len());
            prop_assert_eq!(came, went.into_iter().map(|(value, diff)| (value, -diff)).collect::<Vec<_>>());
            prop_assert!(partials.places.values().all(HashMap::is_empty));
        }
    }
}
