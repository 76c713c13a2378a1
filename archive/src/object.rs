//! Objects in the place: put once, read whole.

use crate::chain::Entry;
use crate::contents::Contents;
use crate::error::ArchiveError;
use crate::names::ObjectName;
use crate::row::Row;
use crate::writer::Summary;
use tidewatch_checkpoints::Tree;
use tidewatch_failpoints::{Point, check};

/// Puts an object, unless it is there: then that one holds the same positions of the same log, and is taken.
///
/// # Errors
/// When the place is away, or what is there is no such object.
pub(crate) fn put(
    tree: &dyn Tree,
    name: &ObjectName,
    (bytes, summary): (&[u8], Summary),
) -> Result<Entry, ArchiveError> {
    let object = name.to_string();
    check(Point::ArchivePut)?;
    let is_new = tree.put_new(&object, bytes)?;
    check(Point::ArchiveStored)?;
    if is_new {
        return Ok(entry(name, bytes, summary));
    }
    let there = tree.get(&object)?;
    let found = summary_of(&object, &there)?;
    match found == summary {
        true => Ok(entry(name, &there, summary)),
        false => Err(ArchiveError::damaged(object, "it is there with other records")),
    }
}

/// Reads an object that a manifest names.
///
/// # Errors
/// When the place is away, or it isn't as it was written.
pub(crate) fn get(tree: &dyn Tree, entry: &Entry) -> Result<Contents, ArchiveError> {
    let bytes = tree.get(&entry.object)?;
    if bytes.len() as u64 != entry.bytes || crc32c::crc32c(&bytes) != entry.crc32c {
        return Err(ArchiveError::damaged(
            entry.object.as_str(),
            "its bytes are not those that its manifest names",
        ));
    }
    Contents::open(&entry.object, bytes)
}

fn entry(name: &ObjectName, bytes: &[u8], summary: Summary) -> Entry {
    Entry {
        object: name.to_string(),
        first: name.first.0,
        last: name.last.0,
        records: summary.records,
        readings: summary.readings,
        bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(bytes),
        log_time: summary.log_time,
        ts: summary.ts,
    }
}

fn summary_of(object: &str, bytes: &[u8]) -> Result<Summary, ArchiveError> {
    let mut summary = Summary::default();
    let contents = Contents::open(object, bytes.to_vec())?;
    for number in 0..contents.groups() {
        let group = contents.group(number)?;
        let mut metrics = Vec::new();
        for at in 0..group.len() {
            let row: Row<'_> = group.row(at, &mut metrics);
            summary.note(&row);
            summary.readings += row.metrics.map_or(0, <[_]>::len) as u64;
        }
    }
    Ok(summary)
}
