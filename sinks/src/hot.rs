//! Reading back what a sink stored: the rows of one series over time.

use crate::SinkError;
use tidewatch_proto::query::SeriesQuery;
use tidewatch_proto::row::Row;

/// A store that recent rows can be read from.
pub trait HotStore: Send + Sync {
    /// The last row of each window of one series that starts in `from..to`: in the query's order, at most `limit`. A series that the store doesn't
    /// know has no rows.
    ///
    /// # Errors
    /// When the store can't be read; [`crate::ErrorKind::Retry`] when it may answer later.
    fn series(&self, query: &SeriesQuery) -> Result<Vec<Row>, SinkError>;
}
