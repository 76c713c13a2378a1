//! What is counted about what the process keeps by itself: the archive, the embedded log, the embedded store.

use super::page::Page;
use crate::kept::{ArchiveCounts, Kept, LogCounts, StoreCounts, Writing};
use std::fmt;

/// Writes all of it.
pub(super) fn encode(page: &mut Page<'_>, kept: &Kept, names: &[String]) -> fmt::Result {
    if let Some(counts) = &kept.archive {
        archive(page, counts, names, kept.now_ms)?;
    }
    if let Some(counts) = &kept.log {
        log(page, counts, kept.now_ms)?;
    }
    kept.store.iter().try_for_each(|counts| store(page, counts))
}

fn archive(page: &mut Page<'_>, counts: &ArchiveCounts, names: &[String], now_ms: i64) -> fmt::Result {
    page.counter(
        "archive_objects",
        "Objects put into the archive, merged ones too",
        counts.objects,
    )?;
    page.counter("archive_bytes", "Bytes of objects put into the archive", counts.bytes)?;
    page.counter("archive_records", "Records put into the archive", counts.records)?;
    let help = "Objects of the archive that were merged into larger ones";
    page.counter("archive_objects_merged", help, counts.merged)?;
    let help = "Objects of the archive let go because their time was over";
    page.counter("archive_objects_expired", help, counts.expired)?;
    let help = "Files of the archive removed because no manifest named them";
    page.counter("archive_files_removed", help, counts.removed)?;
    let help = "Attempts to archive that failed and were made again";
    page.counter("archive_failures", help, counts.writing.failures)?;
    let help = "How long every attempt to archive has failed; 0 while they succeed";
    let failing = Writing::seconds(counts.writing.failing_since_ms, now_ms);
    page.gauge("archive_failing_seconds", help, failing)?;
    page.gauge(
        "archive_buffered_bytes",
        "Bytes read for the archive and not in it yet",
        integer(counts.writing.waiting_bytes),
    )?;
    let help = "Seconds since the log appended the first record that was read for the archive and is not in it yet";
    let behind = Writing::seconds(counts.writing.waiting_since_ms, now_ms);
    page.gauge("archive_behind_seconds", help, behind)?;
    let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| index.to_string());
    let partitions = || counts.partitions.iter();
    let next = partitions().filter_map(|(index, next, _)| Some(([("partition", name(*index))], (*next)?)));
    let help = "The first offset that is not in the archive; missing before the first object";
    page.gauges("archive_next_offset", help, next)?;
    let lag = partitions().map(|(index, _, lag)| ([("partition", name(*index))], integer(*lag)));
    let help = "Records known to lie ahead of what was read for the archive";
    page.gauges("archive_lag_records", help, lag)
}

fn log(page: &mut Page<'_>, counts: &LogCounts, now_ms: i64) -> fmt::Result {
    page.gauge(
        "log_bytes",
        "Bytes of all files of the embedded log",
        integer(counts.bytes),
    )?;
    let help = "Attempts to write the embedded log that failed and were made again";
    page.counter("log_write_failures", help, counts.writing.failures)?;
    let help = "How long every attempt to write the embedded log has failed; 0 while they succeed";
    let failing = Writing::seconds(counts.writing.failing_since_ms, now_ms);
    page.gauge("log_failing_seconds", help, failing)?;
    let help = "Bytes appended to the embedded log and not durable yet";
    page.gauge("log_waiting_bytes", help, integer(counts.writing.waiting_bytes))?;
    let help = "How long the first of these bytes have waited";
    let waiting = Writing::seconds(counts.writing.waiting_since_ms, now_ms);
    page.gauge("log_waiting_seconds", help, waiting)?;
    let reasons = [("age", counts.by_age), ("room", counts.by_room)];
    let records = reasons.map(|(reason, (records, _))| ([("reason", reason)], records));
    let help = "Records that have left the embedded log, because their time was over or others had to have room";
    page.counters("log_removed_records", help, records)?;
    let bytes = reasons.map(|(reason, (_, bytes))| ([("reason", reason)], bytes));
    page.counters("log_removed_bytes", "Bytes of these records' files", bytes)
}

fn store(page: &mut Page<'_>, counts: &StoreCounts) -> fmt::Result {
    let help = "Bytes that the embedded store takes, as of its last delivery";
    page.gauge("embedded_bytes", help, integer(counts.bytes))?;
    let evicted = counts.evicted.iter().map(|(what, count)| ([("what", *what)], *count));
    let help = "What has left the embedded store before its retention was over, because its bytes were reached: hours of \
                one-minute and five-minute windows and rollups, days of one-hour windows, and dead letters";
    page.counters("embedded_evictions", help, evicted)
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
