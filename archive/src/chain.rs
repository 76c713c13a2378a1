//! The manifest of a partition: numbered records, one a change, of which each is put only if there is none of its number.
//!
//! So of several who want to go on from the same number one does, and the others hear of it: whoever was replaced and
//! wakes up changes nothing any more. What is there is the last record that is `whole`, and what those behind it add and
//! remove. An object counts from the moment its record is there, and no longer than until one removes it.

use crate::error::ArchiveError;
use crate::names::{self, Hour, ObjectName};
use serde::{Deserialize, Serialize};
use tidewatch_checkpoints::Tree;
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::{Offset, Partition};

/// Each so manyth record says everything.
const WHOLE_EVERY: u64 = 32;
/// So many records are kept at least, so that whoever is behind by that many still hears that it is.
const KEPT: u64 = 1024;
/// The version of what is written.
const FORMAT: u32 = 1;

/// An object as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the archive.
    pub object: String,
    /// The first position that it stands for; positions that the log skips are no records.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// Its records.
    pub records: u64,
    /// Their readings.
    pub readings: u64,
    /// Its size.
    pub bytes: u64,
    /// The CRC-32C of its bytes.
    pub crc32c: u32,
    /// The earliest and latest time at which the log appended a record, in milliseconds; none when it doesn't know.
    pub log_time: Option<(i64, i64)>,
    /// The earliest and latest event time, in milliseconds; none when there is none.
    pub ts: Option<(i64, i64)>,
}

impl Entry {
    /// The hour of its folder.
    pub fn hour(&self) -> Hour {
        ObjectName::parse(&self.object).map_or(Hour::default(), |name| name.hour)
    }
}

/// A record of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of its form.
    pub format: u32,
    /// The log.
    pub log: String,
    /// The partition.
    pub partition: u32,
    /// Its number, from 1 on without gaps.
    pub number: u64,
    /// The position at which the archive of the partition begins, if that was known before its first record or objects
    /// have left since.
    pub begin: Option<i64>,
    /// Whether `add` is everything that is there, whatever records before it say.
    pub whole: bool,
    /// Objects that come.
    pub add: Vec<Entry>,
    /// Objects that go.
    pub remove: Vec<String>,
}

/// What a record changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Objects that come.
    pub add: Vec<Entry>,
    /// Objects that go.
    pub remove: Vec<String>,
}

/// What a partition's manifest says, as far as we know.
#[derive(Clone, Debug)]
pub struct Chain {
    log: String,
    partition: Partition,
    /// The number of the last record.
    number: u64,
    begin: Option<i64>,
    entries: Vec<Entry>,
}

impl Chain {
    /// Reads a partition's manifest.
    ///
    /// # Errors
    /// When the place is away, or a record is missing or damaged.
    pub fn load(tree: &dyn Tree, log: &str, partition: Partition) -> Result<Chain, ArchiveError> {
        Chain::load_with(tree, log, partition, |_, _| {})
    }

    /// The same; `note` gets the name and the bytes of each record that says what is there.
    ///
    /// # Errors
    /// The same.
    pub fn load_with(
        tree: &dyn Tree,
        log: &str,
        partition: Partition,
        mut note: impl FnMut(String, Vec<u8>),
    ) -> Result<Chain, ArchiveError> {
        let mut chain = Chain {
            log: log.to_owned(),
            partition,
            number: 0,
            begin: None,
            entries: Vec::new(),
        };
        let names = tree.list_in(&names::manifests(log, partition))?;
        let last = names.iter().filter_map(|name| names::manifest_number(name)).max();
        let Some(last) = last else {
            return Ok(chain);
        };
        chain.number = (last / WHOLE_EVERY * WHOLE_EVERY).max(1) - 1;
        while chain.number < last {
            let name = names::manifest(log, partition, chain.number + 1);
            let bytes = tree.get(&name)?;
            let manifest: Manifest =
                serde_json::from_slice(&bytes).map_err(|error| ArchiveError::damaged(name.as_str(), error))?;
            if manifest.format != FORMAT || manifest.number != chain.number + 1 {
                return Err(ArchiveError::damaged(
                    name,
                    "it is of another version, or of another number",
                ));
            }
            chain.apply(manifest);
            note(name, bytes);
        }
        Ok(chain)
    }

    /// The objects that are there, by position.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The first position that is not in the archive; `None` when nothing is, and it isn't known where it is to begin.
    pub fn next(&self) -> Option<Offset> {
        let behind = self.entries.last().map(|entry| entry.last + 1);
        behind.or(self.begin).map(Offset)
    }

    /// Says where the archive of the partition begins, when it has nothing yet: so a start after a kill begins there too.
    ///
    /// # Errors
    /// As of [`append`](Chain::append).
    pub(crate) fn begin_at(&mut self, tree: &dyn Tree, begin: Offset) -> Result<(), ArchiveError> {
        let before = self.begin.replace(begin.0);
        let begun = self.append(tree, Change::default());
        if begun.is_err() {
            self.begin = before;
        }
        begun
    }

    /// Lets go of the first objects: so many.
    ///
    /// # Errors
    /// As of [`append`](Chain::append).
    pub(crate) fn let_go(&mut self, tree: &dyn Tree, count: usize) -> Result<(), ArchiveError> {
        let gone = &self.entries[..count.min(self.entries.len())];
        let Some(last) = gone.last() else {
            return Ok(());
        };
        let change = Change {
            remove: gone.iter().map(|entry| entry.object.clone()).collect(),
            ..Change::default()
        };
        // When all of them go, it still says where the log is gone on with.
        let before = self.begin.replace(last.last + 1);
        let gone = self.append(tree, change);
        if gone.is_err() {
            self.begin = before;
        }
        gone
    }

    /// The log.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// Adds a record. What it changes holds when this returns; after an error nobody knows, and the same is to be added
    /// again.
    ///
    /// # Errors
    /// When the place is away, or somebody else has added a record meanwhile.
    pub fn append(&mut self, tree: &dyn Tree, change: Change) -> Result<(), ArchiveError> {
        let number = self.number + 1;
        let whole = number.is_multiple_of(WHOLE_EVERY);
        let mut manifest = Manifest {
            format: FORMAT,
            log: self.log.clone(),
            partition: self.partition.0,
            number,
            begin: self.begin,
            whole: false,
            add: change.add,
            remove: change.remove,
        };
        if whole {
            let mut after = self.clone();
            after.apply(manifest.clone());
            manifest.add = after.entries;
            manifest.whole = true;
        }
        let name = names::manifest(&self.log, self.partition, number);
        let bytes =
            serde_json::to_vec_pretty(&manifest).map_err(|error| ArchiveError::damaged(name.as_str(), error))?;
        check(Point::ArchiveManifest)?;
        // After an error it may have been there all the same.
        if !tree.put_new(&name, &bytes)? && tree.get(&name)? != bytes {
            return Err(ArchiveError::overtaken(name));
        }
        check(Point::ArchiveListed)?;
        self.apply(manifest);
        Ok(())
    }

    fn apply(&mut self, manifest: Manifest) {
        self.number = manifest.number;
        self.begin = manifest.begin;
        if manifest.whole {
            self.entries = manifest.add;
            return;
        }
        let remove = manifest.remove;
        self.entries.retain(|entry| !remove.contains(&entry.object));
        self.entries.extend(manifest.add);
        self.entries.sort_by_key(|entry| entry.first);
    }

    /// The names of records that nobody needs, of all that are there.
    pub(crate) fn old<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let least = (self.number.saturating_sub(KEPT)) / WHOLE_EVERY * WHOLE_EVERY;
        let is_old = |name: &&str| names::manifest_number(name).is_some_and(|number| number < least);
        names.iter().map(String::as_str).filter(is_old).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_checkpoints::{Folder, Store};

    fn entry(first: i64) -> Entry {
        Entry {
            object: format!("raw/{first}"),
            first,
            last: first + 9,
            records: 10,
            readings: 40,
            bytes: 100,
            crc32c: 7,
            log_time: Some((0, 1)),
            ts: None,
        }
    }

    fn adding(first: i64) -> Change {
        Change {
            add: vec![entry(first)],
            remove: Vec::new(),
        }
    }

    #[test]
    fn one_of_two_goes_on_and_the_other_hears_of_it() {
        let place = tempfile::tempdir().expect("a folder");
        let tree = Folder::tree("archive.folder", place.path()).expect("made");
        let load = || Chain::load(&tree, "fleet", Partition(3)).expect("read");
        let (mut one, mut other) = (load(), load());
        assert_eq!(one.next(), None);
        one.append(&tree, adding(0)).expect("the first");
        let problem = other.append(&tree, adding(5)).expect_err("overtaken");
        assert_eq!(problem.kind, crate::Kind::Again);
        assert_eq!(other.next(), None, "it is as it was");
        // What failed after it was there is there.
        other.append(&tree, adding(0)).expect("the same");
        assert_eq!((one.next(), other.next()), (Some(Offset(10)), Some(Offset(10))));
    }

    #[test]
    fn it_is_read_from_the_last_record_that_says_everything() {
        let place = tempfile::tempdir().expect("a folder");
        let tree = Folder::tree("archive.folder", place.path()).expect("made");
        let mut chain = Chain::load(&tree, "fleet", Partition(0)).expect("nothing");
        for number in 0..100 {
            chain.append(&tree, adding(number * 10)).expect("added");
            if number % 3 == 2 {
                let merged = Entry {
                    object: format!("raw/merged-{number}"),
                    last: number * 10 + 9,
                    ..entry(number * 10 - 20)
                };
                let remove = [-2, -1, 0].map(|by| format!("raw/{}", (number + by) * 10)).to_vec();
                let add = vec![merged];
                chain.append(&tree, Change { add, remove }).expect("merged");
            }
            let read = Chain::load(&tree, "fleet", Partition(0)).expect("read");
            assert_eq!((read.entries(), read.number), (chain.entries(), chain.number));
        }
        assert_eq!(chain.entries().len(), 34);
        for old in 1..=64 {
            tree.remove(&names::manifest("fleet", Partition(0), old))
                .expect("removed");
        }
        assert_eq!(
            Chain::load(&tree, "fleet", Partition(0)).expect("read").entries(),
            chain.entries()
        );
        tree.remove(&names::manifest("fleet", Partition(0), 130))
            .expect("removed");
        Chain::load(&tree, "fleet", Partition(0)).expect_err("one is missing");
    }
}
