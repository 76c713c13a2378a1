//! What is wrong with a configuration, in one line.

use std::fmt;
use std::path::PathBuf;
use tidewatch_sinks::SinkError;
use tidewatch_sources::SourceError;

/// The exit code for a configuration that can't be used: `EX_CONFIG` of `sysexits.h`.
pub const EXIT_CONFIG: u8 = 78;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file, at a line from 1 on.
    File(PathBuf, usize),
    /// In an environment variable.
    Variable(String),
    /// In a flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// The configuration, or what it names, can't be used. A person has to change something first: the process ends
/// with [`EXIT_CONFIG`] and this line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{object}: {}", prefix(.origin.as_ref()), one_line(.problem))]
pub struct ConfigError {
    /// Where it was written, when it was.
    pub origin: Option<Origin>,
    /// The key, file or address that is wrong.
    pub object: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl ConfigError {
    /// An error about something that was not written: a file, an address.
    pub fn new(object: impl Into<String>, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: None,
            object: object.into(),
            problem: problem.into(),
        }
    }

    /// The same error, with where it was written.
    pub fn at(self, origin: Option<Origin>) -> ConfigError {
        ConfigError { origin, ..self }
    }
}

impl From<SourceError> for ConfigError {
    fn from(error: SourceError) -> ConfigError {
        ConfigError::new(error.object, error.problem)
    }
}

/// The sink's keys as they are called here: it doesn't know in which section it stands.
impl From<SinkError> for ConfigError {
    fn from(error: SinkError) -> ConfigError {
        let problem = error
            .problem
            .replace("kafka.create_topics", "output.kafka.create_topics");
        ConfigError::new(error.object, problem)
    }
}

fn prefix(origin: Option<&Origin>) -> String {
    origin.map_or(String::new(), |origin| format!("{origin}: "))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
