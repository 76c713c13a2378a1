//! Reading dead letters back.

use super::failure::Failure;
use super::hot::SqliteHotStore;
use crate::SinkError;
use crate::hot::LetterStore;
use rusqlite::{Connection, params};
use tidewatch_proto::ids::Offset;
use tidewatch_proto::query::{Letter, LetterQuery};
use tidewatch_proto::reject::Reason;

const COLUMNS: &str = "number, partition, offset, log_time, reason, detail, key, payload";

impl LetterStore for SqliteHotStore {
    fn letters(&self, query: &LetterQuery) -> Result<Vec<Letter>, SinkError> {
        self.read(|connection| letters(connection, query))
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
    })
}
