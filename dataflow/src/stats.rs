//! What the engine counts about itself: plain atomics, written by the workers and read by anybody.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tidewatch_proto::reject::Reason;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that comes and goes.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Moves it by `by`.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, to: i64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub struct PartitionStats {
    /// Records known to lie ahead of what was read.
    pub lag_records: Gauge,
    /// The watermark in milliseconds since 1970; `i64::MIN` before the first record.
    pub watermark_ms: Gauge,
    /// The offset where reading goes on.
    pub next_offset: Gauge,
    /// 1 when the watermark has not moved for the idle time.
    pub idle: Gauge,
}

/// All counters and gauges of one process.
#[derive(Debug)]
pub struct Stats {
    /// Well-formed messages taken in, duplicates included.
    pub messages: Counter,
    /// Readings taken in.
    pub readings: Counter,
    /// Bytes of all records read.
    pub bytes: Counter,
    /// Messages whose pane was closed when they came.
    pub late: Counter,
    /// Messages dropped because the device had sent the same before, or the log the same record.
    pub duplicates: Counter,
    /// Records in the dead letter, in the order of [`Reason::ALL`].
    dead_letters: [Counter; Reason::ALL.len()],
    /// Messages that came too late for memory and are handed to the storing sink.
    pub stragglers: Counter,
    /// Rows published, `final`.
    pub rows_final: Counter,
    /// Rows published, `corrected`.
    pub rows_corrected: Counter,
    /// New or changed panes that rollups no longer had, at least: a partition was idle for longer than the horizon.
    pub rollup_panes_missed: Counter,
    /// Devices in memory.
    pub devices: Gauge,
    /// Series in memory.
    pub series: Gauge,
    /// Panes that still take readings.
    pub panes_open: Gauge,
    /// Closed panes in memory.
    pub panes_closed: Gauge,
    /// Rollup jobs running.
    pub rollups: Gauge,
    /// Records in the shared arrangement of closed panes; 0 when no job needs it.
    pub arrangement_records: Gauge,
    /// How many epochs the slowest worker's completed epoch is behind the clock.
    pub epoch_lag: Gauge,
    /// Bytes that were yielded and that sinks have not confirmed, estimated.
    pub outbox_bytes: Gauge,
    /// What the rows take at most of panes that are closed and not published yet.
    pub unpublished_bytes: Gauge,
    /// Checkpoints made.
    pub checkpoints: Counter,
    /// Writes for a checkpoint that failed and were tried again.
    pub checkpoints_failed: Counter,
    /// Bytes written for checkpoints.
    pub checkpoint_bytes: Counter,
    /// The epoch of the last checkpoint; 0 before the first.
    pub checkpoint_epoch: Gauge,
    /// By partition.
    pub partitions: Vec<PartitionStats>,
}

impl Stats {
    /// Counters for a source of so many partitions.
    pub fn new(partitions: usize) -> Stats {
        let stats = Stats {
            messages: Counter::default(),
            readings: Counter::default(),
            bytes: Counter::default(),
            late: Counter::default(),
            duplicates: Counter::default(),
            dead_letters: Default::default(),
            stragglers: Counter::default(),
            rows_final: Counter::default(),
            rows_corrected: Counter::default(),
            rollup_panes_missed: Counter::default(),
            devices: Gauge::default(),
            series: Gauge::default(),
            panes_open: Gauge::default(),
            panes_closed: Gauge::default(),
            rollups: Gauge::default(),
            arrangement_records: Gauge::default(),
            epoch_lag: Gauge::default(),
            outbox_bytes: Gauge::default(),
            unpublished_bytes: Gauge::default(),
            checkpoints: Counter::default(),
            checkpoints_failed: Counter::default(),
            checkpoint_bytes: Counter::default(),
            checkpoint_epoch: Gauge::default(),
            partitions: (0..partitions).map(|_| PartitionStats::default()).collect(),
        };
        for partition in &stats.partitions {
            partition.watermark_ms.set(i64::MIN);
        }
        stats
    }

    /// The counter of dead letters of one reason.
    pub fn dead_letters(&self, reason: Reason) -> &Counter {
        &self.dead_letters[reason as usize]
    }

    /// Dead letters of all reasons.
    pub fn dead_letters_total(&self) -> u64 {
        self.dead_letters.iter().map(Counter::get).sum()
    }
}
