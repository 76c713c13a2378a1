//! Rows as bytes: what a fresh row is, and the rows of one series and period as one value.
//!
//! A row: a byte of flags, the count, what the flags announce, the tags of its numbers by two, their bytes. Its key and
//! its revision are not in there. A packed value: the format's number, then for each row, in the order of their windows,
//! its minute within the period, by how much its revision is above the one before, how many bytes it has, and these.

use super::numbers::{Bytes, MEAN, put_f64, put_i64, put_u64};
use tidewatch_proto::row::{Quantiles, Row, Status, Values};

/// The number of the format of packed values.
const FORMAT: u8 = 1;
/// The bits of the flags that say the status.
const STATUS: u8 = 0b11;
const HAS_QUANTILES: u8 = 1 << 2;
const HAS_DEVICES: u8 = 1 << 3;
const HAS_INVALID: u8 = 1 << 4;
const HAS_LENGTH: u8 = 1 << 5;

/// What is stored of a row beside its key and revision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Body {
    pub(super) values: Values,
    pub(super) status: Status,
    /// How long the window is, in milliseconds, when that isn't the job's own length.
    pub(super) length_ms: Option<i64>,
}

impl Body {
    /// That of a row.
    pub(super) fn of(row: &Row) -> Body {
        let length_ms = row.window_end.0.saturating_sub(row.window_start.0);
        Body {
            values: row.values,
            status: row.status,
            length_ms: (length_ms != row.job.length_ms()).then_some(length_ms),
        }
    }

    /// Appends the bytes.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        let values = &self.values;
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let status = match self.status {
            Status::Live => 0,
            Status::Final => 1,
            Status::Corrected => 2,
        };
        bytes.push(
            status
                | flag(values.quantiles.is_some(), HAS_QUANTILES)
                | flag(values.devices != 1, HAS_DEVICES)
                | flag(values.invalid_count != 0, HAS_INVALID)
                | flag(self.length_ms.is_some(), HAS_LENGTH),
        );
        put_u64(bytes, values.count);
        if values.devices != 1 {
            put_u64(bytes, values.devices);
        }
        if values.invalid_count != 0 {
            put_u64(bytes, values.invalid_count);
        }
        if let Some(length_ms) = self.length_ms {
            put_i64(bytes, length_ms);
        }
        put_numbers(bytes, values);
    }

    /// Reads the bytes to their end; `None` when they are something else.
    pub(super) fn read(bytes: &[u8]) -> Option<Body> {
        let mut bytes = Bytes(bytes);
        let flags = bytes.byte()?;
        let count = bytes.u64()?;
        let mut announced = |flag: u8, otherwise: u64| match flags & flag {
            0 => Some(otherwise),
            _ => bytes.u64(),
        };
        let (devices, invalid_count) = (announced(HAS_DEVICES, 1)?, announced(HAS_INVALID, 0)?);
        let length_ms = match flags & HAS_LENGTH {
            0 => None,
            _ => Some(bytes.i64()?),
        };
        let numbers = numbers(&mut bytes, count, flags & HAS_QUANTILES != 0)?;
        let [sum, min, max, first, last, mean, stddev, p50, p95, p99] = numbers;
        let quantiles = match (p50, p95, p99) {
            (Some(p50), Some(p95), Some(p99)) => Some(Quantiles { p50, p95, p99 }),
            _ => None,
        };
        let status = match flags & STATUS {
            0 => Status::Live,
            1 => Status::Final,
            2 => Status::Corrected,
            _ => return None,
        };
        let values = Values {
            count,
            invalid_count,
            devices,
            sum: sum?,
            min,
            max,
            first,
            last,
            mean,
            stddev,
            quantiles,
        };
        bytes.0.is_empty().then_some(Body {
            values,
            status,
            length_ms,
        })
    }
}

/// How many numbers a row has.
const NUMBERS: usize = 10;
/// How many it has without quantiles.
const PLAIN_NUMBERS: usize = 7;
/// The place of the mean among them.
const MEAN_AT: usize = 5;

fn put_numbers(bytes: &mut Vec<u8>, values: &Values) {
    let quantile = |of: fn(&Quantiles) -> f64| values.quantiles.as_ref().map(of);
    let numbers: [Option<f64>; NUMBERS] = [
        Some(values.sum),
        values.min,
        values.max,
        values.first,
        values.last,
        values.mean,
        values.stddev,
        quantile(|quantiles| quantiles.p50),
        quantile(|quantiles| quantiles.p95),
        quantile(|quantiles| quantiles.p99),
    ];
    let count = if values.quantiles.is_some() {
        NUMBERS
    } else {
        PLAIN_NUMBERS
    };
    let tags = bytes.len();
    bytes.resize(tags + count.div_ceil(2), 0);
    let mean = (values.sum / values.count as f64).to_bits();
    let mut before = None;
    for (at, number) in numbers[..count].iter().enumerate() {
        let is_mean = |number: f64| !number.is_nan() && number.to_bits() == mean;
        let tag = match at == MEAN_AT && number.is_some_and(is_mean) {
            true => MEAN,
            false => put_f64(bytes, *number, before),
        };
        before = number.or(before);
        bytes[tags + at / 2] |= tag << (4 * (at % 2));
    }
}

fn numbers(bytes: &mut Bytes<'_>, count: u64, has_quantiles: bool) -> Option<[Option<f64>; NUMBERS]> {
    let stored = if has_quantiles { NUMBERS } else { PLAIN_NUMBERS };
    let tags = bytes.take(stored.div_ceil(2))?;
    let mut numbers = [None; NUMBERS];
    let mut before = None;
    for at in 0..stored {
        let tag = tags[at / 2] >> (4 * (at % 2)) & 0xf;
        let mean = numbers[0].unwrap_or(0.0) / count as f64;
        numbers[at] = bytes.f64(tag, mean, before)?;
        before = numbers[at].or(before);
    }
    Some(numbers)
}

/// A row of a packed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed<'a> {
    /// Its window's minute within the period.
    pub(super) minute: i64,
    pub(super) revision: u64,
    /// What [`Body::read`] reads.
    pub(super) body: &'a [u8],
}

/// The rows of a series and period as one value.
pub(super) fn pack<'a>(rows: impl Iterator<Item = Packed<'a>>) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    let mut before = 0_u64;
    for row in rows {
        put_u64(&mut bytes, row.minute as u64);
        put_i64(&mut bytes, row.revision.wrapping_sub(before) as i64);
        put_u64(&mut bytes, row.body.len() as u64);
        bytes.extend_from_slice(row.body);
        before = row.revision;
    }
    bytes
}

/// The rows of a packed value, in the order of their windows; `None` when it is something else.
pub(super) fn unpack(bytes: &[u8]) -> Option<Vec<Packed<'_>>> {
    let mut bytes = Bytes(bytes);
    if bytes.byte()? != FORMAT {
        return None;
    }
    let mut rows = Vec::new();
    let mut before = 0_u64;
    while !bytes.0.is_empty() {
        let minute = i64::try_from(bytes.u64()?).ok()?;
        let revision = before.wrapping_add(bytes.i64()? as u64);
        let length = usize::try_from(bytes.u64()?).ok()?;
        let body = bytes.take(length)?;
        rows.push(Packed { minute, revision, body });
        before = revision;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{row, same};
    use proptest::prelude::*;
    use tidewatch_proto::row::Job;
    use tidewatch_proto::time::EventTime;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-100_000i64..100_000).prop_map(|n| n as f64 / 100.0)
        ]
    }

    fn values() -> impl Strategy<Value = Values> {
        let maybe = || proptest::option::of(number());
        let counts = (any::<u64>(), 0..3u64, 0..3u64, number());
        let quantiles = proptest::option::of((number(), number(), number()));
        (
            counts,
            [maybe(), maybe(), maybe()],
            [maybe(), maybe(), maybe()],
            quantiles,
        )
            .prop_map(
                |((count, invalid_count, devices, sum), [min, max, first], [last, mean, stddev], quantiles)| Values {
                    count,
                    invalid_count,
                    devices,
                    sum,
                    min,
                    max,
                    first,
                    last,
                    mean: mean.map(|mean| if mean > 0.0 { sum / count as f64 } else { mean }),
                    stddev,
                    quantiles: quantiles.map(|(p50, p95, p99)| Quantiles { p50, p95, p99 }),
                },
            )
    }

    proptest! {
        #[test]
        fn every_row_comes_back(values in values(), status in 0..3usize, length_ms in proptest::option::of(any::<i64>())) {
            let status = [Status::Live, Status::Final, Status::Corrected][status];
            let body = Body { values, status, length_ms };
            let mut bytes = Vec::new();
            body.put(&mut bytes);
            let found = Body::read(&bytes).unwrap();
            prop_assert_eq!((found.status, found.length_ms), (status, length_ms));
            let whole = |values| Row { values, ..row(Job::Minute, "dev", 0, 1) };
            prop_assert!(same(&whole(found.values), &whole(values)), "{:?} for {:?}", found.values, values);
            // What is cut off is noticed.
            for cut in 0..bytes.len() {
                prop_assert!(Body::read(&bytes[..cut]).is_none());
            }
        }

        #[test]
        fn packed_rows_come_back(rows in prop::collection::btree_map(0..60i64, (any::<u64>(), prop::collection::vec(any::<u8>(), 0..80)), 0..60)) {
            let rows: Vec<Packed<'_>> =
                rows.iter().map(|(minute, (revision, body))| Packed { minute: *minute, revision: *revision, body }).collect();
            let bytes = pack(rows.iter().copied());
            prop_assert_eq!(unpack(&bytes).unwrap(), rows);
        }
    }

    #[test]
    fn a_window_of_another_length_keeps_it() {
        let mut odd = row(Job::Hour, "dev", 0, 1);
        assert_eq!(Body::of(&odd).length_ms, None);
        odd.window_end = EventTime(odd.window_start.0 + 7);
        assert_eq!(Body::of(&odd).length_ms, Some(7));
    }

    #[test]
    fn a_row_of_a_device_is_short() {
        let values = Values {
            count: 60,
            devices: 1,
            sum: 592.342_380_952_381,
            min: Some(9.62),
            max: Some(10.2),
            first: Some(9.83),
            last: Some(9.86),
            mean: Some(592.342_380_952_381 / 60.0),
            stddev: Some(0.179_997_354_477_913_43),
            quantiles: Some(Quantiles {
                p50: 9.875,
                p95: 10.125,
                p99: 10.125,
            }),
            ..Values::default()
        };
        let mut bytes = Vec::new();
        Body {
            values,
            status: Status::Final,
            length_ms: None,
        }
        .put(&mut bytes);
        assert!(bytes.len() <= 37, "{}", bytes.len());
    }
}
