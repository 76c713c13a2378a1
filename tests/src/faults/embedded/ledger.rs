//! What the embedded log held, for the oracle, and what the harness appends to it between runs: messages that are days
//! late, and at last those that close all windows.

use super::{Place, Problem};
use crate::faults::feed::Offsets;
use crate::faults::ledger::{fields, shown};
use crate::faults::workload::{PARTITIONS, Random, encoded};
use std::fs::File;
use std::io::{BufWriter, Write};
use tidewatch_archive::{Chain, partitions, read};
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::{Assignment, Polled, SourceFactory};
use tidewatch_proto::time::LogTime;
use tidewatch_sources::conformance::{Collected, Seen};
use tidewatch_sources::event::unheard;
use tidewatch_sources::log::{self, Batch, LogFactory, LogWriter};

const MINUTE: i64 = 60_000;
/// Of this age the embedded store still has every window.
const DAYS: i64 = 10 * 24 * 60 * MINUTE;
/// Devices of the harness in each partition, and messages of each that are appended at a time.
const DEVICES: u64 = 5;
const MESSAGES: u64 = 40;
/// How far the messages that close all windows lie ahead.
const AHEAD: i64 = 28 * 60 * MINUTE;

fn open(place: &Place) -> Result<(LogWriter, LogFactory), Problem> {
    let settings = place.log().resolve(place.folder()).map_err(|error| error.to_string())?;
    log::open(&settings, unheard()).map_err(|error| error.to_string())
}

/// Appends messages that are late by minutes and by days, while nobody else writes.
pub(super) fn inject(place: &Place, random: &mut Random, round: i64) -> Result<(), Problem> {
    append(place, |partition, time, batch| {
        for number in 0..MESSAGES {
            let device = format!("late-{partition}-{}", random.below(DEVICES));
            let ts = match random.below(3) {
                0 => time - MINUTE - random.below(600_000) as i64,
                _ => time - DAYS - (random.below(3_600_000) as i64),
            };
            // No two are alike.
            let value = (round * 1_000 + number as i64) as f64 / 8.0;
            let payload = encoded(&device, ts, &[("temperature", value), ("pressure", -value)]);
            batch.push(Some(device.as_bytes()), &payload, LogTime(time));
        }
    })
}

/// Appends a message to each partition that closes all windows.
pub(super) fn close(place: &Place) -> Result<(), Problem> {
    append(place, |_, time, batch| {
        let payload = encoded("closing", time + AHEAD, &[]);
        batch.push(Some(b"closing"), &payload, LogTime(time + AHEAD));
    })
}

/// Appends a batch to each partition behind its last record; whoever has written that goes on where it was.
fn append(place: &Place, mut fill: impl FnMut(usize, i64, &mut Batch)) -> Result<(), Problem> {
    let (writer, _log) = open(place)?;
    for index in 0..PARTITIONS {
        let partition = Partition(index as u32);
        let tail = writer.tail(partition).ok_or("there is no such partition")?;
        let Some(time) = tail.time else { continue };
        let mut batch = Batch::default();
        fill(index, time.0, &mut batch);
        let end = writer
            .append(partition, &batch, tail.origin)
            .map_err(|error| error.to_string())?;
        if !writer.wait(partition, end, super::LIMIT) {
            return Err(format!("log/{index} can't be written"));
        }
    }
    Ok(())
}

/// Where the partitions end.
pub(super) fn ends(place: &Place) -> Result<Offsets, Problem> {
    let (writer, _log) = open(place)?;
    let mut ends = Offsets::default();
    for (index, end) in ends.iter_mut().enumerate() {
        *end = writer.tail(Partition(index as u32)).map_or(0, |tail| tail.end.0);
    }
    Ok(ends)
}

/// Writes down every record that the log ever had: those that have left it as the archive has them.
pub(super) fn write(place: &Place) -> Result<(), Problem> {
    let file = File::create(place.folder().join("ledger.tsv")).map_err(|error| error.to_string())?;
    let mut out = BufWriter::new(file);
    let (_writer, log) = open(place)?;
    let assigned: Vec<Assignment> = (0..PARTITIONS as u32)
        .map(|index| Assignment {
            partition: Partition(index),
            from: None,
        })
        .collect();
    let mut source = log.open(&assigned).map_err(|error| error.to_string())?;
    let mut held = Collected::new(PARTITIONS);
    while source.poll(&mut held, 10_000).map_err(|error| error.to_string())? == Polled::Some {}
    let archived = archived(place)?;
    for (index, held) in held.partitions.iter().enumerate() {
        let first = held.first().map_or(i64::MAX, |record| record.offset.0);
        let left = archived[index].iter().filter(|record| record.offset.0 < first);
        for record in left.chain(held) {
            line(&mut out, index, record).map_err(|error| error.to_string())?;
        }
    }
    out.flush().map_err(|error| error.to_string())
}

fn line(out: &mut impl Write, partition: usize, record: &Seen) -> std::io::Result<()> {
    let log_ms = record.log_time.map_or(i64::MIN, |time| time.0);
    let headers = record
        .headers
        .iter()
        .map(|(key, value)| (key.as_slice(), value.as_deref()));
    writeln!(
        out,
        "{partition}\t{}\t{log_ms}\t{}\t{}",
        record.offset,
        fields(&record.payload),
        shown(headers)
    )
}

/// All that the archive has, by partition, in the log's order.
fn archived(place: &Place) -> Result<Vec<Vec<Seen>>, Problem> {
    let mut archived = vec![Vec::new(); PARTITIONS];
    let tree = place.archive().tree()?;
    for (log, partition) in partitions(&*tree).map_err(|error| error.to_string())? {
        let chain = Chain::load(&*tree, &log, partition).map_err(|error| error.to_string())?;
        for entry in chain.entries() {
            let records = read(&*tree, entry).map_err(|error| error.to_string())?;
            archived[partition.index()].extend(records.into_iter().map(|record| Seen {
                offset: record.offset,
                log_time: record.log_time,
                key: record.key,
                payload: record.payload,
                headers: record.headers,
                unusable: None,
            }));
        }
    }
    Ok(archived)
}
