//! Checkpoints in a folder.

use super::direct::Direct;
use super::names::FileName;
use super::store::{Store, StoreError};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tidewatch_failpoints::{Bug, Point, check, has_bug};

/// The name of the file that a run keeps locked.
const LOCK: &str = "lock";
/// What a file that is being written is called until it is whole.
const FRESH: &str = "new";
/// From so many bytes on a file is written past the page cache.
const LARGE: usize = 256 << 10;

/// A folder of files.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    direct: Mutex<Direct>,
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
        Ok(Folder {
            folder: folder.to_owned(),
            direct: Mutex::default(),
            _lock: None,
        })
    }

    fn error(&self, name: &str, error: &io::Error) -> StoreError {
        StoreError::new(self.folder.join(name).display(), error)
    }

    /// Writes a file beside its name, whole and on disk.
    fn write_fresh(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let [write, written, synced, ..] = points(name);
        check(write)?;
        let fresh = self.folder.join(format!("{name}.{FRESH}"));
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
        check(written)?;
        file.sync_all()?;
        check(synced)?;
        Ok(fresh)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Store for Folder {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let put = self.write_fresh(name, bytes).and_then(|fresh| {
            let [.., renamed, durable] = points(name);
            fs::rename(&fresh, self.folder.join(name))?;
            check(renamed)?;
            self.sync()?;
            Ok(check(durable)?)
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
            self.sync().map(|()| is_new)
        });
        put.map_err(|error| self.error(name, &error))
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        fs::read(self.folder.join(name)).map_err(|error| self.error(name, &error))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let names = fs::read_dir(&self.folder).and_then(|entries| {
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<io::Result<Vec<String>>>()
        });
        let mut names = names.map_err(|error| self.error("", &error))?;
        names.retain(|name| name != LOCK);
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let removed = check(Point::Remove).map_err(io::Error::from).and_then(|()| {
            fs::remove_file(self.folder.join(name))?;
            Ok(check(Point::Removed)?)
        });
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.error(name, &error)),
            _ => Ok(()),
        }
    }
}

/// The places that a file passes: before it is written, written, synced, renamed, durable.
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
    fn a_folder_is_a_store() {
        let place = tempfile::tempdir().expect("a folder");
        conformance::check(&Folder::open(place.path()).expect("it is free"));
    }
}
