//! What the archive of raw telemetry counts.

use super::page::Page;
use crate::handles::ArchiveCounts;
use std::fmt;

/// Writes it.
pub(super) fn encode(page: &mut Page<'_>, counts: &ArchiveCounts, names: &[String]) -> fmt::Result {
    page.counter(
        "archive_objects",
        "Objects put into the archive, merged ones too",
        counts.objects,
    )?;
    page.counter("archive_bytes", "Bytes of objects put into the archive", counts.bytes)?;
    page.counter("archive_records", "Records put into the archive", counts.records)?;
    let help = "Objects of the archive that were merged into larger ones";
    page.counter("archive_objects_merged", help, counts.merged)?;
    let help = "Files of the archive removed because no manifest named them";
    page.counter("archive_files_removed", help, counts.removed)?;
    let help = "Attempts to archive that failed and were made again";
    page.counter("archive_failures", help, counts.failures)?;
    page.gauge(
        "archive_buffered_bytes",
        "Bytes read for the archive and not in it yet",
        i64::try_from(counts.buffered_bytes).unwrap_or(i64::MAX),
    )?;
    let name = |index: usize| names.get(index).cloned().unwrap_or_else(|| index.to_string());
    let partitions = || counts.partitions.iter();
    let next = partitions().filter_map(|(index, next, _)| Some(([("partition", name(*index))], (*next)?)));
    let help = "The first offset that is not in the archive; missing before the first object";
    page.gauges("archive_next_offset", help, next)?;
    let lag = partitions().map(|(index, _, lag)| {
        let lag = i64::try_from(*lag).unwrap_or(i64::MAX);
        ([("partition", name(*index))], lag)
    });
    let help = "Records known to lie ahead of what was read for the archive";
    page.gauges("archive_lag_records", help, lag)
}
