//! Where results go: the contract of a sink, the connectors, and the conformance suite that each passes.
//!
//! * [`Sink`], [`hot::HotStore`]: the contracts.
//! * [`postgres`], [`sqlite`], [`kafka`], [`memory`], [`discard`]: the connectors.
//! * `anomalies`: what the stores that speak SQL have alike of anomalies.
//! * [`mending`]: what readings beyond the horizon make of stored rows.
//! * [`retry`]: wraps a sink and tries again what may go through later.
//! * [`fence`]: what shuts older runs out of a store that doesn't know runs.
//! * [`conformance`]: the suite; memory and SQLite pass it here, the others in the crate `tests`.

mod anomalies;
pub mod conformance;
pub mod discard;
pub mod fence;
pub mod hot;
pub mod kafka;
pub mod memory;
pub mod mending;
pub mod parts;
pub mod postgres;
pub mod retry;
pub mod sqlite;

use tidewatch_proto::row::{Delivery, Row};
use tidewatch_proto::straggler::Straggler;
use tidewatch_settings::Invalid;

/// How a sink failed, which says what the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It may go through later: the same delivery is tried again.
    Retry,
    /// It never will: the run ends.
    Stop,
    /// It never will, since a message is larger than the sink takes.
    TooLarge,
}

/// A sink could not take a delivery.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct SinkError {
    /// What the caller does.
    pub kind: ErrorKind,
    /// What was written to: an address with a table or topic.
    pub object: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl SinkError {
    /// An error after which the same delivery is tried again.
    pub fn retry(object: impl Into<String>, problem: impl Into<String>) -> SinkError {
        SinkError {
            kind: ErrorKind::Retry,
            object: object.into(),
            problem: problem.into(),
        }
    }

    /// An error that ends the run.
    pub fn stop(object: impl Into<String>, problem: impl Into<String>) -> SinkError {
        SinkError {
            kind: ErrorKind::Stop,
            object: object.into(),
            problem: problem.into(),
        }
    }
}

impl From<Invalid> for SinkError {
    fn from(invalid: Invalid) -> SinkError {
        SinkError::stop(invalid.key, invalid.problem)
    }
}

/// Takes what the engine yields and makes it durable: rows, as `Sink<Reject>` dead letters, as `Sink<Anomaly>` anomalies.
///
/// * A delivery is taken whole: when `deliver` returns, all of it is durable. After an error the caller may
///   deliver the same again, alone or as the beginning of a larger one.
/// * An item that was delivered before changes nothing when it comes again. Of rows with the same key
///   (job, key, metric, window) the one with the greatest revision stays; within a delivery the later one. A dead
///   letter's key is (partition, offset). An anomaly's is (rule, device, metric, start), and its revision guards it as
///   a row's does.
/// * Deliveries come in the order of their epochs. A delivery without items is allowed: it records progress.
/// * Where the store can tell, a delivery shuts out older generations: theirs are refused from then on with
///   [`ErrorKind::Stop`]. So a new run begins with an empty delivery, before its sources open.
pub trait Sink<T>: Send {
    /// The name in logs and metrics: `postgres`, `kafka`, ….
    fn name(&self) -> &'static str;

    /// Makes the items durable.
    ///
    /// # Errors
    /// When the store refused; see [`SinkError::kind`].
    fn deliver(&mut self, delivery: &Delivery<T>) -> Result<(), SinkError>;
}

/// A sink for rows that adds readings to rows which it has stored: those of windows that have left the engine's memory.
///
/// * `mend` is `deliver` for the rows; the readings follow them in the same step. They come in the order of the log.
/// * A reading is added once to each row of its device and metric whose window covers it, whatever is delivered again,
///   by whichever run. A row that isn't there is made.
/// * A row that is delivered later with a greater revision takes the place of a mended one, with nothing of what was
///   added: then the readings are added again when they come again.
pub trait Storing: Sink<Row> {
    /// Makes rows durable and adds readings to rows, in one step. Gives every row that covers one of the readings as
    /// it is now, also when it had the reading before: other sinks get these as rows that were corrected.
    ///
    /// # Errors
    /// When the store refused; see [`SinkError::kind`].
    fn mend(&mut self, delivery: &Delivery<Row>, stragglers: &[Straggler]) -> Result<Vec<Row>, SinkError>;
}
