//! How far each outbox part has come, and which generation may write it.

use super::failure::Failure;
use super::tables::bigint;
use crate::SinkError;
use crate::parts::Parts;
use postgres::Transaction;
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Epoch, Generation};

/// Parts are locked in ascending order, so that two who write the same don't wait for each other.
const ADVANCE: &str = "
    INSERT INTO tidewatch_progress AS stored (stream, part, generation, epoch)
    SELECT $1, part, $3, $4 FROM unnest($2::smallint[]) AS part
    ON CONFLICT (stream, part) DO UPDATE SET
        generation = excluded.generation,
        epoch = CASE WHEN stored.generation = excluded.generation THEN greatest(stored.epoch, excluded.epoch)
                     ELSE excluded.epoch END
    WHERE stored.generation <= excluded.generation";
const LATEST: &str = "SELECT max(generation) FROM tidewatch_progress WHERE stream = $1 AND part = ANY ($2::smallint[])";

/// Records that the parts are complete through an epoch. Until the transaction ends nobody else writes them.
/// Refused when a later generation has written one of them.
pub(super) fn advance(
    transaction: &mut Transaction<'_>,
    stream: &'static str,
    parts: &Parts,
    generation: Generation,
    through: Epoch,
) -> Result<(), Failure> {
    let numbers: Vec<i16> = parts.as_slice().iter().map(|part| part.0 as i16).collect();
    let (run, epoch) = (bigint("generation", generation.0)?, bigint("epoch", through.0)?);
    let written = transaction.execute(ADVANCE, &[&stream, &numbers, &run, &epoch])?;
    if written == numbers.len() as u64 || has_bug(Bug::IgnoreFence) {
        return Ok(());
    }
    let stored: Option<i64> = transaction.query_one(LATEST, &[&stream, &numbers])?.get(0);
    let stored = stored.map_or("another".to_owned(), |stored| stored.to_string());
    let problem = format!("generation {generation} was replaced by generation {stored}: this run must end");
    Err(SinkError::stop(format!("tidewatch_progress, stream {stream}"), problem).into())
}
