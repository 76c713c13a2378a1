//! A stored row and the readings that came too late for memory, put together.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidewatch_proto::aggregate::Aggregate;
use tidewatch_proto::ids::Offset;
use tidewatch_proto::row::Values;
use tidewatch_proto::sketch::Sketch;
use tidewatch_proto::time::EventTime;

/// The time of a stored first value, which is not known: none is earlier.
const EARLIEST: EventTime = EventTime(i64::MIN);
/// The time of a stored last value, which is not known: none is later.
const LATEST: EventTime = EventTime(i64::MAX);

/// What is kept of a row beside its values, so that it takes each reading once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mended {
    /// By partition the last message that the row has taken.
    taken: BTreeMap<String, Offset>,
    /// The sum of squares about the mean, which the row's deviation says but for the last bits.
    squares: Option<f64>,
    /// All values of the row, while they are known.
    sketch: Option<Sketch>,
    /// When the first value was, if it is known.
    first_at: Option<EventTime>,
    /// When the last value was, if it is known.
    last_at: Option<EventTime>,
}

/// How the bytes are to be read.
#[derive(Serialize, Deserialize)]
enum Format {
    V1(Mended),
}

impl Mended {
    /// As it is stored.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(&Format::V1(self.clone())).expect("every sequence knows its length, and a Vec has no end")
    }

    /// What was stored; `None` when it is something else.
    pub(crate) fn read(bytes: &[u8]) -> Option<Mended> {
        postcard::from_bytes(bytes).ok().map(|Format::V1(mended)| mended)
    }
}

/// A reading on its way into a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// The partition's name.
    pub(crate) partition: &'a str,
    pub(crate) offset: Offset,
    pub(crate) at: EventTime,
    pub(crate) value: f64,
}

/// The values of a row with those readings that it has not taken yet, which come in the order of the log; `None` when
/// it has all of them. `stored` is empty for a row that isn't there.
pub(crate) fn mend(
    stored: &Values,
    known: Option<&Mended>,
    readings: &[Reading<'_>],
    quantiles: bool,
) -> Option<(Values, Mended)> {
    let before = known.cloned().unwrap_or_default();
    let is_new = |reading: &&Reading<'_>| {
        before
            .taken
            .get(reading.partition)
            .is_none_or(|last| *last < reading.offset)
    };
    let mut aggregate = aggregate(stored, &before);
    let mut sketch = sketch(stored, known).filter(|_| quantiles);
    let mut mended = before.clone();
    let mut any = false;
    for reading in readings.iter().filter(is_new) {
        any = true;
        aggregate.add(reading.at, reading.value);
        if let Some(sketch) = sketch.as_mut().filter(|_| reading.value.is_finite()) {
            sketch.add(reading.value + 0.0);
        }
        mended.taken.insert(reading.partition.to_owned(), reading.offset);
    }
    let some = aggregate.count > 0;
    mended.squares = Some(aggregate.squares).filter(|_| some);
    mended.first_at = Some(aggregate.first.0).filter(|at| some && *at != EARLIEST);
    mended.last_at = Some(aggregate.last.0).filter(|at| some && *at != LATEST);
    let found = sketch.as_ref().filter(|_| some);
    let values = aggregate.values(found.and_then(|sketch| sketch.quantiles(aggregate.min, aggregate.max)));
    mended.sketch = sketch;
    any.then_some((values, mended))
}

/// A stored row as what readings can be added to. The times of its first and last value are not known, unless the row
/// was made of readings like these: they stay.
fn aggregate(stored: &Values, known: &Mended) -> Aggregate {
    let empty = Aggregate::default();
    if stored.count == 0 {
        return Aggregate {
            invalid: stored.invalid_count,
            ..empty
        };
    }
    let degrees = stored.count.saturating_sub(1) as f64;
    Aggregate {
        count: stored.count,
        invalid: stored.invalid_count,
        sum: stored.sum,
        squares: known.squares.unwrap_or(stored.stddev.unwrap_or(0.0).powi(2) * degrees),
        min: stored.min.unwrap_or(empty.min),
        max: stored.max.unwrap_or(empty.max),
        first: (known.first_at.unwrap_or(EARLIEST), stored.first.unwrap_or(0.0)),
        last: (known.last_at.unwrap_or(LATEST), stored.last.unwrap_or(0.0)),
    }
}

/// All values of a stored row, when they are known: of one or two, its bounds say them.
fn sketch(stored: &Values, known: Option<&Mended>) -> Option<Sketch> {
    match (stored.count, known.and_then(|known| known.sketch.clone())) {
        (count, Some(sketch)) if sketch.count() == count => Some(sketch),
        (0, _) => Some(Sketch::default()),
        (1, _) => stored.min.map(|only| Sketch::of(&[only])),
        (2, _) => Some(Sketch::of(&[stored.min?, stored.max?])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(values: &[(i64, i64, f64)]) -> Vec<Reading<'static>> {
        let reading = |(offset, at, value): &(i64, i64, f64)| Reading {
            partition: "log/0",
            offset: Offset(*offset),
            at: EventTime(*at),
            value: *value,
        };
        values.iter().map(reading).collect()
    }

    fn recomputed(values: &[(i64, i64, f64)]) -> Values {
        let mut aggregate = Aggregate::default();
        let mut sketch = Sketch::default();
        for (_, at, value) in values {
            aggregate.add(EventTime(*at), *value);
            if value.is_finite() {
                sketch.add(*value);
            }
        }
        aggregate.values(sketch.quantiles(aggregate.min, aggregate.max))
    }

    #[test]
    fn a_row_made_of_them_is_that_of_all_readings_to_the_bit() {
        let all = [
            (3, 5_000, 1.25),
            (4, 1_000, -7.5),
            (4, 1_000, f64::NAN),
            (9, 70, 0.1),
            (12, 5_000, 4.0),
        ];
        for cut in 1..all.len() {
            if all[cut - 1].0 == all[cut].0 {
                continue;
            }
            let (first, mended) = mend(&Values::default(), None, &readings(&all[..cut]), true).unwrap();
            let mended = Mended::read(&mended.to_bytes()).unwrap();
            let (values, _) = mend(&first, Some(&mended), &readings(&all), true).unwrap();
            assert_eq!(values, recomputed(&all), "cut at {cut}");
        }
    }

    #[test]
    fn it_comes_to_the_same_in_however_many_steps() {
        let row = recomputed(&[(1, 10, 5.1), (2, 20, 1.3), (3, 30, 9.7)]);
        let late = readings(&[(8, 0, 100.3), (9, 7, -77.1), (10, 9, 0.7), (11, 40, 3.3)]);
        let at_once = mend(&row, None, &late, true).unwrap();
        let mut step_by_step = (row, None);
        for reading in &late {
            let (values, known) = mend(&step_by_step.0, step_by_step.1.as_ref(), &[*reading], true).unwrap();
            step_by_step = (values, Mended::read(&known.to_bytes()));
        }
        assert_eq!(step_by_step, (at_once.0, Some(at_once.1)));
    }

    #[test]
    fn what_a_row_has_it_does_not_take_again() {
        let late = readings(&[(7, 10, 2.0), (8, 20, 3.0)]);
        let (values, mended) = mend(&recomputed(&[(1, 0, 1.0)]), None, &late, true).unwrap();
        assert_eq!(values.count, 3);
        assert!(mend(&values, Some(&mended), &late, true).is_none());
        let other = [Reading {
            partition: "log/1",
            ..late[0]
        }];
        assert!(
            mend(&values, Some(&mended), &other, true).is_some(),
            "offsets are a partition's own"
        );
    }

    #[test]
    fn of_a_row_of_the_engine_first_and_last_stay_and_quantiles_are_not_known() {
        let three = [(1, 10, 5.0), (2, 20, 1.0), (3, 30, 9.0)];
        let late = [(8, 0, 100.0), (9, 59_999, -100.0)];
        let (values, _) = mend(&recomputed(&three), None, &readings(&late), true).unwrap();
        let want = recomputed(&[three.as_slice(), &late].concat());
        assert_eq!(
            (values.count, values.sum, values.min, values.max),
            (5, want.sum, want.min, want.max)
        );
        assert_eq!(
            (values.first, values.last, values.quantiles),
            (Some(5.0), Some(9.0), None)
        );
        assert!((values.stddev.unwrap() - want.stddev.unwrap()).abs() < 1e-9);
        let (values, _) = mend(&recomputed(&three[..2]), None, &readings(&late), true).unwrap();
        assert!(values.quantiles.is_some(), "of two readings both are known");
    }
}
