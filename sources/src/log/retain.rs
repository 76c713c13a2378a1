//! What leaves the log: whole files, the oldest first, when their time has come or room is needed. What the reader may
//! still come back to stays, and what an archive still needs; when that is all there is, there is no room.

use super::health::{Leaving, bytes as size};
use super::partition::{Part, Shared};
use std::fs;
use std::io::{self, ErrorKind};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::time::LogTime;

/// Removes the oldest files until so many more bytes have room.
///
/// # Errors
/// When nothing more may leave, or a file can't be removed.
pub(super) fn make_room(shared: &Shared, bytes: u64) -> io::Result<()> {
    let max = shared.settings.retention_bytes;
    while size(shared).saturating_add(bytes) > max {
        let oldest = shared.parts.iter().filter_map(|part| Some((oldest(part)?, part)));
        let Some((_, part)) = oldest.min_by_key(|(time, _)| *time) else {
            let problem = format!(
                "it has {max} bytes, which is log.retention_bytes, and checkpoints, or the archive, have not come by the \
                 oldest of them yet: see what holds them up, or raise log.retention_bytes"
            );
            return Err(io::Error::new(ErrorKind::StorageFull, problem));
        };
        remove_first(shared, part, Leaving::Room)?;
    }
    Ok(())
}

/// Removes files whose records are all older than this.
///
/// # Errors
/// When a file can't be removed.
pub(super) fn expire(shared: &Shared, before: LogTime) -> io::Result<()> {
    for part in &shared.parts {
        while oldest(part).is_some_and(|time| time < Some(before)) {
            remove_first(shared, part, Leaving::Age)?;
        }
    }
    Ok(())
}

/// The latest log time of a partition's first file (nothing when it has no records), if that file may leave.
fn oldest(part: &Part) -> Option<Option<LogTime>> {
    let segments = part.segments();
    let (first, second) = (segments.front()?, segments.get(1)?);
    part.is_read(first).then_some(second.before.time)
}

fn remove_first(shared: &Shared, part: &Part, why: Leaving) -> io::Result<()> {
    let Some(first) = part.segments().front().cloned() else {
        return Ok(());
    };
    check(Point::LogRemove)?;
    match fs::remove_file(&first.path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => drop(part.segments().pop_front()),
    }
    shared.health.left(why, &first);
    Ok(check(Point::LogRemoved)?)
}
