//! What the panes of one worker come to, group by group. A plain struct, tested without timely.

use super::{GroupKey, GroupValue, Ordered, Total};
use crate::series::PaneRecord;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

/// The least and the greatest value of a pane or a group.
pub type Extent = (Ordered, Ordered);

/// A pane that came to a group (+1) or left it (-1).
pub type Placed = ((GroupKey, Rc<PaneRecord>), isize);

/// A group's value that holds from an epoch on (+1) or no longer does (-1).
pub type PartialChange = ((GroupKey, GroupValue), isize);

/// The groups with panes on this worker. Their values depend on which panes there are and on nothing else: neither on
/// the order in which they came nor on those that have left.
#[derive(Debug, Default)]
pub struct Partials {
    groups: HashMap<GroupKey, Group>,
}

#[derive(Debug, Default)]
struct Group {
    total: Total,
    /// How many panes of a device have an extent; none of them 0. A pane with another extent may come before the
    /// one that it stands for has left.
    members: HashMap<(u32, Extent), isize>,
    extent: Option<Extent>,
    /// Whether a pane has left that reached the extent.
    shrunk: bool,
    given: Option<GroupValue>,
}

impl Partials {
    /// Takes all changes of one epoch, and gives those of the groups' values.
    pub fn change(&mut self, changes: Vec<Placed>) -> Vec<PartialChange> {
        let mut changed = BTreeSet::new();
        for ((key, record), diff) in changes {
            let group = match self.groups.get_mut(&key) {
                Some(group) => group,
                None => self.groups.entry(key.clone()).or_default(),
            };
            group.change(&record, diff);
            if !changed.contains(&key) {
                changed.insert(key);
            }
        }
        let mut values = Vec::new();
        for key in changed {
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            let now = group.value();
            let before = group.given.clone();
            if now != before {
                group.given.clone_from(&now);
                values.extend(before.map(|value| ((key.clone(), value), -1)));
                values.extend(now.map(|value| ((key.clone(), value), 1)));
            }
            if group.given.is_none() && group.members.is_empty() {
                self.groups.remove(&key);
            }
        }
        values
    }
}

impl Group {
    fn change(&mut self, record: &PaneRecord, diff: isize) {
        self.total.add_pane(record, diff as i64);
        let Some(extent) = extent_of(record) else { return };
        let member = self.members.entry((record.device, extent)).or_default();
        *member += diff;
        if *member == 0 {
            self.members.remove(&(record.device, extent));
        }
        if diff > 0 {
            self.extent = Some(widest(self.extent, extent));
        } else {
            self.shrunk |= self
                .extent
                .is_none_or(|(least, greatest)| extent.0 <= least || extent.1 >= greatest);
        }
    }

    /// What its panes come to; `None` without any.
    fn value(&mut self) -> Option<GroupValue> {
        if std::mem::take(&mut self.shrunk) {
            let extents = self.members.keys().map(|(_, extent)| *extent);
            self.extent = extents.fold(None, |all, extent| Some(widest(all, extent)));
        }
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

fn extent_of(record: &PaneRecord) -> Option<Extent> {
    (record.pane.count > 0).then(|| (Ordered::of(record.pane.min), Ordered::of(record.pane.max)))
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
    use tidewatch_proto::time::{EventTime, PaneNo};

    fn record(device: u32, values: &[f64]) -> Rc<PaneRecord> {
        let mut pane = Pane::empty(PaneNo(0));
        values.iter().for_each(|value| pane.add(EventTime(0), *value));
        Rc::new(PaneRecord {
            device,
            metric: 0,
            pane,
            buckets: Sketch::of(values).buckets(),
        })
    }

    fn key(group: u8) -> GroupKey {
        GroupKey {
            pane: PaneNo(0),
            group: format!("g{group}").into(),
            metric: "m".into(),
        }
    }

    proptest! {
        /// Each step a device's pane in a group is replaced, or leaves.
        #[test]
        fn values_are_those_of_the_panes_that_are_there(
            steps in prop::collection::vec(
                prop::collection::vec((0..3u8, 0..6u32, prop::collection::vec(-100.0..100.0f64, 0..4), any::<bool>()), 1..6), 1..12)
        ) {
            let mut partials = Partials::default();
            let mut present: HashMap<(u8, u32), Rc<PaneRecord>> = HashMap::new();
            let mut given: HashMap<GroupKey, GroupValue> = HashMap::new();
            for step in steps {
                let mut changes = Vec::new();
                for (group, device, values, first_in) in step {
                    let new = (!values.is_empty()).then(|| record(device, &values));
                    let old = match &new {
                        Some(new) => present.insert((group, device), new.clone()),
                        None => present.remove(&(group, device)),
                    };
                    let mut pair: Vec<Placed> = old.map(|old| ((key(group), old), -1)).into_iter().collect();
                    pair.extend(new.map(|new| ((key(group), new), 1)));
                    if first_in {
                        pair.reverse();
                    }
                    changes.extend(pair);
                }
                for ((key, value), diff) in partials.change(changes) {
                    match diff {
                        1 => prop_assert!(given.insert(key, value).is_none()),
                        _ => prop_assert_eq!(given.remove(&key), Some(value)),
                    }
                }
                for group in 0..3 {
                    let own: Vec<&Rc<PaneRecord>> =
                        present.iter().filter(|((of, _), _)| *of == group).map(|(_, record)| record).collect();
                    let each: Vec<GroupValue> = own
                        .iter()
                        .map(|record| GroupValue { total: Total::of(record), bounds: extent_of(record) })
                        .collect();
                    prop_assert_eq!(given.get(&key(group)).cloned(), combined(each.iter()));
                }
            }
        }
    }
}
