//! What can go wrong.

use std::fmt::Display;
use tidewatch_checkpoints::StoreError;
use tidewatch_failpoints::Injected;
use tidewatch_proto::source::SourceError;

/// What whoever sees an error does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tries again: the place or the log is away.
    Retry,
    /// Begins anew with what the manifests say: somebody else writes them too.
    Again,
    /// Looks at it: something isn't as it was written.
    Damaged,
}

/// Something went wrong with the archive.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct ArchiveError {
    /// What to do about it.
    pub kind: Kind,
    /// What it is about, and what is wrong.
    problem: String,
}

impl ArchiveError {
    /// Something that isn't as it was written.
    pub fn damaged(object: impl Into<String>, problem: impl Display) -> ArchiveError {
        ArchiveError {
            kind: Kind::Damaged,
            problem: format!("{}: {problem}", object.into()),
        }
    }

    /// Somebody else has gone on where we wanted to.
    pub fn overtaken(object: impl Into<String>) -> ArchiveError {
        ArchiveError {
            kind: Kind::Again,
            problem: format!(
                "{}: another process archives this partition too; going on behind what it has",
                object.into()
            ),
        }
    }
}

impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> ArchiveError {
        ArchiveError {
            kind: Kind::Retry,
            problem: error.to_string(),
        }
    }
}

impl From<Injected> for ArchiveError {
    fn from(injected: Injected) -> ArchiveError {
        ArchiveError {
            kind: Kind::Retry,
            problem: injected.to_string(),
        }
    }
}

impl From<SourceError> for ArchiveError {
    fn from(error: SourceError) -> ArchiveError {
        ArchiveError {
            kind: Kind::Again,
            problem: error.to_string(),
        }
    }
}
