//! Makes one object of small neighbours of the same partition and hour.

use crate::Settings;
use crate::chain::{Chain, Change, Entry};
use crate::contents::{Contents, Group};
use crate::error::ArchiveError;
use crate::names::{Hour, ObjectName};
use crate::object;
use crate::row::Row;
use crate::stats::Stats;
use crate::writer::Writer;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use tidewatch_checkpoints::Tree;
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::Offset;

/// So many objects are merged at once at most.
const INPUTS_MAX: usize = 16;
/// What is merged takes at most this part of the memory: it is there as it was, as it becomes, and a row group of each.
const MEMORY_PART: u64 = 4;

/// Merges some objects of a partition, if there are any to merge, and says so: of an hour before `now` all that fit into
/// one, of later ones as soon as they make half of one.
///
/// # Errors
/// When the place is away, an object is damaged, or somebody else archives the same: nothing has changed then, or all.
pub fn merge(
    tree: &dyn Tree,
    chain: &mut Chain,
    settings: &Settings,
    now: Hour,
    stats: &Stats,
) -> Result<bool, ArchiveError> {
    let limit = settings.object_bytes.min(settings.memory_bytes / MEMORY_PART);
    let Some(range) = plan(chain.entries(), limit, now) else {
        return Ok(false);
    };
    let inputs = chain.entries()[range].to_vec();
    let (name, bytes, summary) = merged(tree, &inputs, settings.level)?;
    let entry = object::put(tree, &name, (&bytes, summary))?;
    check(Point::ArchiveMerged)?;
    stats.put(entry.bytes);
    stats.merged.fetch_add(inputs.len() as u64, Relaxed);
    let change = Change {
        add: vec![entry],
        remove: inputs.into_iter().map(|input| input.object).collect(),
    };
    chain.append(tree, change)?;
    check(Point::ArchiveReplaced)?;
    Ok(true)
}

/// The first neighbours that are worth it.
fn plan(entries: &[Entry], limit: u64, now: Hour) -> Option<Range<usize>> {
    let is_small = |entry: &Entry| entry.bytes < limit / 2;
    let mut begin = 0;
    while begin < entries.len() {
        let (hour, mut end, mut bytes) = (entries[begin].hour(), begin, 0);
        while let Some(entry) = entries.get(end) {
            let follows = end == begin || entry.first == entries[end - 1].last + 1;
            let fits = follows && entry.hour() == hour && bytes + entry.bytes <= limit && is_small(entry);
            if !fits || end - begin == INPUTS_MAX {
                break;
            }
            bytes += entry.bytes;
            end += 1;
        }
        if end - begin > 1 && (hour < now || bytes >= limit / 2 || end - begin == INPUTS_MAX) {
            return Some(begin..end);
        }
        begin = end.max(begin + 1);
    }
    None
}

/// The object of all that objects hold.
fn merged(
    tree: &dyn Tree,
    inputs: &[Entry],
    level: i32,
) -> Result<(ObjectName, Vec<u8>, crate::Summary), ArchiveError> {
    let (Some(first), Some(last)) = (inputs.first(), inputs.last()) else {
        return Err(ArchiveError::damaged("archive", "nothing is to be merged"));
    };
    let named = ObjectName::parse(&first.object);
    let named = named.ok_or_else(|| ArchiveError::damaged(first.object.as_str(), "that is no object's name"))?;
    let name = ObjectName {
        first: Offset(first.first),
        last: Offset(last.last),
        ..named
    };
    let contents = inputs.iter().map(|input| object::get(tree, input));
    let contents = contents.collect::<Result<Vec<Contents>, ArchiveError>>()?;
    check(Point::ArchiveMerge)?;
    let mut writer = Writer::new(&name, level)?;
    sorted(&contents, |row| writer.push(row))?;
    let (bytes, summary) = writer.finish()?;
    let records: u64 = inputs.iter().map(|input| input.records).sum();
    match summary.records == records {
        true => Ok((name, bytes, summary)),
        false => Err(ArchiveError::damaged(
            name.to_string(),
            "it has not all records of those that it is made of",
        )),
    }
}

/// Where the reading of an object stands.
struct Cursor<'a> {
    contents: &'a Contents,
    group: Group,
    number: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The first row, if there is one.
    fn first(contents: &'a Contents) -> Result<Option<Cursor<'a>>, ArchiveError> {
        match contents.groups() {
            0 => Ok(None),
            _ => Ok(Some(Cursor {
                contents,
                group: contents.group(0)?,
                number: 0,
                at: 0,
            })),
        }
    }

    /// The next row, if there is one. No row group is empty.
    fn next(mut self) -> Result<Option<Cursor<'a>>, ArchiveError> {
        self.at += 1;
        if self.at < self.group.len() {
            return Ok(Some(self));
        }
        (self.number, self.at) = (self.number + 1, 0);
        if self.number == self.contents.groups() {
            return Ok(None);
        }
        self.group = self.contents.group(self.number)?;
        Ok(Some(self))
    }

    fn row(&self) -> Row<'_> {
        self.group.bare(self.at)
    }
}

impl Ord for Cursor<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.row().place().cmp(&other.row().place())
    }
}

impl PartialOrd for Cursor<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cursor<'_> {}

/// Gives the rows of objects, each of which is sorted, in the order of all of them.
fn sorted(
    contents: &[Contents],
    mut take: impl FnMut(&Row<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut cursors = BinaryHeap::new();
    for contents in contents {
        cursors.extend(Cursor::first(contents)?.map(Reverse));
    }
    while let Some(Reverse(cursor)) = cursors.pop() {
        take(&cursor.group.row(cursor.at, &mut Vec::new()))?;
        cursors.extend(cursor.next()?.map(Reverse));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::ids::Partition;

    /// Entries by hour and size, one behind the other.
    fn entries(sizes: &[(i64, u64)]) -> Vec<Entry> {
        let entry = |(at, (hour, bytes)): (usize, &(i64, u64))| {
            let name = ObjectName {
                hour: Hour(*hour),
                log: "fleet".to_owned(),
                partition: Partition(0),
                first: Offset(at as i64),
                last: Offset(at as i64),
            };
            Entry {
                object: name.to_string(),
                first: at as i64,
                last: at as i64,
                records: 1,
                readings: 1,
                bytes: *bytes,
                crc32c: 0,
                log_time: None,
                ts: None,
            }
        };
        sizes.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn small_neighbours_of_an_hour_are_merged() {
        type Case<'a> = (&'a [(i64, u64)], Option<Range<usize>>);
        let cases: [Case<'_>; 8] = [
            (&[], None),
            (&[(1, 10)], None),
            (&[(1, 10), (1, 10)], Some(0..2)),
            (&[(1, 10), (2, 10), (2, 10)], Some(1..3)),
            (&[(1, 60), (1, 60), (1, 10)], None),
            (&[(1, 40), (1, 40), (1, 40)], Some(0..2)),
            (&[(5, 10), (5, 10)], None),
            (&[(5, 10), (5, 30), (5, 10)], Some(0..3)),
        ];
        for (sizes, expected) in cases {
            assert_eq!(plan(&entries(sizes), 100, Hour(5)), expected, "{sizes:?}");
        }
        let mut parted = entries(&[(1, 10), (1, 10)]);
        parted[1].first += 1;
        assert_eq!(plan(&parted, 100, Hour(5)), None, "the log lacks what is between them");
    }
}
