//! What the archive holds, for whoever replays or asks.

use crate::chain::{Chain, Entry};
use crate::error::ArchiveError;
use crate::names::MANIFEST;
use crate::object;
use crate::row::Row;
use std::collections::BTreeSet;
use std::ops::Range;
use tidewatch_checkpoints::Tree;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::time::LogTime;

/// A record of the log, as the archive gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log appended it.
    pub log_time: Option<LogTime>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// Bytes that say what the record's did: the same ones, unless these said nothing that a `Telemetry` doesn't.
    pub payload: Vec<u8>,
    /// The record's headers: keys, and their values unless null.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// The logs and partitions that the archive has something of.
///
/// # Errors
/// When the place is away.
pub fn partitions(tree: &dyn Tree) -> Result<Vec<(String, Partition)>, ArchiveError> {
    let names = tree.list_in(MANIFEST)?;
    let parsed = names.iter().filter_map(|name| {
        let (log, rest) = name.strip_prefix(MANIFEST)?.split_once('/')?;
        let (partition, _) = rest.split_once('/')?;
        Some((log.to_owned(), Partition(partition.parse().ok()?)))
    });
    let parsed: BTreeSet<(String, Partition)> = parsed.collect();
    Ok(parsed.into_iter().collect())
}

/// The objects that hold positions of a range of a partition, by position.
///
/// # Errors
/// When the place is away, or a manifest is damaged.
pub fn objects(
    tree: &dyn Tree,
    log: &str,
    partition: Partition,
    range: Range<Offset>,
) -> Result<Vec<Entry>, ArchiveError> {
    let chain = Chain::load(tree, log, partition)?;
    let overlaps = |entry: &&Entry| entry.first < range.end.0 && entry.last >= range.start.0;
    Ok(chain.entries().iter().filter(overlaps).cloned().collect())
}

/// Gives each row of an object, by device, event time and offset.
///
/// # Errors
/// When the place is away, or the object isn't as it was written.
pub fn rows(tree: &dyn Tree, entry: &Entry, mut take: impl FnMut(&Row<'_>)) -> Result<(), ArchiveError> {
    let contents = object::get(tree, entry)?;
    for number in 0..contents.groups() {
        let group = contents.group(number)?;
        let mut metrics = Vec::new();
        (0..group.len()).for_each(|at| take(&group.row(at, &mut metrics)));
    }
    Ok(())
}

/// The records of an object, in the order of the log.
///
/// # Errors
/// As of [`rows`].
pub fn read(tree: &dyn Tree, entry: &Entry) -> Result<Vec<Archived>, ArchiveError> {
    let mut records = Vec::new();
    rows(tree, entry, |row| records.push(Archived::of(row)))?;
    records.sort_by_key(|record| record.offset);
    Ok(records)
}

impl Archived {
    fn of(row: &Row<'_>) -> Archived {
        let headers = row.headers.iter();
        let headers = headers.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
        Archived {
            offset: row.offset,
            log_time: row.log_time,
            key: row.key.map(<[u8]>::to_vec),
            payload: row.payload.map_or_else(|| encoded(row), <[u8]>::to_vec),
            headers: headers.collect(),
        }
    }
}

/// A row as a `Telemetry` message.
fn encoded(row: &Row<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(device) = row.device.filter(|device| !device.is_empty()) {
        put_bytes(&mut bytes, 0x0a, device);
    }
    if let Some(ts) = row.ts.filter(|ts| ts.0 != 0) {
        bytes.push(0x10);
        put_varint(&mut bytes, ts.0 as u64);
    }
    for (name, value) in row.metrics.unwrap_or_default() {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 0x0a, name);
        entry.push(0x11);
        entry.extend_from_slice(&value.to_le_bytes());
        put_bytes(&mut bytes, 0x1a, &entry);
    }
    if let Some(raw) = row.raw {
        put_bytes(&mut bytes, 0x22, raw);
    }
    bytes
}

fn put_bytes(out: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    out.push(key);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
