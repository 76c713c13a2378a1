//! Rows and anomalies in memory: the plainest readers, for tests and for what has no store.

use crate::reader::{AnomalyReader, DeviceReader, ReadError, SeriesReader};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::RwLock;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus};
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{AnomalyPlace, AnomalyQuery, DeviceQuery, DeviceSummary, Order, SeriesQuery};
use tidewatch_proto::row::{Job, Row, Status};
use tidewatch_proto::time::EventTime;

type SeriesKey = (Job, Name, Name);
/// Where an anomaly stands in the order of the answer.
type Place = (Reverse<EventTime>, Name, Name, Name);

/// Keeps every row and anomaly it is given; unbounded, so not for production.
#[derive(Debug, Default)]
pub struct MemoryReader {
    series: RwLock<BTreeMap<SeriesKey, BTreeMap<EventTime, Row>>>,
    anomalies: RwLock<BTreeMap<Place, Anomaly>>,
}

impl MemoryReader {
    /// A reader of these rows.
    pub fn new(rows: impl IntoIterator<Item = Row>) -> MemoryReader {
        let reader = MemoryReader::default();
        for row in rows {
            reader.upsert(row);
        }
        reader
    }

    /// Adds a row, unless there is one of its window that is published or of a greater revision, as a store does.
    pub fn upsert(&self, row: Row) {
        let mut series = self.series.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let windows = series
            .entry((row.job, row.key.clone(), row.metric.clone()))
            .or_default();
        let standing = windows.get(&row.window_start).map(rank);
        if standing.is_none_or(|standing| standing <= rank(&row)) {
            windows.insert(row.window_start, row);
        }
    }

    /// Adds an anomaly, unless there is one of its key of a greater revision, as a store does.
    pub fn found(&self, anomaly: Anomaly) {
        let mut anomalies = self.anomalies.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = place(AnomalyPlace::of(&anomaly));
        let stands = |old: &Anomaly| old.revision > anomaly.revision;
        if !anomalies.get(&place).is_some_and(stands) {
            anomalies.insert(place, anomaly);
        }
    }
}

fn place(of: AnomalyPlace) -> Place {
    (Reverse(of.started_at), of.device, of.metric, of.rule)
}

/// Published before live, then by revision.
fn rank(row: &Row) -> (bool, u64) {
    (row.status != Status::Live, row.revision.0)
}

impl SeriesReader for MemoryReader {
    fn series(&self, query: SeriesQuery) -> Result<Option<Vec<Row>>, ReadError> {
        let series = self.series.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(windows) = series.get(&(query.job, query.key, query.metric)) else {
            return Ok(None);
        };
        if query.from >= query.to {
            return Ok(Some(Vec::new()));
        }
        let matching = windows.range(query.from..query.to).map(|(_, row)| row.clone());
        Ok(Some(match query.order {
            Order::OldestFirst => matching.take(query.limit).collect(),
            Order::NewestFirst => {
                let mut rows: Vec<Row> = matching.rev().take(query.limit).collect();
                rows.reverse();
                rows
            }
        }))
    }
}

impl AnomalyReader for MemoryReader {
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, ReadError> {
        let anomalies = self.anomalies.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let after = query.after.clone().map(place);
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let found = anomalies.range(behind).map(|(_, anomaly)| anomaly);
        let matching = found.filter(|anomaly| query.matches(anomaly));
        Ok(matching.take(query.limit).cloned().collect())
    }

    fn raised(&self) -> Result<u64, ReadError> {
        let anomalies = self.anomalies.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let raised = anomalies
            .values()
            .filter(|anomaly| anomaly.status == AnomalyStatus::Raised);
        Ok(raised.count() as u64)
    }
}

impl DeviceReader for MemoryReader {
    fn devices(&self, query: &DeviceQuery) -> Result<Vec<DeviceSummary>, ReadError> {
        let series = self.series.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut devices: BTreeMap<Name, DeviceSummary> = BTreeMap::new();
        for ((job, device, metric), windows) in series.iter() {
            let Some((latest, _)) = windows.last_key_value().filter(|_| *job == Job::Minute) else {
                continue;
            };
            let one = devices.entry(device.clone()).or_insert_with(|| DeviceSummary {
                device: device.clone(),
                metrics: Vec::new(),
                latest: *latest,
            });
            one.metrics.push(metric.clone());
            one.latest = one.latest.max(*latest);
        }
        let search = query.search.to_ascii_lowercase();
        let is_asked = |one: &DeviceSummary| {
            let is_after = query.after.as_ref().is_none_or(|after| one.device > *after);
            let is_among = query.among.as_ref().is_none_or(|names| names.contains(&one.device));
            is_after && is_among && one.device.to_ascii_lowercase().contains(&search)
        };
        Ok(devices.into_values().filter(is_asked).take(query.limit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        let reader = MemoryReader::default();
        crate::conformance::check(&reader, |row| reader.upsert(row));
    }
}
