//! The files of a log, held for a copy while a process may append to it and let old ones go.

use super::frame::Tail;
use super::open::known_id;
use super::segment::{ENDING, Found, Id, look_through, tail_before};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::SourceError;

pub use super::open::ID;

/// So often the end of a file may change while it is looked for.
const TRIES: usize = 5;

/// Files of a log that stay readable, whatever becomes of their names.
#[derive(Debug)]
pub struct Held {
    folder: PathBuf,
    id: Id,
    /// By partition and first offset.
    files: BTreeMap<(u32, i64), (PathBuf, File)>,
}

/// A file of the log to copy: its first so many bytes, which are whole batches.
#[derive(Debug)]
pub struct Copied {
    /// Its name in the log's folder.
    pub name: String,
    /// It, at its beginning.
    pub file: File,
    /// How many of its bytes.
    pub bytes: u64,
}

/// What a copy has of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: Partition,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset after its last one.
    pub end: Offset,
}

impl Held {
    /// Holds what the log has; `None` when there is no log in the folder.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn hold(folder: &Path) -> Result<Option<Held>, SourceError> {
        let path = folder.join(ID);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| at(&path, &error.to_string()))?,
        };
        let mut held = Held {
            folder: folder.to_owned(),
            id: known_id(&path, &text)?,
            files: BTreeMap::new(),
        };
        held.hold_more()?;
        Ok(Some(held))
    }

    /// Holds the files too that have come since. A file stays for longer than two checkpoints take: who calls this once
    /// in half a second misses none.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn hold_more(&mut self) -> Result<(), SourceError> {
        for entry in list(&self.folder)? {
            let Some(partition) = entry.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else {
                continue;
            };
            for path in list(&entry)? {
                let base = path.file_stem().and_then(|stem| stem.to_str()?.parse::<i64>().ok());
                let is_file = path.extension().is_some_and(|ending| ending == &ENDING[1..]);
                if let Some(base) = base.filter(|_| is_file) {
                    self.hold_file((partition, base), path)?;
                }
            }
        }
        Ok(())
    }

    /// Holds a file, unless it is held, or gone already.
    fn hold_file(&mut self, key: (u32, i64), path: PathBuf) -> Result<(), SourceError> {
        let inode = |file: &File| file.metadata().map(|data| data.ino());
        let held = self.files.get(&key).and_then(|(_, file)| inode(file).ok());
        let opened = fs::metadata(&path).and_then(|now| match held == Some(now.ino()) {
            true => Ok(None),
            false => File::open(&path).map(Some),
        });
        match opened {
            Ok(None) => Ok(()),
            Ok(Some(file)) => {
                self.files.insert(key, (path, file));
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at(&path, &error.to_string())),
        }
    }

    /// Gives what is to be copied, and what that is of each partition: all until now, up to the last whole batch.
    ///
    /// # Errors
    /// When a file can't be read, or the log is damaged at its end.
    pub fn finish(mut self) -> Result<(Vec<Copied>, Vec<Extent>), SourceError> {
        self.hold_more()?;
        let (mut copied, mut extents): (Vec<Copied>, Vec<Extent>) = (Vec::new(), Vec::new());
        let keys: Vec<(u32, i64)> = self.files.keys().copied().collect();
        for (place, ((number, base), (path, mut file))) in self.files.into_iter().enumerate() {
            let partition = Partition(number);
            let is_last = keys.get(place + 1).is_none_or(|next| next.0 != number);
            if place == 0 || keys[place - 1].0 != number {
                let (first, end) = (Offset(base), Offset(base));
                extents.push(Extent { partition, first, end });
            }
            let bytes = match is_last {
                false => file.metadata().map_err(|error| at(&path, &error.to_string()))?.len(),
                true => {
                    let found = whole(&path, &mut file, (&self.id, partition))?;
                    if let Some(extent) = extents.last_mut() {
                        extent.end = found.tail.end;
                    }
                    found.bytes
                }
            };
            let name = path.strip_prefix(&self.folder).unwrap_or(&path);
            copied.push(Copied {
                name: name.display().to_string(),
                file,
                bytes,
            });
        }
        Ok((copied, extents))
    }
}

/// What is whole of a file to which somebody may append.
fn whole(path: &Path, file: &mut File, (id, partition): (&Id, Partition)) -> Result<Found, SourceError> {
    let mut tries = 0;
    loop {
        let bytes = read(file).map_err(|error| at(path, &error.to_string()))?;
        let before: Tail = tail_before(path, &bytes, id, partition)?;
        match look_through(&bytes, before) {
            Ok(found) => return Ok(found),
            // The end was being written.
            Err(_) if tries < TRIES => tries += 1,
            Err(problem) => return Err(at(path, &problem)),
        }
    }
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    file.rewind()?;
    Ok(bytes)
}

/// What is in a folder; nothing when it is gone.
fn list(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(|error| at(folder, &error.to_string()))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths
        .collect::<io::Result<_>>()
        .map_err(|error| at(folder, &error.to_string()))
}

fn at(path: &Path, problem: &str) -> SourceError {
    SourceError::new(path.display().to_string(), problem)
}
