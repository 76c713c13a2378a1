//! Reading back what a sink stored: the rows of one series over time.

use crate::SinkError;
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;

/// Which end of a series comes first, and stays when there are more rows than asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the earliest window on.
    #[default]
    OldestFirst,
    /// From the latest window back.
    NewestFirst,
}

/// Which rows are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesQuery {
    /// The job.
    pub job: Job,
    /// The device, site or fleet.
    pub key: Name,
    /// The metric.
    pub metric: Name,
    /// The first window start.
    pub from: EventTime,
    /// The window start to stop before.
    pub to: EventTime,
    /// At most so many rows.
    pub limit: usize,
    /// Which end comes first.
    pub order: Order,
}

/// A store that recent rows can be read from.
pub trait HotStore: Send + Sync {
    /// The last row of each window of one series that starts in `from..to`. A series that the store doesn't
    /// know has no rows.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError>;
}
