//! Readings that came too late for memory, sorted by the rows that they are added to: what storing sinks share.

mod mended;

pub(crate) use mended::{Mended, Reading, mend};

use std::collections::BTreeMap;
use std::sync::Arc;
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::ids::Name;
use tidewatch_proto::row::Job;
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;

/// What is stored of a device and metric, as far as readings are added to it.
#[derive(Clone, Debug)]
pub struct Mending {
    /// The per-series jobs whose rows are stored.
    pub jobs: Vec<Job>,
    /// Whether quantiles are kept.
    pub quantiles: bool,
    /// The names of the source's partitions, by their numbers.
    pub partitions: Vec<String>,
    /// When days begin and end.
    pub calendar: Arc<Calendar>,
}

/// The rows of a series that readings are added to: by job and the window's first instant.
pub(crate) type Windows<'a> = BTreeMap<(Job, EventTime), Window<'a>>;

/// A window, and what is added to its row.
pub(crate) struct Window<'a> {
    /// The first instant after the window.
    pub(crate) end: EventTime,
    pub(crate) readings: Vec<Reading<'a>>,
}

/// Readings by the rows that they are added to.
pub(crate) struct Sorted<'a> {
    /// By device and metric.
    pub(crate) series: BTreeMap<(&'a Name, &'a Name), Windows<'a>>,
    /// Messages of whose windows none is kept any more.
    pub(crate) gone: usize,
}

impl Mending {
    /// Sorts readings by the rows that they are added to. Rows of windows that start before what is kept of their job,
    /// which is what `from` says, are not made again.
    pub(crate) fn sort<'a>(&'a self, stragglers: &'a [Straggler], from: impl Fn(Job) -> EventTime) -> Sorted<'a> {
        let jobs: Vec<(Job, EventTime)> = self.jobs.iter().map(|job| (*job, from(*job))).collect();
        let mut series: BTreeMap<(&Name, &Name), Windows<'a>> = BTreeMap::new();
        let is_kept = |one: &Straggler| {
            let mut windows = jobs.iter();
            windows.any(|(job, from)| {
                one.taken.has(*job) || self.calendar.windows(*job, one.at).any(|window| window.0 >= *from)
            })
        };
        let gone = stragglers.iter().filter(|one| !is_kept(one)).count();
        for straggler in stragglers.iter().filter(|one| is_kept(one)) {
            let name = self.partitions.get(straggler.partition.index());
            for (metric, value) in &straggler.readings {
                let reading = Reading {
                    partition: name.map_or("", String::as_str),
                    offset: straggler.offset,
                    at: straggler.at,
                    value: *value,
                };
                let rows = series.entry((&straggler.device, metric)).or_default();
                for (job, from) in jobs.iter().filter(|own| !straggler.taken.has(own.0)) {
                    let windows = self.calendar.windows(*job, straggler.at);
                    for (start, end) in windows.filter(|window| window.0 >= *from) {
                        let window = rows.entry((*job, start));
                        let readings = Vec::new();
                        window.or_insert(Window { end, readings }).readings.push(reading);
                    }
                }
            }
        }
        Sorted { series, gone }
    }
}

impl Sorted<'_> {
    /// Whether there is no reading.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The job and start of every window.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (Job, EventTime)> {
        self.series.values().flat_map(BTreeMap::keys).copied()
    }
}
