//! Reading dead letters back, and noting that they were replayed.

use super::failure::Failure;
use super::folder::Sqlite;
use super::hot::SqliteHotStore;
use crate::SinkError;
use crate::hot::LetterStore;
use rusqlite::{Connection, params};
use tidewatch_proto::ids::Offset;
use tidewatch_proto::query::{Letter, LetterQuery, Replay};
use tidewatch_proto::reject::Reason;

const COLUMNS: &str = "number, partition, offset, log_time, reason, detail, key, payload, \
                       replay_id, replay_at, replay_from, replay_offset";
const NOTE: &str = "UPDATE dead_letters SET replay_id = ?3, replay_at = ?4, replay_from = ?5, replay_offset = ?6
                    WHERE number = ?1 AND replay_id IS ?2";

/// The dead letters of an embedded store. It keeps the folder locked, as who writes does.
pub struct SqliteLetters {
    reader: SqliteHotStore,
    store: Sqlite,
}

impl Sqlite {
    /// The dead letters.
    pub fn letters(&self) -> SqliteLetters {
        SqliteLetters {
            reader: self.reader(),
            store: self.clone(),
        }
    }
}

impl LetterStore for SqliteLetters {
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, SinkError> {
        self.reader.read(|connection| letters(connection, query))
    }

    fn note_replay(&self, number: u64, before: Option<u64>, replay: &Replay) -> Result<bool, SinkError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let (before, id) = (before.map(u64::cast_signed), replay.id.cast_signed());
        let offset = replay.offset.map(|offset| offset.0);
        self.store.write(|session, _, _| {
            let values = params![number, before, id, replay.at_ms, replay.from.0, offset];
            Ok(session.connection.execute(NOTE, values)? > 0)
        })
    }
}

fn letters(connection: &Connection, query: &LetterQuery) -> Result<Vec<Letter>, Failure> {
    // With a reason its index is used, else the table's own order.
    let of_reason = query.reason.map_or("?3 = ''", |_| "reason = ?3");
    let sql =
        format!("SELECT {COLUMNS} FROM dead_letters WHERE number < ?1 AND {of_reason} ORDER BY number DESC LIMIT ?2");
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let before = query.before.map_or(i64::MAX, integer);
    let limit = integer(query.limit as u64);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![before, limit, query.reason.map_or("", Reason::as_str)])?;
    let mut letters = Vec::new();
    while let Some(row) = found.next()? {
        letters.push(letter(row)?);
    }
    Ok(letters)
}

fn letter(row: &rusqlite::Row<'_>) -> Result<Letter, Failure> {
    let reason: String = row.get(4)?;
    let known = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
    Ok(Letter {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        partition: row.get(1)?,
        offset: Offset(row.get(2)?),
        log_time_ms: row.get(3)?,
        reason: known.ok_or(Failure::Damaged("a reason"))?,
        detail: row.get(5)?,
        key: row.get(6)?,
        payload: row.get(7)?,
        replay: replay(row)?,
    })
}

fn replay(row: &rusqlite::Row<'_>) -> Result<Option<Replay>, Failure> {
    let Some(id) = row.get::<_, Option<i64>>(8)? else {
        return Ok(None);
    };
    Ok(Some(Replay {
        id: id.cast_unsigned(),
        at_ms: row.get(9)?,
        from: Offset(row.get(10)?),
        offset: row.get::<_, Option<i64>>(11)?.map(Offset),
    }))
}
