//! Removes what no manifest names: objects of writers that were killed or overtaken, and those that were merged.

use crate::chain::{Chain, Change};
use crate::error::ArchiveError;
use crate::names::{self, ObjectName, RAW};
use crate::stats::Stats;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidewatch_checkpoints::Tree;
use tidewatch_failpoints::{Bug, Point, check, has_bug};

/// Remembers what no manifest named, and since when.
///
/// What is about to be removed could still be what somebody who was replaced is about to name. So a record that changes
/// nothing is added to the manifest first: whoever wanted to go on from the number before can't any more.
#[derive(Debug, Default)]
pub struct Collector {
    seen: BTreeMap<String, Instant>,
}

impl Collector {
    /// Looks for what these partitions have in the archive, and removes what has had no name for so long.
    ///
    /// # Errors
    /// When the place is away, or somebody else archives the same.
    pub fn collect<'c>(
        &mut self,
        tree: &dyn Tree,
        chains: impl IntoIterator<Item = &'c mut Chain>,
        (now, grace): (Instant, Duration),
        stats: &Stats,
    ) -> Result<(), ArchiveError> {
        let files = tree.list_in(RAW)?;
        self.seen
            .retain(|name, _| !name.starts_with(RAW) || files.binary_search(name).is_ok());
        for chain in chains {
            let records = tree.list_in(&names::manifests(chain.log(), chain.partition()))?;
            let old: Vec<&str> = chain.old(&records);
            let nameless = nameless(chain, &files);
            let unfinished = records.iter().filter(|name| names::manifest_number(name).is_none());
            let candidates: Vec<&String> = nameless.into_iter().chain(unfinished).collect();
            let due = self.due(&candidates, (now, grace));
            if !due.is_empty() {
                chain.append(tree, Change::default())?;
            }
            for name in due.iter().map(String::as_str).chain(old) {
                check(Point::ArchiveRemove)?;
                tree.remove(name)?;
                check(Point::ArchiveRemoved)?;
                self.seen.remove(name);
                stats.removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Whether something has no name, and is to be looked at again when its grace is over.
    pub fn waits(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Those that were seen long enough ago for the first time.
    fn due(&mut self, names: &[&String], (now, grace): (Instant, Duration)) -> Vec<String> {
        let is_due = |name: &&&String| {
            let first = *self.seen.entry((**name).clone()).or_insert(now);
            now.duration_since(first) >= grace
        };
        names.iter().filter(is_due).map(|name| (*name).clone()).collect()
    }
}

/// The files of a partition that its manifest doesn't name. Of what isn't archived yet nothing is known.
fn nameless<'a>(chain: &Chain, files: &'a [String]) -> Vec<&'a String> {
    let entries = chain.entries();
    let entries = match has_bug(Bug::CollectNamed) {
        true => &entries[..entries.len().saturating_sub(1)],
        false => entries,
    };
    let named: BTreeSet<&str> = entries.iter().map(|entry| entry.object.as_str()).collect();
    let is_past = |name: &ObjectName| chain.next().is_some_and(|next| name.first < next);
    let is_ours = |name: &ObjectName| name.log == chain.log() && name.partition == chain.partition() && is_past(name);
    let is_nameless = |file: &&String| {
        let parsed = ObjectName::parse(file).or_else(|| ObjectName::of_unfinished(file));
        parsed.as_ref().is_some_and(is_ours) && !named.contains(file.as_str())
    };
    files.iter().filter(is_nameless).collect()
}
