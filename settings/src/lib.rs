//! What a configuration is written in, and what several of its parts share: lengths of time, sizes, secrets, and how to
//! reach Kafka. Each connector keeps what it alone is configured by beside its own code.

// Tests may stop at the first surprise.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod kafka;
mod secret;
mod units;

pub use secret::Secret;
pub use units::{Size, Span};

use tidewatch_proto::source::SourceError;

/// A value that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Invalid {
    /// The configuration's key, such as `kafka.brokers`.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl Invalid {
    /// An error about a key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Invalid {
        Invalid {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

impl From<Invalid> for SourceError {
    fn from(invalid: Invalid) -> SourceError {
        SourceError::new(invalid.key, invalid.problem)
    }
}
