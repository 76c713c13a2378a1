//! Of the rows of a delivery, the last of each key.

use std::collections::HashMap;
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;

/// The last row of each key (job, key, metric, window), in the order of the delivery.
pub(crate) fn newest(rows: &[Row]) -> Vec<&Row> {
    let mut last: HashMap<(Job, &Name, &Name, EventTime), usize> = HashMap::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate() {
        last.insert((row.job, &row.key, &row.metric, row.window_start), place);
    }
    if last.len() == rows.len() {
        return rows.iter().collect();
    }
    let mut places: Vec<usize> = last.into_values().collect();
    places.sort_unstable();
    places.into_iter().map(|place| &rows[place]).collect()
}
