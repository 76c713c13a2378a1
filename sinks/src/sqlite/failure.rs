//! What an error of SQLite means for the caller.

use crate::{ErrorKind, SinkError};
use rusqlite::ErrorCode;
use std::path::Path;
use tidewatch_failpoints::Injected;

/// Why something wasn't done.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite said no.
    Sqlite(rusqlite::Error),
    /// What is stored is not what was written; it says of what.
    Damaged(&'static str),
    /// An error of our own.
    Ours(SinkError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Failure {
        Failure::Ours(error)
    }
}

impl From<Injected> for Failure {
    fn from(injected: Injected) -> Failure {
        Failure::Ours(SinkError::retry("embedded", injected.to_string()))
    }
}

impl Failure {
    /// The error, about a file.
    pub(super) fn about(self, file: &Path) -> SinkError {
        let (kind, problem) = match self {
            Failure::Ours(error) => return error,
            Failure::Damaged(what) => (ErrorKind::Stop, damaged(what)),
            Failure::Sqlite(error) => said(&error),
        };
        SinkError {
            kind,
            object: file.display().to_string(),
            problem,
        }
    }
}

fn said(error: &rusqlite::Error) -> (ErrorKind, String) {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, FileLockingProtocolFailed, NotADatabase,
        OperationInterrupted, OutOfMemory, PermissionDenied, ReadOnly, SchemaChanged, SystemIoFailure,
    };
    let problem = match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => return (ErrorKind::Stop, damaged(&error.to_string())),
        Some(DiskFull) => "the disk is full: make room, or lower embedded.bytes_max".to_owned(),
        Some(SystemIoFailure) => format!("{error}: is the disk full, or gone?"),
        Some(CannotOpen | PermissionDenied | ReadOnly) => format!("{error}: may this user write there?"),
        Some(DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed) => {
            format!("{error}: does another program use it?")
        }
        Some(OutOfMemory | OperationInterrupted | SchemaChanged) => error.to_string(),
        _ => return (ErrorKind::Stop, error.to_string()),
    };
    (ErrorKind::Retry, problem)
}

fn damaged(what: &str) -> String {
    format!("it is damaged ({what}): bring it back from a backup, or move its folder away to begin with an empty one")
}
