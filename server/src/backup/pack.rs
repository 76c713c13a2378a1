//! Writes a backup: files into a tar, the tar through zstd into a file that gets its name when it is whole.

use super::{FORMAT, HEAD, Head, LIST, List, Packed};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The level of zstd: most of what there is to gain, as fast as a disk.
const LEVEL: i32 = 3;
/// What a backup is called until it is whole.
const UNFINISHED: &str = "part";

/// A backup that is being written. Dropped before its end, it leaves nothing.
pub struct Pack {
    to: PathBuf,
    unfinished: PathBuf,
    tar: Option<tar::Builder<zstd::Encoder<'static, File>>>,
    files: Vec<Packed>,
}

impl Pack {
    /// Begins a backup that is to have this name.
    ///
    /// # Errors
    /// When it is there already, or can't be written.
    pub fn begin(to: &Path, begun: String) -> Result<Pack, String> {
        if to.exists() {
            return Err(format!("{} is there already: name another file", to.display()));
        }
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = to.with_file_name(format!("{name}.{UNFINISHED}"));
        let begin = || {
            let mut zstd = zstd::Encoder::new(File::create(&unfinished)?, LEVEL)?;
            zstd.include_checksum(true)?;
            Ok(tar::Builder::new(zstd))
        };
        let tar = begin().map_err(|error: io::Error| format!("{}: {error}", unfinished.display()))?;
        let mut pack = Pack {
            to: to.to_owned(),
            unfinished,
            tar: Some(tar),
            files: Vec::new(),
        };
        let head = Head {
            format: FORMAT,
            tidewatch: env!("CARGO_PKG_VERSION").to_owned(),
            begun,
        };
        let head = serde_json::to_vec_pretty(&head).map_err(|error| error.to_string())?;
        pack.append(HEAD, head.len() as u64, &head[..])?;
        Ok(pack)
    }

    /// A file beside the backup, for what has to be copied first.
    pub fn beside(&self, name: &str) -> PathBuf {
        let own = self.unfinished.file_name().unwrap_or_default().to_string_lossy();
        self.unfinished.with_file_name(format!("{own}.{name}"))
    }

    /// Adds a file of so many bytes.
    ///
    /// # Errors
    /// When it has fewer, can't be read, or the backup can't be written.
    pub fn add(&mut self, name: &str, bytes: u64, from: impl Read) -> Result<(), String> {
        let crc32c = self.append(name, bytes, from)?;
        self.files.push(Packed {
            name: name.to_owned(),
            bytes,
            crc32c,
        });
        Ok(())
    }

    /// How many files it has, and how many bytes these are.
    pub fn total(&self) -> (usize, u64) {
        (self.files.len(), self.files.iter().map(|file| file.bytes).sum())
    }

    fn append(&mut self, name: &str, bytes: u64, from: impl Read) -> Result<u32, String> {
        let wrong = |problem: String| format!("{name}, into {}: {problem}", self.unfinished.display());
        let Some(tar) = &mut self.tar else {
            return Err(wrong("the backup has ended".to_owned()));
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        let mut counted = Counted::new(from.take(bytes));
        let appended = tar.append_data(&mut header, name, &mut counted);
        appended.map_err(|error| wrong(error.to_string()))?;
        match counted.bytes == bytes {
            true => Ok(counted.crc32c),
            false => Err(wrong(format!("it ends after {} of {bytes} bytes", counted.bytes))),
        }
    }

    /// Writes the list of files, and gives the backup its name. Gives its size.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self, ended_ms: i64) -> Result<u64, String> {
        let list = List {
            files: std::mem::take(&mut self.files),
            ended_ms,
        };
        let list = serde_json::to_vec_pretty(&list).map_err(|error| error.to_string())?;
        self.append(LIST, list.len() as u64, &list[..])?;
        let Some(tar) = self.tar.take() else {
            return Err("the backup has ended".to_owned());
        };
        let finish = || {
            let mut file = tar.into_inner()?.finish()?;
            file.flush()?;
            file.sync_all()?;
            // Unlike a rename, a link takes no other file's place.
            fs::hard_link(&self.unfinished, &self.to)?;
            let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        finish().map_err(|error: io::Error| format!("{}: {error}", self.to.display()))
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        // It may be gone.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// Counts what is read, and sums it up.
pub struct Counted<R> {
    from: R,
    /// How much was read.
    pub bytes: u64,
    /// The CRC-32C of it.
    pub crc32c: u32,
    /// Whether it could not be read.
    pub failed: bool,
}

impl<R> Counted<R> {
    pub fn new(from: R) -> Counted<R> {
        Counted {
            from,
            bytes: 0,
            crc32c: 0,
            failed: false,
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into).inspect_err(|_| self.failed = true)?;
        self.bytes += count as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, &into[..count]);
        Ok(count)
    }
}
