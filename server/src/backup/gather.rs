//! What a backup is made of, in the order that makes it fit together while a run goes on.
//!
//! 1. **The archive's objects**, which may be many: they don't change, and what comes meanwhile is taken later.
//! 2. **The log's files are held** (opened): from here on nothing of them is lost, whatever retention removes.
//! 3. **The archive** again: objects that have come, and the manifests as they are then. The log has all that is behind them.
//! 4. **The checkpoint is held.** The log has all that comes after it.
//! 5. **The store**, as of one moment. It may be ahead of the checkpoint: what was delivered to it since is delivered again
//!    by whoever goes on, with newer revisions and the same values, which is what a start from the checkpoint before the
//!    last does too. Were it behind, rows that the checkpoint knows as delivered would be missing.
//! 6. **The log's end**: it is behind neither store, checkpoint nor archive, so whatever they know of is in it.
//! 7. **Claims of generations** last: whoever goes on claims one after the newest.

use super::pack::Pack;
use super::progress::{Progress, size};
use super::{ARCHIVE, LOG, Places, STATE, STORE};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tidewatch_archive::{Chain, partitions};
use tidewatch_checkpoints::{Folder, Pinned, Store as _, Tree, beside};
use tidewatch_proto::ids::{EPOCH_MS, Partition};
use tidewatch_sinks::SinkError;
use tidewatch_sinks::sqlite::Sqlite;
use tidewatch_sources::log::copy::{Copied, Extent, Held, ID};

/// How often files of the log that have come are held too.
const HOLD: Duration = Duration::from_millis(300);
/// So often the archive may change while it is looked at.
const TRIES: usize = 5;

/// Makes a backup.
///
/// # Errors
/// What can't be read or written, or is damaged.
pub fn back_up(places: &Places, to: &Path) -> Result<(), String> {
    let begun = SystemTime::now();
    let to = named(to, begun);
    if !places.state.is_dir() {
        return Err(format!(
            "state.folder {}: there is nothing to back up",
            places.state.display()
        ));
    }
    let begun = humantime::format_rfc3339_seconds(begun).to_string();
    let mut backup = Backup {
        pack: Pack::begin(&to, begun)?,
        progress: Progress::new(),
        held: None,
        looked: Instant::now(),
    };
    if let Some(archive) = &places.archive {
        backup.archive(archive, &mut BTreeSet::new(), places.log.as_deref())?;
    }
    if let (None, Some(log)) = (&backup.held, &places.log) {
        backup.held = Held::hold(log).map_err(said)?;
    }
    let pinned = backup.checkpoint(&places.state)?;
    let store = places
        .store
        .as_deref()
        .map(|store| backup.copy_store(store))
        .transpose()?;
    let ended = backup.held.take().map(Held::finish).transpose().map_err(said)?;
    backup.store(store.flatten())?;
    let extents = backup.log(places.log.as_deref(), ended)?;
    if let (Some(pinned), Some(_)) = (&pinned, &places.log) {
        reaches(pinned, &extents)?;
    }
    backup.beside(&places.state)?;
    let Backup { pack, mut progress, .. } = backup;
    let (files, bytes) = pack.total();
    let packed = pack.finish(wall_ms())?;
    for what in &places.elsewhere {
        progress.line(&format!("not in it: {what}"));
    }
    progress.line(&format!(
        "{}: {files} files of {}, in {}; tidewatch restore brings it back",
        to.display(),
        size(bytes),
        size(packed)
    ));
    Ok(())
}

/// The backup's name: in a folder it gets one by the time.
fn named(to: &Path, begun: SystemTime) -> PathBuf {
    if !to.is_dir() {
        return to.to_owned();
    }
    let time = humantime::format_rfc3339_seconds(begun).to_string();
    to.join(format!("tidewatch-{}.tar.zst", time.replace(':', "-")))
}

struct Backup {
    pack: Pack,
    progress: Progress,
    /// The files of the log.
    held: Option<Held>,
    /// When it was last looked for more of them.
    looked: Instant,
}

impl Backup {
    /// Holds files of the log that have come, now and then.
    fn keep_up(&mut self) -> Result<(), String> {
        if self.looked.elapsed() >= HOLD {
            self.looked = Instant::now();
            self.held.as_mut().map_or(Ok(()), Held::hold_more).map_err(said)?;
        }
        Ok(())
    }

    /// The archive: all objects, then what has come since together with the manifests. The log is held in between.
    fn archive(&mut self, folder: &Path, taken: &mut BTreeSet<String>, log: Option<&Path>) -> Result<(), String> {
        if !folder.is_dir() {
            return Ok(());
        }
        let before = self.pack.total();
        let tree = Folder::tree("archive.folder", folder)?;
        for (log, partition) in partitions(&tree).map_err(said)? {
            self.partition(&tree, (&log, partition), taken)?;
        }
        if let Some(log) = log {
            self.held = Held::hold(log).map_err(said)?;
        }
        for (log, partition) in partitions(&tree).map_err(said)? {
            for (name, bytes) in self.partition(&tree, (&log, partition), taken)? {
                let name = format!("{ARCHIVE}/{name}");
                self.pack.add(&name, bytes.len() as u64, &bytes[..])?;
            }
        }
        self.said_of("archive", before);
        Ok(())
    }

    /// Takes a partition's objects that were not taken yet. Gives the records of its manifest that name all that was.
    fn partition(
        &mut self,
        tree: &Folder,
        (log, partition): (&str, Partition),
        taken: &mut BTreeSet<String>,
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut records = Vec::new();
            let chain = Chain::load_with(tree, log, partition, |name, bytes| records.push((name, bytes)));
            let done = chain.map_err(said).and_then(|chain| self.objects(tree, &chain, taken));
            match done {
                Ok(()) => return Ok(records),
                // It may have been merged meanwhile: then the manifest says so.
                Err(_) if tries < TRIES => {}
                Err(problem) => return Err(problem),
            }
        }
    }

    fn objects(&mut self, tree: &dyn Tree, chain: &Chain, taken: &mut BTreeSet<String>) -> Result<(), String> {
        let missing: Vec<_> = chain
            .entries()
            .iter()
            .filter(|entry| !taken.contains(&entry.object))
            .collect();
        for (place, entry) in missing.iter().enumerate() {
            self.keep_up()?;
            self.progress.at(|| {
                format!(
                    "archive: object {} of {} of partition {}",
                    place + 1,
                    missing.len(),
                    chain.partition()
                )
            });
            let bytes = tree.get(&entry.object).map_err(said)?;
            if (bytes.len() as u64, crc32c::crc32c(&bytes)) != (entry.bytes, entry.crc32c) {
                let place = tree.place();
                let object = &entry.object;
                return Err(format!(
                    "{place}/{object}: its bytes are not those that its manifest names"
                ));
            }
            self.pack
                .add(&format!("{ARCHIVE}/{}", entry.object), entry.bytes, &bytes[..])?;
            taken.insert(entry.object.clone());
        }
        Ok(())
    }

    /// The newest whole checkpoint.
    fn checkpoint(&mut self, folder: &Path) -> Result<Option<Pinned>, String> {
        self.keep_up()?;
        let before = self.pack.total();
        let mut pinned = Pinned::newest(folder)?;
        let Some(found) = &mut pinned else {
            self.progress.line("checkpoint: there is none yet");
            return Ok(None);
        };
        for problem in &found.refused {
            self.progress
                .line(&format!("{problem}; the checkpoint before it is taken"));
        }
        let count = found.files.len();
        for (place, (name, file)) in found.files.iter_mut().enumerate() {
            self.progress
                .at(|| format!("checkpoint: file {} of {count}", place + 1));
            let bytes = file.metadata().and_then(|data| file.rewind().map(|()| data.len()));
            let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
            self.pack.add(&format!("{STATE}/{name}"), bytes, &mut *file)?;
            self.held.as_mut().map_or(Ok(()), Held::hold_more).map_err(said)?;
        }
        let of = SystemTime::UNIX_EPOCH + Duration::from_millis(found.meta.epoch.0.saturating_mul(EPOCH_MS));
        let of = humantime::format_rfc3339_seconds(of);
        self.said_of(&format!("checkpoint of {of}"), before);
        Ok(pinned)
    }

    /// The embedded store, as of one moment: copied beside the backup, since it changes.
    fn copy_store(&mut self, folder: &Path) -> Result<Option<Temporary>, String> {
        let copy = Temporary(self.pack.beside(STORE));
        // One of a backup that was killed.
        let _ = fs::remove_file(&copy.0);
        let there = Sqlite::copy(folder, &copy.0, |percent| {
            self.progress.at(|| format!("store: {percent} % copied"));
            self.keep_up().map_err(Said)
        });
        Ok(there.map_err(|problem| problem.0)?.then_some(copy))
    }

    fn store(&mut self, copy: Option<Temporary>) -> Result<(), String> {
        let Some(copy) = copy else {
            return Ok(());
        };
        let before = self.pack.total();
        let wrong = |error: std::io::Error| format!("{}: {error}", copy.0.display());
        let file = File::open(&copy.0).map_err(wrong)?;
        let bytes = file.metadata().map_err(wrong)?.len();
        self.progress.at(|| format!("store: {}", size(bytes)));
        self.pack.add(&format!("{STORE}/{}", Sqlite::FILE), bytes, file)?;
        self.said_of("store", before);
        Ok(())
    }

    /// The log, until its end was looked for.
    fn log(&mut self, folder: Option<&Path>, ended: Option<(Vec<Copied>, Vec<Extent>)>) -> Result<Vec<Extent>, String> {
        let (Some((files, extents)), Some(folder)) = (ended, folder) else {
            return Ok(Vec::new());
        };
        let before = self.pack.total();
        let count = files.len();
        for (place, file) in files.into_iter().enumerate() {
            self.progress.at(|| format!("log: file {} of {count}", place + 1));
            self.pack.add(&format!("{LOG}/{}", file.name), file.bytes, file.file)?;
        }
        // Last, as it is what says that there is a log.
        let id = folder.join(ID);
        let text = fs::read(&id).map_err(|error| format!("{}: {error}", id.display()))?;
        self.pack.add(&format!("{LOG}/{ID}"), text.len() as u64, &text[..])?;
        self.said_of("log", before);
        Ok(extents)
    }

    /// What lies beside the checkpoints.
    fn beside(&mut self, folder: &Path) -> Result<(), String> {
        let names = beside(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let store = Folder::shared(folder)?;
        for name in names {
            // What a newer run has removed meanwhile is needed by nobody.
            if let Ok(bytes) = store.get(&name) {
                self.pack
                    .add(&format!("{STATE}/{name}"), bytes.len() as u64, &bytes[..])?;
            }
        }
        Ok(())
    }

    fn said_of(&mut self, what: &str, (files_before, bytes_before): (usize, u64)) {
        let (files, bytes) = self.pack.total();
        let (files, bytes) = (files - files_before, size(bytes - bytes_before));
        let noun = if files == 1 { "file" } else { "files" };
        self.progress.line(&format!("{what}: {files} {noun}, {bytes}"));
    }
}

/// A log that a checkpoint can't go on in is no copy of its log.
fn reaches(pinned: &Pinned, extents: &[Extent]) -> Result<(), String> {
    for position in &pinned.meta.positions {
        let (partition, next) = (position.partition, position.next);
        let problem = match extents.iter().find(|extent| extent.partition == partition) {
            Some(extent) if (extent.first..=extent.end).contains(&next) => continue,
            Some(extent) => format!("was copied from {} to {}", extent.first, extent.end),
            None => "is not there".to_owned(),
        };
        return Err(format!(
            "the log's partition {partition} {problem}, but the checkpoint goes on at {next}: back up again"
        ));
    }
    Ok(())
}

/// A file that is removed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = fs::remove_file(&self.0);
    }
}

/// What went wrong, said.
struct Said(String);

impl From<SinkError> for Said {
    fn from(error: SinkError) -> Said {
        Said(error.to_string())
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The wall clock, milliseconds since 1970.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
