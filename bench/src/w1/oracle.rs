//! The right answer to W1, recomputed in one batch from a column file.
//!
//! It shares nothing with the generator's types, the tally or the engine: it sorts the rows of the file and adds up
//! whole numbers of sixty-fourths, and has its own idea of the constants.

use anyhow::{Context, Result, ensure};
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const ROW_BYTES: usize = 48;
const METRICS: usize = 4;
const MINUTE_MS: i64 = 60_000;

/// Devices that stand in one site.
const SITE_DEVICES: u32 = 100;

/// Length of a hopping window in minutes; it hops by one.
const HOP_MINUTES: i64 = 5;

/// One row of the file: a message with its values in sixty-fourths.
#[derive(Clone, Copy)]
struct Message {
    device: u32,
    minute: i64,
    late: bool,
    values: [i64; METRICS],
}

impl Message {
    fn parse(row: &[u8; ROW_BYTES]) -> Result<(Self, i64)> {
        let device = u32::from_le_bytes(field(row, 0));
        let late = u16::from_le_bytes(field(row, 6)) != 0;
        let ts_ms = i64::from_le_bytes(field(row, 8));
        let mut values = [0; METRICS];
        for (metric, value) in values.iter_mut().enumerate() {
            let scaled = f64::from_le_bytes(field(row, 16 + 8 * metric)) * 64.0;
            ensure!(
                scaled.fract() == 0.0,
                "a value of device {device} is not a multiple of 1/64"
            );
            *value = scaled as i64;
        }
        Ok((
            Self {
                device,
                minute: ts_ms.div_euclid(MINUTE_MS),
                late,
                values,
            },
            ts_ms,
        ))
    }
}

/// The bytes of a row from a position on.
fn field<const N: usize>(row: &[u8; ROW_BYTES], start: usize) -> [u8; N] {
    std::array::from_fn(|i| row[start + i])
}

/// Count, sum, least and greatest of one metric, values in sixty-fourths.
#[derive(Clone, Copy)]
struct Aggregate {
    count: i64,
    sum: i64,
    min: i64,
    max: i64,
}

const NOTHING: Aggregate = Aggregate {
    count: 0,
    sum: 0,
    min: i64::MAX,
    max: i64::MIN,
};

impl Aggregate {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// The four metrics of one device in one minute.
type Pane = (i64, [Aggregate; METRICS]);

/// Rows, readings and the sum of the row hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    rows: i64,
    count: i64,
    hash: i64,
}

impl Sums {
    fn add(&mut self, device: u32, (minute, aggregates): &Pane) {
        const P: i64 = 1_000_000_007;
        for (metric, a) in (0..).zip(aggregates) {
            let key = (i64::from(device) * 1_000_003 + metric * 10_007 + minute % 100_000 * 101 + 17) % P;
            let value = (a.count * 31 + a.sum * 37 + a.min * 41 + a.max * 43) % P;
            self.rows += 1;
            self.count += a.count;
            self.hash += key * value % P;
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rows={} count={} hash={}", self.rows, self.count, self.hash)
    }
}

/// The whole answer; its display has one line for each part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Oracle {
    steady: Sums,
    flaky: Sums,
    all_flaky: Sums,
    hop: Sums,
    all_hop_flaky: Sums,
    site: Sums,
    late: u64,
}

impl Oracle {
    /// Reads a column file. Hopping windows count when they end by `hop_end_ms`; without it, by the end of the
    /// minute that holds the latest message.
    pub fn read(columns: &Path, hop_end_ms: Option<i64>) -> Result<Self> {
        let file = File::open(columns).with_context(|| format!("cannot open {}", columns.display()))?;
        Self::compute(BufReader::with_capacity(1 << 20, file), hop_end_ms)
    }

    /// The same from the bytes of a column file.
    pub fn compute(mut columns: impl Read, hop_end_ms: Option<i64>) -> Result<Self> {
        let (mut messages, mut ts_max_ms, mut row) = (Vec::new(), 0, [0; ROW_BYTES]);
        while read_row(&mut columns, &mut row)? {
            let (message, ts_ms) = Message::parse(&row)?;
            messages.push(message);
            ts_max_ms = ts_ms.max(ts_max_ms);
        }
        let end_minute = hop_end_ms.map_or(ts_max_ms / MINUTE_MS + 1, |end_ms| end_ms.div_euclid(MINUTE_MS));
        messages.sort_unstable_by_key(|message| (message.device, message.minute));
        let mut oracle = Self::default();
        for of_device in messages.chunk_by(|a, b| a.device == b.device) {
            oracle.add_device(of_device, end_minute);
        }
        for of_site in messages.chunk_by_mut(|a, b| a.device / SITE_DEVICES == b.device / SITE_DEVICES) {
            of_site.sort_unstable_by_key(|message| message.minute);
            let site = of_site[0].device / SITE_DEVICES;
            panes(of_site, |_| true)
                .iter()
                .for_each(|pane| oracle.site.add(site, pane));
        }
        Ok(oracle)
    }

    /// Takes all messages of one device, by minute.
    fn add_device(&mut self, messages: &[Message], end_minute: i64) {
        let device = messages[0].device;
        let steady = !device.is_multiple_of(97);
        let (on_time, all) = (panes(messages, |message| !message.late), panes(messages, |_| true));
        self.late += messages.iter().filter(|message| message.late).count() as u64;
        let minutes = if steady { &mut self.steady } else { &mut self.flaky };
        on_time.iter().for_each(|pane| minutes.add(device, pane));
        if steady {
            hops(&on_time, end_minute).for_each(|pane| self.hop.add(device, &pane));
        } else {
            all.iter().for_each(|pane| self.all_flaky.add(device, pane));
            hops(&all, end_minute).for_each(|pane| self.all_hop_flaky.add(device, &pane));
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "steady {}", self.steady)?;
        writeln!(f, "flaky {}", self.flaky)?;
        writeln!(f, "late messages {}", self.late)?;
        writeln!(f, "all flaky {}", self.all_flaky)?;
        writeln!(f, "hop {}", self.hop)?;
        writeln!(f, "all hop flaky {}", self.all_hop_flaky)?;
        write!(f, "site {}", self.site)
    }
}

/// The minutes of one device's or site's messages, those kept, in order.
fn panes(messages: &[Message], keep: impl Fn(&Message) -> bool) -> Vec<Pane> {
    let mut panes: Vec<Pane> = Vec::new();
    for message in messages.iter().filter(|message| keep(message)) {
        if panes.last().is_none_or(|(minute, _)| *minute != message.minute) {
            panes.push((message.minute, [NOTHING; METRICS]));
        }
        let Some((_, aggregates)) = panes.last_mut() else {
            continue;
        };
        for (aggregate, value) in aggregates.iter_mut().zip(message.values) {
            aggregate.merge(Aggregate {
                count: 1,
                sum: value,
                min: value,
                max: value,
            });
        }
    }
    panes
}

/// The hopping windows of one device, by their first minute: those that hold something and end by a minute's start.
fn hops(panes: &[Pane], end_minute: i64) -> impl Iterator<Item = Pane> {
    let first = panes.first().map_or(0, |(minute, _)| minute + 1 - HOP_MINUTES);
    let last = panes
        .last()
        .map_or(-1, |(minute, _)| (*minute).min(end_minute - HOP_MINUTES));
    (first..=last).filter_map(move |start| {
        let from = panes.partition_point(|(minute, _)| *minute < start);
        let inside = panes[from..]
            .iter()
            .take_while(|(minute, _)| *minute < start + HOP_MINUTES);
        let mut merged = None;
        for (_, aggregates) in inside {
            let window = merged.get_or_insert([NOTHING; METRICS]);
            window
                .iter_mut()
                .zip(aggregates)
                .for_each(|(whole, part)| whole.merge(*part));
        }
        merged.map(|aggregates| (start, aggregates))
    })
}

/// Reads the next row; false at the end of the file.
fn read_row(columns: &mut impl Read, row: &mut [u8; ROW_BYTES]) -> Result<bool> {
    let mut filled = 0;
    while filled < ROW_BYTES {
        match columns.read(&mut row[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    ensure!(filled == 0 || filled == ROW_BYTES, "the column file ends within a row");
    Ok(filled == ROW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(device: u32, late: u16, ts_ms: i64, value: f64) -> Vec<u8> {
        let mut row = [
            device.to_le_bytes().as_slice(),
            &[0, 0],
            &late.to_le_bytes(),
            &ts_ms.to_le_bytes(),
        ]
        .concat();
        (0..METRICS).for_each(|_| row.extend(value.to_le_bytes()));
        row
    }

    #[test]
    fn late_messages_count_only_where_nothing_is_dropped() {
        let file = [
            row(97, 0, 600_000, 1.5),
            row(97, 1, 60_000, 2.0),
            row(1, 0, 600_000, 3.0),
        ]
        .concat();
        let oracle = Oracle::compute(file.as_slice(), None).unwrap();
        assert_eq!(
            (
                oracle.steady.rows,
                oracle.flaky.rows,
                oracle.all_flaky.rows,
                oracle.late
            ),
            (4, 4, 8, 1)
        );
        assert_eq!(oracle.all_flaky.count, 8);
    }

    #[test]
    fn a_site_holds_a_hundred_devices() {
        let file = [row(99, 0, 0, 1.0), row(1, 0, 1, 2.0), row(100, 0, 2, 3.0)].concat();
        let oracle = Oracle::compute(file.as_slice(), None).unwrap();
        assert_eq!((oracle.site.rows, oracle.site.count), (8, 12));
    }

    #[test]
    fn hopping_windows_that_end_after_the_data_do_not_count() {
        let file = [row(1, 0, 600_000, 3.0), row(1, 0, 660_000, 4.0)].concat();
        let oracle = Oracle::compute(file.as_slice(), None).unwrap();
        // Starts at minutes 6 and 7; the window of minute 7 holds both messages.
        assert_eq!((oracle.hop.rows, oracle.hop.count), (8, 12));
        let oracle = Oracle::compute(file.as_slice(), Some(660_000)).unwrap();
        assert_eq!((oracle.hop.rows, oracle.hop.count), (4, 4));
    }

    #[test]
    fn half_a_row_is_an_error() {
        assert!(Oracle::compute([0; ROW_BYTES + 1].as_slice(), None).is_err());
    }
}
