//! Answers the API's questions about series: published rows from the store, open windows from the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tidewatch_api::{ReadError, ReadErrorKind, SeriesReader};
use tidewatch_dataflow::Handle;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::Row;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime};
use tidewatch_sinks::hot::HotStore;
use tidewatch_sinks::{ErrorKind, SinkError};

/// How long the engine may take to show a series' open windows.
const PEEK_WAIT: Duration = Duration::from_millis(500);

/// Reads series.
pub struct Reader {
    /// Where published rows are.
    pub store: Arc<dyn HotStore>,
    /// The engine.
    pub engine: Handle,
    /// The last epoch that was completed.
    pub as_of: Arc<AtomicU64>,
}

impl SeriesReader for Reader {
    fn series(&self, query: SeriesQuery) -> Result<Option<Vec<Row>>, ReadError> {
        let mut rows = self.store.series(&query).map_err(read_error)?;
        let live = match query.job.is_per_series() {
            true => self
                .engine
                .peek(&query.key, &query.metric, PEEK_WAIT)
                .unwrap_or_default(),
            false => Vec::new(),
        };
        let live: Vec<Row> = live.into_iter().filter(|row| row.job == query.job).collect();
        if rows.is_empty() && live.is_empty() {
            let any = SeriesQuery {
                from: EVENT_TIME_MIN,
                to: EventTime(EVENT_TIME_MAX.0 + 1),
                limit: 1,
                order: Order::NewestFirst,
                ..query
            };
            let known = self.store.series(&any).map_err(read_error)?;
            return Ok((!known.is_empty()).then(Vec::new));
        }
        for row in live {
            let asked = row.window_start >= query.from && row.window_start < query.to;
            if asked && !rows.iter().any(|stored| stored.window_start == row.window_start) {
                rows.push(row);
            }
        }
        rows.sort_by_key(|row| row.window_start);
        let beyond = rows.len().saturating_sub(query.limit);
        match query.order {
            Order::NewestFirst => drop(rows.drain(..beyond)),
            Order::OldestFirst => rows.truncate(query.limit),
        }
        Ok(Some(rows))
    }

    fn as_of(&self) -> Option<Epoch> {
        Some(Epoch(self.as_of.load(Ordering::Relaxed)))
    }
}

fn read_error(error: SinkError) -> ReadError {
    let kind = if error.kind == ErrorKind::Retry {
        ReadErrorKind::Unavailable
    } else {
        ReadErrorKind::Failed
    };
    ReadError::new(kind, error.to_string())
}
