//! Files that are written past the page cache: nobody reads a segment soon, and copying it there costs more than all
//! else that is done with it.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// What is written at once, in bytes.
const STEP: usize = 1 << 20;
/// Where memory and places in the file must begin, in bytes.
const ALIGNMENT: usize = 4096;

/// Writes files directly.
#[derive(Debug, Default)]
pub(super) struct Direct {
    /// A step, and room to align it.
    room: Vec<u8>,
    /// The file system can't.
    is_refused: bool,
}

impl Direct {
    /// Writes a new file, which is still to be synced; `None` when the file system can't do it this way.
    ///
    /// # Errors
    /// When it fails otherwise.
    pub(super) fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<Option<File>> {
        if self.is_refused {
            return Ok(None);
        }
        match self.steps(path, bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                self.is_refused = true;
                Ok(None)
            }
            written => written.map(Some),
        }
    }

    fn steps(&mut self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        let mut file = open(path)?;
        self.room.resize(STEP + ALIGNMENT, 0);
        let from = self.room.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let room = &mut self.room[from..from + STEP];
        for step in bytes.chunks(STEP) {
            room[..step.len()].copy_from_slice(step);
            // What is written beyond the end is cut off below.
            file.write_all(&room[..step.len().next_multiple_of(ALIGNMENT)])?;
        }
        file.set_len(bytes.len() as u64)?;
        Ok(file)
    }
}

#[cfg(target_os = "linux")]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(libc::O_DIRECT).open(path)
}

#[cfg(not(target_os = "linux"))]
fn open(_: &Path) -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_just_the_bytes_whatever_their_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut direct = Direct::default();
        for length in [1, ALIGNMENT, STEP - 1, STEP, STEP + 1, 2 * STEP + ALIGNMENT + 5] {
            let bytes: Vec<u8> = (0..length).map(|n| (n / 7) as u8).collect();
            let path = folder.path().join(length.to_string());
            match direct.write(&path, &bytes).expect("written") {
                Some(_) => assert_eq!(std::fs::read(&path).expect("read"), bytes, "{length} bytes"),
                None => assert!(direct.is_refused),
            }
        }
    }
}
