//! Readings that came too late for memory, sorted by the rows that they are added to: what storing sinks share.

mod mended;

pub(crate) use mended::{Mended, Reading, mend};

use std::collections::BTreeMap;
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
}

/// The rows of a series that readings are added to: by job and window.
pub(crate) type Windows<'a> = BTreeMap<(Job, EventTime), Vec<Reading<'a>>>;

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
        let is_kept = |at: EventTime| {
            jobs.iter()
                .any(|(job, from)| job.starts(at).any(|start| start >= *from))
        };
        let gone = stragglers.iter().filter(|one| !is_kept(one.at)).count();
        for straggler in stragglers.iter().filter(|one| is_kept(one.at)) {
            let name = self.partitions.get(straggler.partition.index());
            for (metric, value) in &straggler.readings {
                let reading = Reading {
                    partition: name.map_or("", String::as_str),
                    offset: straggler.offset,
                    at: straggler.at,
                    value: *value,
                };
                let rows = series.entry((&straggler.device, metric)).or_default();
                for (job, from) in &jobs {
                    for start in job.starts(straggler.at).filter(|start| start >= from) {
                        rows.entry((*job, start)).or_default().push(reading);
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
