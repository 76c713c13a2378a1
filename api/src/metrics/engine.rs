//! What the engine and the sinks count.

use super::page::Page;
use crate::sink_stats::SinkStats;
use prometheus_client::metrics::MetricType;
use std::fmt;
use std::sync::Arc;
use tidewatch_dataflow::stats::{PartitionStats, Stats};
use tidewatch_proto::ids::EPOCH_MS;
use tidewatch_proto::reject::Reason;

/// What was taken in, dropped and published.
pub(super) fn intake(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    page.counter(
        "messages",
        "Well-formed messages taken in, duplicates included",
        stats.messages.get(),
    )?;
    page.counter("readings", "Readings taken in", stats.readings.get())?;
    page.counter("read_bytes", "Bytes of all records read", stats.bytes.get())?;
    page.counter(
        "late_messages",
        "Messages whose pane was closed when they came",
        stats.late.get(),
    )?;
    page.counter(
        "duplicate_messages",
        "Messages dropped because they had come before",
        stats.duplicates.get(),
    )?;
    page.counter(
        "stragglers",
        "Messages later than the correction horizon, handed to the storing sink",
        stats.stragglers.get(),
    )?;
    page.counter(
        "rollup_panes_missed",
        "New or changed panes that rollups no longer had, after a partition was idle for longer than the horizon",
        stats.rollup_panes_missed.get(),
    )?;
    let dead = Reason::ALL.map(|reason| ([("reason", reason.as_str())], stats.dead_letters(reason).get()));
    page.counters("dead_letters", "Records that can't be used, by reason", dead)?;
    let rows = [("final", &stats.rows_final), ("corrected", &stats.rows_corrected)];
    let rows = rows.map(|(status, counter)| ([("status", status)], counter.get()));
    page.counters("rows", "Rows published, by status", rows)
}

/// What is in memory, and how far behind it is.
pub(super) fn state(page: &mut Page<'_>, stats: &Stats) -> fmt::Result {
    let epoch_lag = stats.epoch_lag.get().max(0) as f64 * EPOCH_MS as f64 / 1000.0;
    page.gauge(
        "epoch_lag_seconds",
        "How far the slowest worker is behind the engine's clock",
        epoch_lag,
    )?;
    page.gauge("devices", "Devices in memory", stats.devices.get())?;
    page.gauge("series", "Series in memory", stats.series.get())?;
    let panes = [("open", &stats.panes_open), ("closed", &stats.panes_closed)];
    page.gauges(
        "panes",
        "Panes in memory, by state",
        panes.map(|(state, panes)| ([("state", state)], panes.get())),
    )?;
    page.gauge("rollups", "Rollup jobs that run", stats.rollups.get())?;
    let help = "Records in the shared arrangement of closed panes";
    page.gauge("arrangement_records", help, stats.arrangement_records.get())?;
    page.gauge(
        "outbox_bytes",
        "Bytes yielded and not yet durable or confirmed by sinks, estimated",
        stats.outbox_bytes.get(),
    )?;
    let help = "Writes for a checkpoint that failed and were tried again";
    page.counter("checkpoint_failures", help, stats.checkpoints_failed.get())?;
    page.counter("checkpoints", "Checkpoints made", stats.checkpoints.get())?;
    let help = "Bytes written for checkpoints";
    page.counter("checkpoint_bytes", help, stats.checkpoint_bytes.get())?;
    page.gauge(
        "checkpoint_epoch",
        "The epoch of the last checkpoint, 0 before the first",
        stats.checkpoint_epoch.get(),
    )
}

/// Where each partition stands.
pub(super) fn partitions(page: &mut Page<'_>, stats: &Stats, names: &[String]) -> fmt::Result {
    let name = |n: usize| names.get(n).cloned().unwrap_or_else(|| n.to_string());
    let labelled: Vec<([(&str, String); 1], &PartitionStats)> = stats
        .partitions
        .iter()
        .enumerate()
        .map(|(n, partition)| ([("partition", name(n))], partition))
        .collect();
    let each = |value: fn(&PartitionStats) -> i64| {
        labelled
            .iter()
            .map(move |(label, partition)| (label.as_slice(), value(partition)))
    };
    let lag = each(|partition| partition.lag_records.get().max(0));
    page.gauges(
        "partition_lag_records",
        "Records known to lie ahead of what was read",
        lag,
    )?;
    let watermarks = each(|partition| partition.watermark_ms.get())
        .filter(|(_, ms)| *ms != i64::MIN)
        .map(|(label, ms)| (label, ms as f64 / 1000.0));
    let help = "The watermark as seconds since 1970; missing before the first record";
    page.gauges("partition_watermark_timestamp_seconds", help, watermarks)?;
    let next = each(|partition| partition.next_offset.get());
    page.gauges("partition_next_offset", "The offset where reading goes on", next)?;
    let idle = each(|partition| partition.idle.get());
    page.gauges("partition_idle", "1 when nothing has arrived for the idle time", idle)
}

/// What each sink was given.
pub(super) fn sinks(page: &mut Page<'_>, sinks: &[Arc<SinkStats>]) -> fmt::Result {
    let label = |sink: &SinkStats| [("sink", sink.name().to_owned())];
    let deliveries = sinks.iter().map(|sink| (label(sink), sink.deliveries.get()));
    page.counters("sink_deliveries", "Deliveries that the sink confirmed", deliveries)?;
    let items = sinks.iter().map(|sink| (label(sink), sink.items.get()));
    page.counters("sink_items", "Rows and rejects in confirmed deliveries", items)?;
    let retries = sinks.iter().map(|sink| (label(sink), sink.retries.get()));
    page.counters("sink_retries", "Attempts that failed and were made again", retries)?;
    let latency = sinks.iter().map(|sink| (label(sink), sink.latency.clone()));
    let help = "From the first attempt of a delivery to its confirmation";
    page.family("sink_delivery_latency_seconds", help, MetricType::Histogram, latency)
}
