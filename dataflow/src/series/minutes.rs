//! What minutes of devices have come to, in columns: what the differences of closed panes stand for.

use hashbrown::HashMap;
use std::collections::BTreeMap;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::pane::Pane;
use tidewatch_proto::sketch::{Bucket, Sketch, bucket};
use tidewatch_proto::time::PaneNo;

/// One closed pane, as far as it counts across series.
#[derive(Clone, Copy, Debug)]
pub struct PaneRecord {
    /// The number of the metric on this worker.
    pub metric: u32,
    /// Valid readings.
    pub count: u32,
    /// NaN and infinite readings.
    pub invalid: u32,
    /// Where its buckets end among those of its minute; they begin where those of the pane before end.
    buckets_end: u32,
    /// The sum of the valid readings.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// A record: what a minute of one device has come to in those of its series that lie together. A minute that changes
/// becomes another record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Given {
    /// Which minute.
    pub minute: PaneNo,
    /// Which of its records.
    at: u32,
}

/// The records of all minutes that may still be asked for.
#[derive(Debug, Default)]
pub struct Minutes {
    minutes: BTreeMap<PaneNo, Minute>,
    /// From which epoch on records of minutes until this one aren't asked for any more.
    leaving: Vec<(Epoch, PaneNo)>,
    /// Forgotten ones, whose room is used again.
    spare: Vec<Minute>,
}

/// How many forgotten minutes' room is kept.
const SPARE_MAX: usize = 4;

#[derive(Debug, Default)]
struct Minute {
    /// Where each record's panes end; they begin where those of the record before end.
    ends: Vec<u32>,
    panes: Vec<PaneRecord>,
    buckets: Vec<Bucket>,
    /// The device and the last record from a slot on.
    latest: HashMap<u32, (u32, u32)>,
}

impl Minutes {
    /// Adds the pane of a metric to the minute's next record, with its values as buckets when their quantiles are
    /// wanted.
    pub fn add(&mut self, metric: u32, pane: &Pane, sketch: Option<&Sketch>, quantiles: bool) {
        let spare = &mut self.spare;
        let minute = self.minutes.entry(pane.number);
        let minute = minute.or_insert_with(|| spare.pop().unwrap_or_default());
        if quantiles {
            add_buckets(&mut minute.buckets, pane, sketch);
        }
        minute.panes.push(PaneRecord {
            metric,
            count: pane.count,
            invalid: pane.invalid,
            buckets_end: minute.buckets.len() as u32,
            sum: pane.sum,
            min: pane.min,
            max: pane.max,
        });
    }

    /// Ends the minute's next record, which is that of a device's series from slot `first` on: it, and the one that it
    /// takes the place of. `None` when nothing was added or nothing has changed.
    pub fn end(&mut self, minute: PaneNo, first: usize, device: u32) -> Option<(Given, Option<Given>)> {
        let own = self.minutes.get_mut(&minute)?;
        let at = own.ends.len() as u32;
        own.ends.push(own.panes.len() as u32);
        let before = own.latest.get(&(first as u32)).map(|(_, before)| *before);
        let nothing = own.panes_of(at).is_empty();
        if nothing || before.is_some_and(|before| own.contents(before).eq(own.contents(at))) {
            own.undo_last();
            return None;
        }
        own.latest.insert(first as u32, (device, at));
        Some((Given { minute, at }, before.map(|at| Given { minute, at })))
    }

    /// A record's panes with their buckets; none of one that has left.
    pub fn panes(&self, given: Given) -> impl Iterator<Item = (&PaneRecord, &[Bucket])> {
        let minute = self.minutes.get(&given.minute).into_iter();
        minute.flat_map(move |minute| minute.panes(given.at))
    }

    /// Lets the minutes until `through` leave in an epoch: their last records, with their devices.
    pub fn leave(&mut self, through: PaneNo, epoch: Epoch) -> impl Iterator<Item = (u32, Given)> {
        self.leaving.push((epoch, through));
        self.minutes.range_mut(..=through).flat_map(|(minute, own)| {
            let latest = own.latest.drain();
            latest.map(|(_, (device, at))| (device, Given { minute: *minute, at }))
        })
    }

    /// Forgets the minutes that have left in epochs before `epoch`.
    pub fn forget_before(&mut self, epoch: Epoch) {
        let left = self.leaving.iter().filter(|(left, _)| *left < epoch);
        if let Some(through) = left.map(|(_, through)| *through).max() {
            let kept = self.minutes.split_off(&through.plus(1));
            for mut minute in std::mem::replace(&mut self.minutes, kept).into_values() {
                if self.spare.len() < SPARE_MAX {
                    minute.clear();
                    self.spare.push(minute);
                }
            }
            self.leaving.retain(|(left, _)| *left >= epoch);
        }
    }
}

impl Minute {
    fn clear(&mut self) {
        self.ends.clear();
        self.panes.clear();
        self.buckets.clear();
        self.latest.clear();
    }

    fn begin(&self, at: u32) -> usize {
        at.checked_sub(1)
            .map_or(0, |before| self.ends[before as usize] as usize)
    }

    fn panes_of(&self, at: u32) -> &[PaneRecord] {
        &self.panes[self.begin(at)..self.ends[at as usize] as usize]
    }

    fn panes(&self, at: u32) -> impl Iterator<Item = (&PaneRecord, &[Bucket])> {
        let mut begin = self.buckets_before(self.begin(at));
        self.panes_of(at).iter().map(move |pane| {
            let end = pane.buckets_end as usize;
            (pane, &self.buckets[std::mem::replace(&mut begin, end)..end])
        })
    }

    /// What tells a record from another.
    fn contents(&self, at: u32) -> impl Iterator<Item = ([u32; 3], [u64; 3], &[Bucket])> {
        self.panes(at).map(|(pane, buckets)| {
            let values = [pane.sum, pane.min, pane.max].map(f64::to_bits);
            ([pane.metric, pane.count, pane.invalid], values, buckets)
        })
    }

    fn buckets_before(&self, pane: usize) -> usize {
        pane.checked_sub(1)
            .map_or(0, |before| self.panes[before].buckets_end as usize)
    }

    fn undo_last(&mut self) {
        self.ends.pop();
        self.panes.truncate(self.ends.last().map_or(0, |end| *end as usize));
        self.buckets.truncate(self.buckets_before(self.panes.len()));
    }
}

fn add_buckets(buckets: &mut Vec<Bucket>, pane: &Pane, sketch: Option<&Sketch>) {
    let counted = |value: &f64| (bucket(*value), 1);
    match (pane.count, sketch) {
        (0, _) | (3.., None) => {}
        (1, _) => buckets.push(counted(&pane.min)),
        (2, _) => buckets.extend([pane.min, pane.max].iter().map(counted)),
        (_, Some(Sketch::Buckets(own))) => buckets.extend(own),
        (_, Some(Sketch::Raw { len, values })) => buckets.extend(values[..usize::from(*len)].iter().map(counted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(minutes: &mut Minutes, minute: i32, values: &[f64]) {
        let mut pane = Pane::empty(PaneNo(minute));
        values.iter().for_each(|value| pane.add(PaneNo(minute).start(), *value));
        minutes.add(7, &pane, Some(&Sketch::of(values)), true);
    }

    fn sums(minutes: &Minutes, given: Given) -> Vec<(f64, usize)> {
        minutes
            .panes(given)
            .map(|(pane, buckets)| (pane.sum, buckets.len()))
            .collect()
    }

    #[test]
    fn a_record_takes_the_place_of_another_only_when_it_differs() {
        let mut minutes = Minutes::default();
        assert_eq!(minutes.end(PaneNo(0), 4, 1), None);
        add(&mut minutes, 0, &[1.0, 2.0, 4.0]);
        add(&mut minutes, 0, &[8.0]);
        let (first, before) = minutes.end(PaneNo(0), 4, 1).unwrap();
        assert_eq!((sums(&minutes, first), before), (vec![(7.0, 3), (8.0, 1)], None));
        add(&mut minutes, 0, &[1.0, 2.0, 4.0]);
        add(&mut minutes, 0, &[8.0]);
        assert_eq!(minutes.end(PaneNo(0), 4, 1), None);
        add(&mut minutes, 0, &[1.0, 2.0, 4.0]);
        add(&mut minutes, 0, &[9.0]);
        let (second, before) = minutes.end(PaneNo(0), 4, 1).unwrap();
        assert_eq!(before, Some(first));
        assert_eq!(sums(&minutes, second), [(7.0, 3), (9.0, 1)]);
        assert_eq!(sums(&minutes, first), [(7.0, 3), (8.0, 1)]);
    }

    #[test]
    fn what_has_left_is_there_until_everybody_has_seen_it() {
        let mut minutes = Minutes::default();
        let given = [0, 1, 2].map(|minute| {
            add(&mut minutes, minute, &[1.0]);
            minutes.end(PaneNo(minute), 4, 9).unwrap().0
        });
        let left: Vec<_> = minutes.leave(PaneNo(1), Epoch(5)).collect();
        assert_eq!(left, [(9, given[0]), (9, given[1])]);
        assert_eq!(minutes.leave(PaneNo(1), Epoch(6)).count(), 0);
        minutes.forget_before(Epoch(5));
        assert_eq!(sums(&minutes, given[1]).len(), 1);
        minutes.forget_before(Epoch(6));
        assert_eq!(given.map(|given| sums(&minutes, given).len()), [0, 0, 1]);
    }
}
