//! `tidewatch backup` and `tidewatch restore`: all that a run has in folders, as of one moment, in one file.
//!
//! The file is a tar under zstd: it can be streamed, is whole or not there (it gets its name last), and `tar --zstd` reads
//! it. It begins with `HEAD` (which format, who made it, of which run) and ends with `LIST` (each file with its size and
//! checksum); between these are the files, in a folder a part: `state/`, `log/`, `store/`, `archive/`.
//!
//! Nothing has to stop for it, and nothing is asked of the process: it goes by files alone, in the order that makes them fit
//! together (`gather`). A start on what was restored goes on as after a kill.

mod gather;
mod pack;
mod progress;
mod restore;
#[cfg(test)]
mod tests;

use crate::cli::refuse;
use crate::config::{ArchivePlace, ConfigError, Input, Settings, SourceSettings, StateSettings, load};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The first file of a backup.
const HEAD: &str = "backup.json";
/// The last file of a backup.
const LIST: &str = "files.json";
/// The version of its form; a newer one is refused.
const FORMAT: u32 = 1;

/// The parts of a backup, which are the folders in it.
const STATE: &str = "state";
const LOG: &str = "log";
const STORE: &str = "store";
const ARCHIVE: &str = "archive";

/// What a backup says of itself first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// The version of its form.
    format: u32,
    /// The version of the program that made it.
    tidewatch: String,
    /// When it was begun, RFC 3339.
    begun: String,
}

/// What a backup says of itself last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    /// All files between the first and this one.
    files: Vec<Packed>,
    /// When the last of it was read, milliseconds since 1970.
    ended_ms: i64,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Packed {
    /// Its name.
    name: String,
    /// Its size.
    bytes: u64,
    /// The CRC-32C of its bytes.
    crc32c: u32,
}

/// Where a configuration has what a backup holds, as far as that is in folders.
#[derive(Debug)]
struct Places {
    state: PathBuf,
    log: Option<PathBuf>,
    store: Option<PathBuf>,
    archive: Option<PathBuf>,
    /// What is elsewhere, a line each.
    elsewhere: Vec<String>,
}

impl Places {
    fn of(settings: &Settings) -> Result<Places, ConfigError> {
        let StateSettings::Folder(state) = &settings.state else {
            let problem = "is s3: checkpoints are not in a folder, and the rest is worth nothing without them; keep the \
                           bucket by its own means (versions, replication)";
            return Err(ConfigError::new("state.store", problem));
        };
        let mut elsewhere = Vec::new();
        let log = match &settings.source {
            SourceSettings::Log(log, _) => Some(log.folder().to_owned()),
            SourceSettings::Kafka(_) => {
                elsewhere.push(
                    "the topic is Kafka's: it has to keep what comes after this backup until it is restored".to_owned(),
                );
                None
            }
            SourceSettings::File(_) => {
                elsewhere.push("the files that are read are not in it".to_owned());
                None
            }
            SourceSettings::Fleet(_) => None,
        };
        if settings.output.postgres.is_some() {
            elsewhere.push(
                "rows are in PostgreSQL: back that up by its own means, after this and not before (rows that are newer \
                 than the checkpoint do no harm)"
                    .to_owned(),
            );
        }
        let archive = match settings.archive.as_ref().map(|archive| &archive.place) {
            Some(ArchivePlace::Folder(folder)) => Some(folder.clone()),
            Some(ArchivePlace::S3(_)) => {
                let what = "the archive is in a bucket, which keeps it; what is restored beside the original needs an \
                            archive.s3.prefix of its own";
                elsewhere.push(what.to_owned());
                None
            }
            None => None,
        };
        let store = settings.output.embedded.as_ref();
        Ok(Places {
            state: state.clone(),
            log,
            store: store.map(|store| store.folder().to_owned()),
            archive,
            elsewhere,
        })
    }

    /// The folder of a part, if the configuration has one.
    fn of_part(&self, part: &str) -> Option<&Path> {
        match part {
            STATE => Some(&self.state),
            LOG => self.log.as_deref(),
            STORE => self.store.as_deref(),
            ARCHIVE => self.archive.as_deref(),
            _ => None,
        }
    }
}

/// Makes a backup, and says how the process ends.
pub fn back_up(input: &Input, to: &Path, without_archive: bool) -> ExitCode {
    let places = load(input).and_then(|loaded| Places::of(&loaded.settings));
    ended(places.map(|mut places| {
        if without_archive && let Some(archive) = places.archive.take() {
            let what = format!("the archive, in {}, is not in it", archive.display());
            places.elsewhere.push(what);
        }
        gather::back_up(&places, to)
    }))
}

/// Restores a backup, and says how the process ends.
pub fn restore(input: &Input, from: &Path) -> ExitCode {
    let places = load(input).and_then(|loaded| Places::of(&loaded.settings));
    ended(places.map(|places| restore::restore(&places, from)))
}

fn ended(done: Result<Result<(), String>, ConfigError>) -> ExitCode {
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) => {
            eprintln!("tidewatch: {problem}");
            ExitCode::FAILURE
        }
        Err(error) => refuse(&error),
    }
}
