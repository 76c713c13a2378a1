//! What is asked of whoever keeps rows.

use crate::ids::Name;
use crate::row::Job;
use crate::time::EventTime;

/// Which rows of one key and metric are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesQuery {
    /// The job; it says what `key` names and how long the windows are.
    pub job: Job,
    /// The device, or the site or fleet for rollups.
    pub key: Name,
    /// The metric.
    pub metric: Name,
    /// Windows that start at or after this instant.
    pub from: EventTime,
    /// Windows that start before this instant; without an end it is the first instant of the year 6000.
    pub to: EventTime,
    /// Rows at most; at least 1.
    pub limit: usize,
    /// Which rows are kept when there are more.
    pub order: Order,
}

/// Which end of a series is kept when there are more rows than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the earliest window on.
    OldestFirst,
    /// From the latest window back.
    NewestFirst,
}
