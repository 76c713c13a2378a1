//! Reading dead letters back.

use super::PostgresSettings;
use super::failure::Failure;
use super::session::Link;
use super::stamp::Stamp;
use crate::SinkError;
use crate::hot::LetterStore;
use postgres::types::ToSql;
use std::sync::{Mutex, PoisonError};
use tidewatch_proto::ids::Offset;
use tidewatch_proto::query::{Letter, LetterQuery, Replay};
use tidewatch_proto::reject::Reason;

const LETTERS: &str = "
    SELECT number, partition, \"offset\", log_time, reason, detail, key, payload,
           replay_id, replay_at, replay_from, replay_offset FROM dead_letters
    WHERE ($1::text IS NULL OR reason = $1) AND number < $2 ORDER BY number DESC LIMIT $3";
const NOTE: &str = "
    UPDATE dead_letters SET replay_id = $3, replay_at = $4, replay_from = $5, replay_offset = $6
    WHERE number = $1 AND replay_id IS NOT DISTINCT FROM $2";

/// Reads dead letters from the sink's table, over a connection of its own: made when first asked, again after an error.
pub struct PostgresLetterStore {
    link: Mutex<Link>,
}

impl PostgresLetterStore {
    /// A reader; nothing is connected yet.
    pub fn new(settings: PostgresSettings) -> PostgresLetterStore {
        PostgresLetterStore {
            link: Mutex::new(Link::new(settings)),
        }
    }
}

impl LetterStore for PostgresLetterStore {
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, SinkError> {
        // A panic while the lock was held leaves a session that the next error replaces.
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = query.reason.map(Reason::as_str);
        let before = query
            .before
            .map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        link.run(|session, _| {
            let found = session.client.query(LETTERS, &[&reason, &before, &limit])?;
            found.iter().map(letter_of).collect()
        })
    }

    fn note_replay(&self, number: u64, before: Option<u64>, replay: &Replay) -> Result<bool, SinkError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let (before, id) = (before.map(u64::cast_signed), replay.id.cast_signed());
        let (at, offset) = (Stamp(replay.at_ms), replay.offset.map(|offset| offset.0));
        link.run(|session, _| {
            let values: [&(dyn ToSql + Sync); 6] = [&number, &before, &id, &at, &replay.from.0, &offset];
            Ok(session.client.execute(NOTE, &values)? > 0)
        })
    }
}

fn letter_of(row: &postgres::Row) -> Result<Letter, Failure> {
    let reason: &str = row.try_get("reason")?;
    let reason = Reason::ALL
        .into_iter()
        .find(|known| known.as_str() == reason)
        .ok_or_else(|| {
            SinkError::stop(
                "dead_letters",
                format!("the reason {reason:?} is none that this release knows"),
            )
        })?;
    Ok(Letter {
        number: row.try_get::<_, i64>("number")?.unsigned_abs(),
        partition: row.try_get("partition")?,
        offset: Offset(row.try_get("offset")?),
        log_time_ms: row.try_get::<_, Option<Stamp>>("log_time")?.map(|time| time.0),
        reason,
        detail: row.try_get("detail")?,
        key: row.try_get("key")?,
        payload: row.try_get("payload")?,
        replay: replay_of(row)?,
    })
}

fn replay_of(row: &postgres::Row) -> Result<Option<Replay>, Failure> {
    let id: Option<i64> = row.try_get("replay_id")?;
    let at: Option<Stamp> = row.try_get("replay_at")?;
    let from: Option<i64> = row.try_get("replay_from")?;
    let offset: Option<i64> = row.try_get("replay_offset")?;
    let noted = id.zip(at).zip(from);
    Ok(noted.map(|((id, at), from)| Replay {
        id: id.cast_unsigned(),
        at_ms: at.0,
        from: Offset(from),
        offset: offset.map(Offset),
    }))
}
