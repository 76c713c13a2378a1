//! What a source has to say while it goes on reading; what ends the reading is a `SourceError`.

use std::fmt;
use std::sync::Arc;

/// Something that an operator may want to know, and that the source deals with by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// Something is unreachable or refused for now; the source goes on trying.
    Retrying {
        /// What was being read: a broker's address, a topic with its partition.
        object: String,
        /// What is wrong.
        problem: String,
    },
    /// The log doesn't have what comes next, and the settings say to go on without it.
    Skipped {
        /// The topic or the partition, with its position.
        object: String,
        /// What is missing, and where reading goes on.
        problem: String,
    },
    /// What was told of as retrying has succeeded.
    Recovered {
        /// What it was about.
        object: String,
        /// How it is now.
        problem: String,
    },
    /// Positions could not be committed for lag tools. Nothing depends on them; the next commit carries newer ones.
    CommitFailed {
        /// The topic and the consumer group.
        object: String,
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for SourceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceEvent::Retrying { object, problem } => write!(f, "{object}: {problem}; trying again"),
            SourceEvent::Skipped { object, problem } | SourceEvent::Recovered { object, problem } => {
                write!(f, "{object}: {problem}")
            }
            SourceEvent::CommitFailed { object, problem } => {
                write!(f, "{object}: positions not committed for lag tools: {problem}")
            }
        }
    }
}

/// Takes events. It is called on the threads that poll, so it must not block.
pub type EventHook = Arc<dyn Fn(SourceEvent) + Send + Sync>;

/// A hook that drops every event.
pub fn unheard() -> EventHook {
    Arc::new(|_| {})
}
