//! The rows in memory: by series for reading, by window for leaving.

use super::MemoryConfig;
use crate::hot::holds;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use tidewatch_proto::ids::{Generation, Name};
use tidewatch_proto::query::{DeviceQuery, DeviceSummary, Order, SeriesQuery};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;

/// What a row takes beside itself and its names: its places in the two trees.
const ROW_OVERHEAD_BYTES: usize = 96;

type Series = (Job, Name, Name);

/// Rows by series and window, within bounds.
#[derive(Debug)]
pub(super) struct Store {
    /// The run that delivered last.
    pub(super) generation: Generation,
    series: HashMap<Series, BTreeMap<EventTime, Row>>,
    /// By device the metrics of which there are one-minute windows.
    devices: BTreeMap<Name, BTreeSet<Name>>,
    /// Which series have a row of the window: each (series, window) once.
    windows: BTreeMap<EventTime, Vec<Series>>,
    rows: usize,
    bytes: usize,
    evicted: u64,
    latest_end: EventTime,
    rows_max: usize,
    bytes_max: usize,
    age_max_ms: i64,
}

impl Store {
    pub(super) fn new(config: &MemoryConfig) -> Store {
        Store {
            generation: Generation(0),
            series: HashMap::new(),
            devices: BTreeMap::new(),
            windows: BTreeMap::new(),
            rows: 0,
            bytes: 0,
            evicted: 0,
            latest_end: EventTime(i64::MIN),
            rows_max: config.rows_max,
            bytes_max: config.bytes_max,
            age_max_ms: i64::try_from(config.age_max.0.as_millis()).unwrap_or(i64::MAX),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes a row, unless a newer one of its key is there.
    pub(super) fn put(&mut self, row: &Row) {
        let series = (row.job, row.key.clone(), row.metric.clone());
        let windows = self.series.entry(series.clone()).or_default();
        if windows.is_empty() && row.job == Job::Minute {
            let metrics = self.devices.entry(row.key.clone()).or_default();
            metrics.insert(row.metric.clone());
        }
        match windows.get_mut(&row.window_start) {
            Some(stored) if stored.revision > row.revision => return,
            Some(stored) => *stored = row.clone(),
            None => {
                windows.insert(row.window_start, row.clone());
                self.windows.entry(row.window_start).or_default().push(series);
                self.rows += 1;
                self.bytes += size_of_row(row);
            }
        }
        self.latest_end = self.latest_end.max(row.window_end);
    }

    /// Lets the oldest windows leave until every bound is kept.
    pub(super) fn evict(&mut self) {
        let oldest = EventTime(self.latest_end.0.saturating_sub(self.age_max_ms));
        while let Some((start, series)) = self.pop_oldest(oldest) {
            self.remove(&series, start);
        }
    }

    /// A series with a row of the earliest window, when that must leave.
    fn pop_oldest(&mut self, oldest: EventTime) -> Option<(EventTime, Series)> {
        let mut first = self.windows.first_entry()?;
        let start = *first.key();
        let over = self.rows > self.rows_max || self.bytes > self.bytes_max;
        if !over && start >= oldest {
            return None;
        }
        let series = first.get_mut().pop();
        if first.get().is_empty() {
            first.remove();
        }
        series.map(|series| (start, series))
    }

    fn remove(&mut self, series: &Series, start: EventTime) {
        let Some(windows) = self.series.get_mut(series) else {
            return;
        };
        if let Some(row) = windows.remove(&start) {
            self.rows -= 1;
            self.bytes -= size_of_row(&row);
            self.evicted += 1;
        }
        if windows.is_empty() {
            self.series.remove(series);
            self.forget(series);
        }
    }

    /// A series has no rows any more.
    fn forget(&mut self, (job, device, metric): &Series) {
        if *job != Job::Minute {
            return;
        }
        let Some(metrics) = self.devices.get_mut(device) else {
            return;
        };
        metrics.remove(metric);
        if metrics.is_empty() {
            self.devices.remove(device);
        }
    }

    /// The devices that match.
    pub(super) fn devices(&self, query: &DeviceQuery) -> Vec<DeviceSummary> {
        let after = query.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let devices = self.devices.range::<Name, _>((after, Bound::Unbounded));
        let among = query
            .among
            .as_ref()
            .map(|names| names.iter().collect::<HashSet<&Name>>());
        let is_among = |device: &Name| among.as_ref().is_none_or(|names| names.contains(device));
        let matching = devices.filter(|(device, _)| is_among(device) && holds(device, &query.search));
        let summary = |(device, metrics): (&Name, &BTreeSet<Name>)| DeviceSummary {
            device: device.clone(),
            metrics: metrics.iter().cloned().collect(),
            latest: self.latest(device, metrics),
        };
        matching.take(query.limit).map(summary).collect()
    }

    /// The start of a device's latest one-minute window.
    fn latest(&self, device: &Name, metrics: &BTreeSet<Name>) -> EventTime {
        let series = metrics.iter().filter_map(|metric| {
            let windows = self.series.get(&(Job::Minute, device.clone(), metric.clone()));
            windows.and_then(|windows| windows.last_key_value())
        });
        series.map(|(start, _)| *start).max().unwrap_or(EventTime(i64::MIN))
    }

    /// The rows of one series.
    pub(super) fn series(&self, query: &SeriesQuery) -> Vec<Row> {
        if query.from >= query.to {
            return Vec::new();
        }
        let Some(windows) = self.series.get(&(query.job, query.key.clone(), query.metric.clone())) else {
            return Vec::new();
        };
        let rows = windows.range(query.from..query.to).map(|(_, row)| row.clone());
        match query.order {
            Order::OldestFirst => rows.take(query.limit).collect(),
            Order::NewestFirst => rows.rev().take(query.limit).collect(),
        }
    }

    /// Every row.
    pub(super) fn all(&self) -> Vec<Row> {
        self.series
            .values()
            .flat_map(|windows| windows.values().cloned())
            .collect()
    }
}

/// An estimate from above: names are shared between rows, but counted with each.
fn size_of_row(row: &Row) -> usize {
    size_of::<Row>() + ROW_OVERHEAD_BYTES + row.key.len() + row.metric.len()
}
