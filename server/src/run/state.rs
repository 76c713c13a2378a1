//! The file that a clean stop leaves: where reading stood, and all that was in memory.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tidewatch_dataflow::checkpoint::{self, Saved};

/// The name of the file in the state folder.
const FILE: &str = "state.tidewatch";
/// The name of the file that a run keeps locked.
const LOCK: &str = "lock";

/// The state folder.
#[derive(Debug)]
pub struct StateFolder {
    folder: PathBuf,
    /// Locked as long as this is.
    _lock: File,
}

impl StateFolder {
    /// The state in a folder, which is made when it isn't there and is ours from now on.
    ///
    /// # Errors
    /// A line that names the folder and what is wrong with it.
    pub fn open(folder: &Path) -> Result<StateFolder, String> {
        let at = |problem: String| format!("state.folder {}: {problem}", folder.display());
        fs::create_dir_all(folder).map_err(|error| at(error.to_string()))?;
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
        Ok(StateFolder {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// What the last clean stop left, if there was one.
    ///
    /// # Errors
    /// A line that names the file and what is wrong with it. Starting over is the user's decision.
    pub fn load(&self) -> Result<Option<Saved>, String> {
        let file = self.file();
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", file.display())),
        };
        let saved = checkpoint::decode(&bytes);
        saved.map(Some).map_err(|error| self.unusable(&error))
    }

    /// Why the state that is there can't be gone on from, and what to do.
    pub fn unusable(&self, problem: &dyn std::fmt::Display) -> String {
        let file = self.file();
        let advice = "move it away to start over, or set another state.folder";
        format!("{}: {problem}; {advice}", file.display())
    }

    /// Saves how a run ended, atomically: the old file stays until the new one is whole on disk.
    ///
    /// # Errors
    /// A line that names the file and what is wrong.
    pub fn save(&self, saved: &Saved) -> Result<(), String> {
        let file = self.file();
        let fresh = file.with_extension("new");
        let written = File::create(&fresh).and_then(|mut out| {
            out.write_all(&checkpoint::encode(saved))?;
            out.sync_all()?;
            fs::rename(&fresh, &file)?;
            File::open(&self.folder)?.sync_all()
        });
        written.map_err(|error| format!("{}: {error}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateFolder::open(folder.path()).expect("it is free");
        let problem = StateFolder::open(folder.path()).expect_err("it is taken");
        assert!(problem.contains("another tidewatch runs on it"), "{problem}");
        drop(first);
        StateFolder::open(folder.path()).expect("it is free again");
    }
}
