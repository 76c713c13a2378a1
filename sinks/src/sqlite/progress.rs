//! How far each outbox part has come, and which generation may write it.

use super::failure::Failure;
use crate::SinkError;
use crate::parts::Parts;
use rusqlite::{Connection, OptionalExtension, params};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Epoch, Generation};

const ADVANCE: &str = "
    INSERT INTO progress AS stored (stream, part, generation, epoch) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (stream, part) DO UPDATE SET
        generation = excluded.generation,
        epoch = CASE WHEN stored.generation = excluded.generation THEN max(stored.epoch, excluded.epoch)
                     ELSE excluded.epoch END
    WHERE stored.generation <= excluded.generation";
const STORED: &str = "SELECT generation FROM progress WHERE stream = ?1 AND part = ?2";

/// Records that the parts are complete through an epoch. Refused when a later generation has written one of them.
pub(super) fn advance(
    connection: &Connection,
    stream: &'static str,
    parts: &Parts,
    (generation, through): (Generation, Epoch),
) -> Result<(), Failure> {
    let (run, epoch) = (integer("generation", generation.0)?, integer("epoch", through.0)?);
    let mut statement = connection.prepare_cached(ADVANCE)?;
    for part in parts.as_slice() {
        if statement.execute(params![stream, part.0, run, epoch])? == 1 || has_bug(Bug::IgnoreFence) {
            continue;
        }
        let stored = connection.query_row(STORED, params![stream, part.0], |row| row.get::<_, i64>(0));
        let stored = stored.optional()?.unwrap_or_default();
        let problem = format!("generation {generation} was replaced by generation {stored}: this run must end");
        return Err(SinkError::stop("the embedded store", problem).into());
    }
    Ok(())
}

/// A count or number as SQLite's signed one.
pub(super) fn integer(name: &str, value: u64) -> Result<i64, SinkError> {
    i64::try_from(value).map_err(|_| SinkError::stop("the embedded store", format!("{name} {value} is too large")))
}
