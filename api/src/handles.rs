//! All that the server hands to the API.

use crate::catalogue::Catalogue;
use crate::kept::Kept;
use crate::live::LiveFeed;
use crate::places::Places;
use crate::reader::{Anomalies, DeviceReader, Letters, ReadError, SeriesReader};
use crate::sink_stats::SinkStats;
use crate::tap::Tap;
use std::fmt;
use std::sync::Arc;
use tidewatch_dataflow::stats::Stats;
use tidewatch_proto::calendar::Calendar;

/// Says whether the process can do its work.
pub trait Readiness: Send + Sync {
    /// Why it can't, a short sentence each; empty when it can.
    ///
    /// It must not block. Anybody may read the reasons, so no address, path or secret belongs in them.
    fn not_ready(&self) -> Vec<String>;
}

/// Which build this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version, as in `0.1.0`.
    pub version: String,
    /// The revision of the source, or empty when it isn't known.
    pub revision: String,
}

/// Which run this is, and on how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// When it began, milliseconds since 1970.
    pub started_ms: i64,
    /// Its number: each start is the next generation.
    pub generation: u64,
    /// Which process of the cluster this is, from 0.
    pub process: usize,
    /// How many processes there are.
    pub processes: usize,
    /// Worker threads of each.
    pub threads: usize,
}

/// All that the server hands to the API.
#[derive(Clone)]
pub struct Handles {
    /// The engine's counters.
    pub stats: Arc<Stats>,
    /// The partitions' names, as labels, in the order of [`Stats::partitions`]; one without a name gets its number.
    pub partition_names: Vec<String>,
    /// What is counted about each sink; their names differ.
    pub sinks: Vec<Arc<SinkStats>>,
    /// What the process keeps by itself, as it is when this is called.
    pub kept: Arc<dyn Fn() -> Kept + Send + Sync>,
    /// Where rows are read.
    pub series: Arc<dyn SeriesReader>,
    /// Where devices are listed.
    pub devices: Arc<dyn DeviceReader>,
    /// When days begin and end.
    pub calendar: Arc<Calendar>,
    /// What is known of metrics.
    pub catalogue: Arc<Catalogue>,
    /// Where devices belong.
    pub places: Arc<Places>,
    /// Where dead letters are read.
    pub letters: Letters,
    /// Where anomalies are read.
    pub anomalies: Anomalies,
    /// Where open windows are listened to.
    pub live: Arc<dyn LiveFeed>,
    /// What whoever makes rows durable shows them to.
    pub tap: Arc<Tap>,
    /// Which run this is.
    pub run: RunInfo,
    /// Whether the process can do its work.
    pub readiness: Arc<dyn Readiness>,
    /// Which build this is.
    pub build: BuildInfo,
    /// Called for what a log should say; it must not block.
    pub events: Arc<dyn Fn(Event<'_>) + Send + Sync>,
}

/// What the API tells the log, each once; its [`Display`](fmt::Display) is the line.
#[derive(Debug)]
pub enum Event<'a> {
    /// Rows couldn't be read; the client got a 500 or 503.
    ReadFailed {
        /// The request's path.
        path: &'a str,
        /// Why.
        error: &'a ReadError,
    },
    /// The reader panicked; the client got a 500.
    ReadPanicked {
        /// The request's path.
        path: &'a str,
    },
    /// A dead letter was put into its log again.
    LetterReplayed {
        /// Which one.
        number: u64,
        /// Where it is now.
        partition: &'a str,
        /// The new record's offset there.
        offset: i64,
    },
    /// A dead letter could not be put into its log.
    ReplayFailed {
        /// Which one.
        number: u64,
        /// Why.
        error: &'a ReadError,
    },
    /// A connection ended in a panic; others go on.
    ConnectionPanicked,
    /// A connection couldn't be accepted; accepting goes on after a pause.
    AcceptFailed {
        /// What the system said.
        error: &'a std::io::Error,
    },
    /// The token file changed and can't be used: until it can, nobody gets in.
    TokensRefused {
        /// What is wrong with it.
        problem: &'a str,
    },
    /// The files for TLS changed and can't be used; what was read before stays in force.
    CertificateRefused {
        /// Which one, and what is wrong with it.
        problem: &'a str,
    },
    /// The files for TLS changed and are in force.
    CertificateLoaded,
    /// The token file changed and is in force.
    TokensLoaded {
        /// How many tokens it holds.
        tokens: usize,
    },
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::ReadFailed { path, error } => {
                write!(f, "can't read rows for {path}: {error}")?;
                let mut cause = std::error::Error::source(*error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Event::LetterReplayed {
                number,
                partition,
                offset,
            } => write!(
                f,
                "dead letter {number} was put into its log again: {partition}, offset {offset}"
            ),
            Event::ReplayFailed { number, error } => {
                write!(f, "dead letter {number} was not put into its log: {error}")
            }
            Event::ReadPanicked { path } => write!(f, "reading rows for {path} panicked"),
            Event::ConnectionPanicked => f.write_str("an api connection panicked"),
            Event::AcceptFailed { error } => write!(f, "can't accept an api connection: {error}"),
            Event::TokensRefused { problem } => {
                write!(f, "api.token_file: {problem}; nobody gets in until it is mended")
            }
            Event::CertificateRefused { problem } => {
                write!(
                    f,
                    "{problem}; until it is mended the certificate read before stays in force"
                )
            }
            Event::CertificateLoaded => f.write_str("api.cert_file: a new certificate is in force"),
            Event::TokensLoaded { tokens } => write!(f, "api.token_file: {tokens} tokens in force"),
        }
    }
}

#[cfg(test)]
impl Handles {
    /// Of a process that is ready and has nothing.
    pub(crate) fn of_nothing() -> Handles {
        struct Nothing;
        impl Readiness for Nothing {
            fn not_ready(&self) -> Vec<String> {
                Vec::new()
            }
        }
        impl LiveFeed for Nothing {
            fn watch(&self, watch: tidewatch_dataflow::Watch) -> tidewatch_dataflow::Live {
                tidewatch_dataflow::live::Listener::pair(watch).1
            }
        }
        let reader = Arc::new(crate::memory::MemoryReader::default());
        Handles {
            stats: Arc::new(Stats::new(0)),
            partition_names: Vec::new(),
            sinks: Vec::new(),
            kept: Arc::new(Kept::default),
            series: reader.clone(),
            devices: reader,
            calendar: Arc::default(),
            catalogue: Arc::default(),
            places: Arc::default(),
            letters: Letters::Elsewhere("nowhere".to_owned()),
            anomalies: Anomalies::Elsewhere("nowhere".to_owned()),
            live: Arc::new(Nothing),
            tap: Arc::default(),
            run: RunInfo {
                started_ms: 0,
                generation: 1,
                process: 0,
                processes: 1,
                threads: 1,
            },
            readiness: Arc::new(Nothing),
            build: BuildInfo {
                version: "0.1.0".to_owned(),
                revision: String::new(),
            },
            events: Arc::new(|_| {}),
        }
    }
}
