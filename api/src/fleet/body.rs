//! `/v1/fleet` as JSON.

use super::durable;
use super::samples::{Point, Rates, Samples};
use crate::handles::Handles;
use crate::rfc3339;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tidewatch_dataflow::stats::{PartitionStats, Stats};
use tidewatch_proto::ids::{EPOCH_MS, Epoch, Name};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::time::{EventTime, PaneNo};
use utoipa::ToSchema;

/// How the fleet and this process are doing.
#[derive(Serialize, ToSchema)]
#[schema(as = Fleet)]
pub(crate) struct Body<'a> {
    #[schema(format = DateTime)]
    now: String,
    /// When this run began.
    #[schema(format = DateTime)]
    started: String,
    version: &'a str,
    /// Why the process can't do its work; empty when it can.
    not_ready: Vec<String>,
    /// The last epoch that is complete; an epoch is 100 ms.
    #[schema(value_type = u64)]
    epoch: Epoch,
    /// The last epoch that is durable.
    #[schema(value_type = u64)]
    durable_epoch: Epoch,
    /// How far the workers are behind the clock.
    epoch_lag_s: f64,
    /// What came in a second, over the last five.
    per_second: Rates,
    totals: Totals,
    devices: i64,
    series: i64,
    open_panes: i64,
    closed_panes: i64,
    rollups: i64,
    /// How many anomalies go on, in the whole cluster; null when that isn't known here.
    #[schema(required)]
    anomalies_now: Option<u64>,
    outbox_bytes: i64,
    /// Who reported in the last closed minute; null before there is one.
    #[schema(required)]
    minute: Option<Minute>,
    partitions: Vec<Partition<'a>>,
    workers: Workers,
    checkpoints: Checkpoints,
    sinks: Vec<Sink<'a>>,
    /// A quarter of an hour, a point of five seconds each.
    #[schema(value_type = Vec<Point>)]
    history: &'a VecDeque<Point>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FleetTotals)]
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
    #[schema(value_type = BTreeMap<String, u64>)]
    dead_letters_by_reason: BTreeMap<&'static str, u64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FleetMinute)]
struct Minute {
    #[schema(format = DateTime)]
    start: String,
    reporting: usize,
    /// Devices that have reported in the quarter of an hour until then.
    expected: usize,
    /// The share that reported, from 0 to 1.
    completeness: f64,
    /// Ten of those that were expected and didn't report.
    #[schema(value_type = Vec<String>)]
    silent: Vec<Name>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FleetPartition)]
struct Partition<'a> {
    name: &'a str,
    lag_records: i64,
    next_offset: i64,
    /// Null before the first record.
    #[schema(required, format = DateTime)]
    watermark: Option<String>,
    idle: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FleetWorkers)]
struct Workers {
    generation: u64,
    process: usize,
    processes: usize,
    threads: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FleetCheckpoints)]
struct Checkpoints {
    made: u64,
    failed: u64,
    bytes: u64,
    /// Since the last one; null before there is one.
    #[schema(required)]
    age_s: Option<f64>,
    #[schema(required)]
    interval_s: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FleetSink)]
struct Sink<'a> {
    name: &'a str,
    deliveries: u64,
    items: u64,
    retries: u64,
    per_second: f64,
}

impl<'a> Body<'a> {
    /// All of it, at this moment.
    pub(super) fn new(handles: &'a Handles, (samples, raised): (&'a Samples, Option<u64>), wall_ms: i64) -> Body<'a> {
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
            anomalies_now: raised,
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

/// What it may look like.
pub(crate) fn example() -> Value {
    json!({
        "now": "2026-11-27T15:37:02.120Z", "started": "2026-11-27T09:00:00.000Z", "version": "0.1.0", "not_ready": [],
        "epoch": 17_957_939_225_u64, "durable_epoch": 17_957_939_220_u64, "epoch_lag_s": 0.1,
        "per_second": {"messages": 1_002.0, "readings": 4_009.0, "bytes": 81_320.0, "late": 0.0, "dead_letters": 0.2, "rows": 66.0},
        "totals": {
            "messages": 21_000_000, "readings": 84_000_000, "bytes": 1_700_000_000, "late": 83, "duplicates": 2,
            "stragglers": 0, "rows_final": 1_400_000, "rows_corrected": 40, "dead_letters": 566,
            "dead_letters_by_reason": {"future": 566},
        },
        "devices": 990, "series": 3_956, "open_panes": 3_956, "closed_panes": 71_000, "rollups": 2, "anomalies_now": 3,
        "outbox_bytes": 0,
        "minute": {
            "start": "2026-11-27T15:36:00.000Z", "reporting": 989, "expected": 990, "completeness": 0.99899,
            "silent": ["dev-000017"],
        },
        "partitions": [{
            "name": "raw.events/0", "lag_records": 0, "next_offset": 5_250_000, "watermark": "2026-11-27T15:36:51.900Z",
            "idle": false,
        }],
        "workers": {"generation": 3, "process": 0, "processes": 1, "threads": 2},
        "checkpoints": {"made": 23_800, "failed": 0, "bytes": 9_000_000, "age_s": 0.4, "interval_s": 1.0},
        "sinks": [{"name": "embedded", "deliveries": 23_800, "items": 1_400_606, "retries": 0, "per_second": 66.2}],
        "history": [{"at": 1_795_793_820_000_u64, "messages": 1_002.0, "late": 0.0, "dead_letters": 0.2}],
    })
}
