//! `/v1/fleet` as JSON.

use super::durable;
use super::samples::{Point, Rates, Samples};
use crate::handles::Handles;
use crate::rfc3339;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tidewatch_dataflow::stats::{PartitionStats, Stats};
use tidewatch_proto::ids::{EPOCH_MS, Epoch, Name};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::time::{EventTime, PaneNo};

/// How the fleet and this process are doing.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    now: String,
    started: String,
    version: &'a str,
    /// Why the process can't do its work; empty when it can.
    not_ready: Vec<String>,
    /// The last epoch that is complete, and the last that is durable.
    epoch: Epoch,
    durable_epoch: Epoch,
    epoch_lag_s: f64,
    /// What came in a second, over the last five.
    per_second: Rates,
    totals: Totals,
    devices: i64,
    series: i64,
    open_panes: i64,
    closed_panes: i64,
    rollups: i64,
    outbox_bytes: i64,
    /// Who reported in the last closed minute; null before there is one.
    minute: Option<Minute>,
    partitions: Vec<Partition<'a>>,
    workers: Workers,
    checkpoints: Checkpoints,
    sinks: Vec<Sink<'a>>,
    history: &'a VecDeque<Point>,
}

#[derive(Serialize)]
struct Totals {
    messages: u64,
    readings: u64,
    bytes: u64,
    late: u64,
    duplicates: u64,
    stragglers: u64,
    rows_final: u64,
    rows_corrected: u64,
    dead_letters: u64,
    /// Only reasons that there were.
    dead_letters_by_reason: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Minute {
    start: String,
    reporting: usize,
    /// Devices that have reported in the quarter of an hour until then.
    expected: usize,
    completeness: f64,
    /// Ten of those that were expected and didn't report.
    silent: Vec<Name>,
}

#[derive(Serialize)]
struct Partition<'a> {
    name: &'a str,
    lag_records: i64,
    next_offset: i64,
    /// Null before the first record.
    watermark: Option<String>,
    idle: bool,
}

#[derive(Serialize)]
struct Workers {
    generation: u64,
    process: usize,
    processes: usize,
    threads: usize,
}

#[derive(Serialize)]
struct Checkpoints {
    made: u64,
    failed: u64,
    bytes: u64,
    age_s: Option<f64>,
    interval_s: Option<f64>,
}

#[derive(Serialize)]
struct Sink<'a> {
    name: &'a str,
    deliveries: u64,
    items: u64,
    retries: u64,
    per_second: f64,
}

impl<'a> Body<'a> {
    /// All of it, at this moment.
    pub(super) fn new(handles: &'a Handles, samples: &'a Samples, wall_ms: i64) -> Body<'a> {
        let (stats, rates) = (&*handles.stats, samples.rates());
        Body {
            now: rfc3339::format(EventTime(wall_ms)),
            started: rfc3339::format(EventTime(handles.run.started_ms)),
            version: &handles.build.version,
            not_ready: handles.readiness.not_ready(),
            epoch: handles.series.as_of().unwrap_or_default(),
            durable_epoch: durable(stats),
            epoch_lag_s: stats.epoch_lag.get().max(0) as f64 * EPOCH_MS as f64 / 1_000.0,
            totals: totals(stats),
            devices: stats.devices.get(),
            series: stats.series.get(),
            open_panes: stats.panes_open.get(),
            closed_panes: stats.panes_closed.get(),
            rollups: stats.rollups.get(),
            outbox_bytes: stats.outbox_bytes.get(),
            minute: handles.tap.minute(closed(stats)).map(Minute::from),
            partitions: partitions(handles),
            workers: Workers {
                generation: handles.run.generation,
                process: handles.run.process,
                processes: handles.run.processes,
                threads: handles.run.threads,
            },
            checkpoints: checkpoints(stats, samples),
            sinks: sinks(handles, &rates),
            per_second: rates,
            history: samples.history(),
        }
    }
}

impl From<crate::census::Minute> for Minute {
    fn from(minute: crate::census::Minute) -> Minute {
        Minute {
            start: rfc3339::format(minute.start),
            reporting: minute.reporting,
            expected: minute.expected,
            completeness: match minute.expected {
                0 => 1.0,
                expected => minute.reporting as f64 / expected as f64,
            },
            silent: minute.silent,
        }
    }
}

fn totals(stats: &Stats) -> Totals {
    let by_reason = Reason::ALL.map(|reason| (reason.as_str(), stats.dead_letters(reason).get()));
    Totals {
        messages: stats.messages.get(),
        readings: stats.readings.get(),
        bytes: stats.bytes.get(),
        late: stats.late.get(),
        duplicates: stats.duplicates.get(),
        stragglers: stats.stragglers.get(),
        rows_final: stats.rows_final.get(),
        rows_corrected: stats.rows_corrected.get(),
        dead_letters: stats.dead_letters_total(),
        dead_letters_by_reason: by_reason.into_iter().filter(|(_, count)| *count > 0).collect(),
    }
}

/// The watermark of a partition, once there is one.
fn watermark(partition: &PartitionStats) -> Option<EventTime> {
    let ms = partition.watermark_ms.get();
    (ms != i64::MIN).then_some(EventTime(ms))
}

/// The last minute that all partitions have closed, but for those that are idle or have seen nothing.
fn closed(stats: &Stats) -> Option<PaneNo> {
    let active = stats.partitions.iter().filter(|partition| partition.idle.get() == 0);
    active.filter_map(watermark).min().map(PaneNo::closed_by)
}

fn partitions(handles: &Handles) -> Vec<Partition<'_>> {
    let partitions = handles.stats.partitions.iter().enumerate();
    let of = |(number, partition): (usize, &'_ PartitionStats)| Partition {
        name: handles.partition_names.get(number).map_or("", String::as_str),
        lag_records: partition.lag_records.get().max(0),
        next_offset: partition.next_offset.get(),
        watermark: watermark(partition).map(rfc3339::format),
        idle: partition.idle.get() != 0,
    };
    partitions.map(of).collect()
}

fn checkpoints(stats: &Stats, samples: &Samples) -> Checkpoints {
    let seconds = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    Checkpoints {
        made: stats.checkpoints.get(),
        failed: stats.checkpoints_failed.get(),
        bytes: stats.checkpoint_bytes.get(),
        age_s: samples.checkpoint_age(Instant::now()).map(seconds),
        interval_s: samples.checkpoint_interval().map(seconds),
    }
}

fn sinks<'a>(handles: &'a Handles, rates: &Rates) -> Vec<Sink<'a>> {
    let sinks = handles.sinks.iter().enumerate();
    let of = |(number, sink): (usize, &'a std::sync::Arc<crate::sink_stats::SinkStats>)| Sink {
        name: sink.name(),
        deliveries: sink.deliveries.get(),
        items: sink.items.get(),
        retries: sink.retries.get(),
        per_second: rates.sinks.get(number).copied().unwrap_or(0.0),
    };
    sinks.map(of).collect()
}
