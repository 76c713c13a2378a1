//! The processes of a cluster, connected: one connection between each two, on which both know whom they speak to, with
//! the dataflow's bytes, messages, and a sign of life twice a second.
//!
//! * [`Place`] says who this process is and where the others are; [`join`] connects it with all of them.
//! * [`Mesh`] is what comes of it: a socket to each for the dataflow, [`Links`] for messages, and what arrives.
//! * [`Tls`] encrypts what goes between machines.
//! * `handshake` is how two prove that they know the cluster's secret; `link` is what runs on a connection.

mod handshake;
mod join;
mod link;
mod tls;

pub use handshake::SECRET_BYTES_MIN;
pub use join::join;
pub use link::{Links, SILENCE_MAX};
pub use tls::{Tls, TlsError, is_address};

use std::os::unix::net::UnixStream;
use tokio::sync::mpsc;

/// Who a process is, and where the others are.
#[derive(Clone)]
pub struct Place {
    /// Which process this is, from 0.
    pub index: usize,
    /// Where each process is reached, as `host:port`; this one listens on its own.
    pub addresses: Vec<String>,
    /// The cluster's name: strangers have another.
    pub cluster: String,
    /// What only the cluster's processes know.
    pub secret: Vec<u8>,
    /// What all have to agree on: a hash of their settings.
    pub agreement: u64,
    /// Certificates, to encrypt all connections; all processes have some, or none has.
    pub tls: Option<Tls>,
}

/// A process's connections to all others.
pub struct Mesh {
    /// For each process a way for the dataflow's bytes, none for this one.
    pub sockets: Vec<Option<UnixStream>>,
    /// For messages.
    pub links: Links,
    /// What comes from the others.
    pub incoming: mpsc::UnboundedReceiver<Incoming>,
}

/// What comes from another process.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message.
    Message {
        /// From whom.
        from: usize,
        /// The message.
        bytes: Vec<u8>,
    },
    /// It can't be reached any more, and has not said good-bye.
    Lost {
        /// Which one.
        from: usize,
        /// What was noticed.
        problem: String,
    },
}

/// Why a process could not join its cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Its own address can't be listened on.
    #[error("cluster.addresses: process {index} can't listen on {address}: {problem}")]
    Listen {
        /// Which process this is.
        index: usize,
        /// Where it was to listen.
        address: String,
        /// What the system says.
        problem: String,
    },
    /// Others were not there in time.
    #[error("cluster.addresses: process {index} has waited {seconds} s for {missing}")]
    Alone {
        /// Which process this is.
        index: usize,
        /// How long it waited.
        seconds: u64,
        /// Who is missing, with where and why.
        missing: String,
    },
    /// Another one runs with other settings.
    #[error(
        "process {other} at {address} runs with other settings than process {index}: all need the same number of processes and threads, [engine] and registry.rollups"
    )]
    Disagreed {
        /// Which process this is.
        index: usize,
        /// The other one.
        other: usize,
        /// Where it is.
        address: String,
    },
}
