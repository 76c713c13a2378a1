//! Why the API can't start.

use std::net::SocketAddr;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Stop: a person has to change something first.
    Stop,
    /// Try again in a while: whoever is in the way may go.
    Retry,
}

/// Why the API can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of the configuration can't be used.
    #[error("{key}: {problem}")]
    Config {
        /// The key, from the root of the configuration.
        key: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The address can't be listened on.
    #[error("can't listen on {address}: {}", bind_advice(source))]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// An error about a key.
    pub(crate) fn config(key: &'static str, problem: impl Into<String>) -> Error {
        Error::Config {
            key,
            problem: problem.into(),
        }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => ErrorKind::Retry,
            Error::Config { .. } | Error::Bind { .. } => ErrorKind::Stop,
        }
    }
}

fn bind_advice(source: &std::io::Error) -> String {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "the port is in use; stop the process that has it, or set `api.listen` to another port".to_owned()
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address; set `api.listen` to one that it has".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => {
            "not permitted; set `api.listen` to a port from 1024 on, or grant CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => source.to_string(),
    }
}
