//! Files in a folder: checkpoints, or a tree of others.

use super::direct::Direct;
use super::names::FileName;
use super::store::{Store, StoreError, Tree};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tidewatch_failpoints::{Bug, Point, check, has_bug};

/// The name of the file that a run keeps locked.
const LOCK: &str = "lock";
/// The name of a file that is there while a backup is restored.
pub const RESTORING: &str = "restoring";
/// What a file that is being written is called until it is whole.
const FRESH: &str = "new";
/// From so many bytes on a file is written past the page cache.
const LARGE: usize = 256 << 10;

/// A folder of files.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    direct: Mutex<Direct>,
    /// Whether its files are others than those of checkpoints, in folders.
    is_tree: bool,
    /// Held while it is one process's alone.
    _lock: Option<File>,
}

impl Folder {
    /// The folder, which is made when it isn't there and is ours from now on.
    ///
    /// # Errors
    /// A line that names the folder and what is wrong with it.
    pub fn open(folder: &Path) -> Result<Folder, String> {
        let shared = Folder::shared(folder)?;
        let at = |problem: String| format!("state.folder {}: {problem}", folder.display());
        let lock = File::create(folder.join(LOCK)).map_err(|error| at(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(at(
                    "another tidewatch runs on it: stop that one, or give this one its own".to_owned(),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(at(format!("it can't be locked: {error}"))),
        }
        Ok(Folder {
            _lock: Some(lock),
            ..shared
        })
    }

    /// The folder, which is made when it isn't there and may be that of other processes too.
    ///
    /// # Errors
    /// A line that names the folder and what is wrong with it.
    pub fn shared(folder: &Path) -> Result<Folder, String> {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| format!("state.folder {}: {error}", folder.display()))?;
        if folder.join(RESTORING).exists() {
            let problem = "a restore into it was not finished: empty it, and restore again";
            return Err(format!("state.folder {}: {problem}", folder.display()));
        }
        Ok(Folder {
            folder: folder.to_owned(),
            direct: Mutex::default(),
            is_tree: false,
            _lock: None,
        })
    }

    /// A folder for a tree of files, which is made when it isn't there and may be that of other processes too. The key
    /// is the one of the configuration that names it.
    ///
    /// # Errors
    /// A line that names the folder and what is wrong with it.
    pub fn tree(key: &str, folder: &Path) -> Result<Folder, String> {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| format!("{key} {}: {error}", folder.display()))?;
        Ok(Folder {
            folder: folder.to_owned(),
            direct: Mutex::default(),
            is_tree: true,
            _lock: None,
        })
    }

    fn error(&self, name: &str, error: &io::Error) -> StoreError {
        StoreError::new(self.folder.join(name).display(), error)
    }

    /// Writes a file beside its name, whole and on disk.
    fn write_fresh(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let [write, written, synced, ..] = self.points(name);
        passed(write)?;
        let fresh = self.folder.join(format!("{name}.{FRESH}"));
        if let Some((inner, _)) = name.rsplit_once('/') {
            fs::create_dir_all(self.folder.join(inner))?;
        }
        let mut way = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let direct = match bytes.len() >= LARGE {
            true => way.write(&fresh, bytes)?,
            false => None,
        };
        let file = match direct {
            Some(file) => file,
            None => {
                let mut file = File::create(&fresh)?;
                file.write_all(bytes)?;
                file
            }
        };
        if has_bug(Bug::SkipSync) {
            // As the disk has it when its cache is lost.
            file.set_len(0)?;
            file.set_len(bytes.len() as u64)?;
        }
        passed(written)?;
        file.sync_all()?;
        passed(synced)?;
        Ok(fresh)
    }

    /// Makes a file's name durable, with those of the folders that it lies in.
    fn sync(&self, name: &str) -> io::Result<()> {
        let mut inner = Path::new(name);
        while let Some(folder) = inner.parent() {
            File::open(self.folder.join(folder))?.sync_all()?;
            inner = folder;
        }
        Ok(())
    }

    /// The places that a file passes: before it is written, written, synced, renamed, durable.
    fn points(&self, name: &str) -> [Option<Point>; 5] {
        match self.is_tree {
            true => [None; 5],
            false => points(name).map(Some),
        }
    }
}

impl Store for Folder {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let put = self.write_fresh(name, bytes).and_then(|fresh| {
            let [.., renamed, durable] = self.points(name);
            fs::rename(&fresh, self.folder.join(name))?;
            passed(renamed)?;
            self.sync(name)?;
            passed(durable)
        });
        put.map_err(|error| self.error(name, &error))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Somebody else may be writing the same file.
        let own = format!("{name}.{}-{number}", std::process::id());
        let put = self.write_fresh(&own, bytes).and_then(|fresh| {
            // Unlike a rename, a link fails when the name is taken.
            let linked = fs::hard_link(&fresh, self.folder.join(name));
            fs::remove_file(&fresh)?;
            let is_new = match linked {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
                Err(error) => return Err(error),
            };
            self.sync(name).map(|()| is_new)
        });
        put.map_err(|error| self.error(name, &error))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        fs::read(self.folder.join(name)).map_err(|error| self.error(name, &error))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let names = fs::read_dir(&self.folder).and_then(|entries| {
            let files = entries.filter(|entry| !entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
            let names = files.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<io::Result<Vec<String>>>()
        });
        let mut names = names.map_err(|error| self.error("", &error))?;
        names.retain(|name| name != LOCK);
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let [before, after] = [Point::Remove, Point::Removed].map(|point| (!self.is_tree).then_some(point));
        let removed = passed(before).and_then(|()| {
            fs::remove_file(self.folder.join(name))?;
            passed(after)
        });
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.error(name, &error)),
            _ => Ok(()),
        }
    }
}

impl Tree for Folder {
    fn list_in(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        let listed = self.collect(folder.trim_end_matches('/'), &mut names);
        listed.map_err(|error| self.error(folder, &error))?;
        names.sort_unstable();
        Ok(names)
    }
}

impl Folder {
    /// The names of all files in a folder and below it. What vanishes meanwhile is not there.
    fn collect(&self, folder: &str, names: &mut Vec<String>) -> io::Result<()> {
        let entries = match fs::read_dir(self.folder.join(folder)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true => self.collect(&name, names)?,
                false => names.push(name),
            }
        }
        Ok(())
    }
}

/// Passes a place, if it is one.
fn passed(point: Option<Point>) -> io::Result<()> {
    Ok(point.map_or(Ok(()), check)?)
}

/// The places that a file of a checkpoint passes.
fn points(name: &str) -> [Point; 5] {
    match FileName::parse(name) {
        Some(FileName::Manifest(..)) => [
            Point::ManifestWrite,
            Point::ManifestWritten,
            Point::ManifestSynced,
            Point::ManifestRenamed,
            Point::ManifestDurable,
        ],
        _ => [
            Point::SegmentWrite,
            Point::SegmentWritten,
            Point::SegmentSynced,
            Point::SegmentRenamed,
            Point::SegmentDurable,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn a_folder_is_one_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Folder::open(folder.path()).expect("it is free");
        let problem = Folder::open(folder.path()).expect_err("it is taken");
        assert!(problem.contains("another tidewatch runs on it"), "{problem}");
        drop(first);
        Folder::open(folder.path()).expect("it is free again");
    }

    #[test]
    fn workers_of_a_cluster_share_a_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let _one = Folder::open(place.path()).expect("it is free");
        let shared = Folder::shared(place.path()).expect("it is not ours alone");
        conformance::check(&shared);
    }

    #[test]
    fn a_folder_is_a_tree() {
        let place = tempfile::tempdir().expect("a folder");
        let tree = Folder::tree("archive.folder", place.path()).expect("it is made");
        conformance::check(&tree);
        conformance::check_tree(&tree);
    }

    #[test]
    fn a_folder_is_a_store() {
        let place = tempfile::tempdir().expect("a folder");
        conformance::check(&Folder::open(place.path()).expect("it is free"));
    }
}
