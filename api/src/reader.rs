//! How rows, devices, dead letters and anomalies are read: the contracts between the API and whoever keeps them.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::query::{AnomalyQuery, DeviceQuery, DeviceSummary, Letter, LetterQuery, Replay, SeriesQuery};
use tidewatch_proto::row::Row;

/// Reads rows: published ones from the hot store, open windows from the engine.
///
/// The contract, which [`crate::conformance`] checks:
///
/// * The answer holds one row a window, the one of the greatest revision; a `live` row only where the window has no
///   published one.
/// * Rows are ascending by `window_start`, all of them match the query, and there are at most `limit`: those that are
///   first by the query's order.
/// * `None` means that the series is unknown: neither the store nor the engine has any row of it. A known series
///   without rows in the range is `Some` of nothing.
/// * It may block: it is called on a thread for that, by several requests at a time.
pub trait SeriesReader: Send + Sync {
    /// The rows that match, or `None` when there is no such series.
    fn series(&self, query: SeriesQuery) -> Result<Option<Vec<Row>>, ReadError>;

    /// The epoch through which rows read from now on are complete, if that is known; it must not block.
    ///
    /// Asked before [`series`](SeriesReader::series), so that what it says holds for the rows. Rows say it as `as_of`;
    /// without it they say their own revision.
    fn as_of(&self) -> Option<Epoch> {
        None
    }
}

/// Lists devices.
///
/// The answer holds those that match, ascending by their ids byte by byte, at most `limit`. It may block, as
/// [`SeriesReader`] may.
pub trait DeviceReader: Send + Sync {
    /// The devices that match: those with a published one-minute window.
    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, ReadError>;
}

/// Reads dead letters.
///
/// The answer holds those that match, the one with the greatest number first, at most `limit`. It may block, as
/// [`SeriesReader`] may.
pub trait LetterReader: Send + Sync {
    /// The letters that match.
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, ReadError>;

    /// Puts a letter's bytes into the log that it came from, as a new record: once, unless that was done before and `force`
    /// says to do it once more. What was cut off is finished by the next that asks. Gives the partition's name and where it is
    /// there. It may block, as the other may.
    fn replay(&self, number: u64, force: bool) -> Result<(String, Replay), ReplayRefusal>;
}

/// Why a dead letter was not put into its log.
#[derive(Debug)]
pub enum ReplayRefusal {
    /// There is no such letter, or it has left meanwhile.
    Unknown,
    /// It was put into this partition already.
    Done(String, Replay),
    /// There is no log to put it into: the sentence says why.
    NoLog(String),
    /// The log never takes it.
    Refused(ReadError),
    /// A try before was cut off, and the log has let go of where its record would be.
    Lost,
    /// It may be later, and may be there already, which the next try finds out.
    Failed(ReadError),
}

/// Where dead letters are.
#[derive(Clone)]
pub enum Letters {
    /// Where this reads them.
    Here(Arc<dyn LetterReader>),
    /// Where the API can't read them: the sentence says where that is.
    Elsewhere(String),
}

/// Reads anomalies.
///
/// The answer holds those that match, in the order of [`AnomalyPlace`](tidewatch_proto::query::AnomalyPlace), at most
/// `limit`. It may block, as [`SeriesReader`] may.
pub trait AnomalyReader: Send + Sync {
    /// The anomalies that match.
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, ReadError>;

    /// How many go on.
    fn raised(&self) -> Result<u64, ReadError>;
}

/// Where anomalies are.
#[derive(Clone)]
pub enum Anomalies {
    /// Where this reads them.
    Here(Arc<dyn AnomalyReader>),
    /// Where the API can't read them, or there are none: the sentence says where they are, or why.
    Elsewhere(String),
}

/// What a failed read means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// Too much is asked at once: try again soon.
    Busy,
    /// What keeps the rows can't be reached: try again later.
    Unavailable,
    /// It can't be read, and trying again won't help.
    Failed,
}

/// Why rows can't be read.
#[derive(Debug)]
pub struct ReadError {
    kind: ReadErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ReadError {
    /// An error of a kind; `what` names the object in lower case and goes to the log, never to the client.
    pub fn new(kind: ReadErrorKind, what: impl Into<String>) -> ReadError {
        ReadError {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// The same error with its cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> ReadError {
        self.source = Some(source.into());
        self
    }

    /// What it means for the caller.
    pub fn kind(&self) -> ReadErrorKind {
        self.kind
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for ReadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}
