//! The file that a clean stop leaves: where reading stood, and all that was in memory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tidewatch_dataflow::checkpoint::{self, Saved};

/// The name of the file in the state folder.
const FILE: &str = "state.tidewatch";

/// The state folder.
#[derive(Debug)]
pub struct StateFolder {
    folder: PathBuf,
}

impl StateFolder {
    /// The state in a folder, which is made when it isn't there.
    ///
    /// # Errors
    /// A line that names the folder and what is wrong with it.
    pub fn open(folder: &Path) -> Result<StateFolder, String> {
        fs::create_dir_all(folder).map_err(|error| format!("state.folder {}: {error}", folder.display()))?;
        Ok(StateFolder {
            folder: folder.to_owned(),
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
        let advice = "move it away to start over from the source's start";
        saved
            .map(Some)
            .map_err(|error| format!("{}: {error}; {advice}", file.display()))
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
