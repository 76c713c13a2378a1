//! The sink for dead letters, and how long they are kept.

use super::config::SqliteSettings;
use super::failure::Failure;
use super::folder::Sqlite;
use super::progress;
use super::retention::wall_ms;
use super::session::Session;
use super::usage::Evicted;
use crate::parts::Parts;
use crate::{Sink, SinkError};
use rusqlite::{Transaction, TransactionBehavior, params};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::stable_hash;
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Delivery;

/// The name of the dead letters' progress.
const STREAM: &str = "dead_letters";
const INSERT: &str = "
    INSERT INTO dead_letters (partition, offset, reason, detail, key, log_time, stored_at, hash, payload)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
const COUNT: &str = "UPDATE dead_letter_bytes SET bytes = bytes + ?1";
/// So many letters leave in one transaction at most.
const LEAVE: usize = 5_000;
/// What a letter takes beside its texts and bytes, with its places in the indexes.
const OVERHEAD_BYTES: i64 = 120;

/// Stores dead letters in an embedded store, each record once.
pub struct SqliteDeadLetters {
    store: Sqlite,
    parts: Parts,
    partitions: Vec<String>,
}

impl Sqlite {
    /// A sink for dead letters; `parts` are its outbox parts, `partitions` the names that the source gives its
    /// partitions.
    pub fn dead_letters(&self, parts: Parts, partitions: &[String]) -> SqliteDeadLetters {
        SqliteDeadLetters {
            store: self.clone(),
            parts,
            partitions: partitions.to_vec(),
        }
    }
}

impl Sink<Reject> for SqliteDeadLetters {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn deliver(&mut self, delivery: &Delivery<Reject>) -> Result<(), SinkError> {
        let (parts, partitions) = (&self.parts, &self.partitions);
        self.store
            .write(|session, _, _| store(session, parts, partitions, delivery))?;
        self.store.tend(0)
    }
}

fn store(
    session: &mut Session,
    parts: &Parts,
    partitions: &[String],
    delivery: &Delivery<Reject>,
) -> Result<(), Failure> {
    check(Point::EmbeddedLettersBegin)?;
    let transaction = Transaction::new_unchecked(&session.connection, TransactionBehavior::Immediate)?;
    progress::advance(&transaction, STREAM, parts, (delivery.generation, delivery.through))?;
    check(Point::EmbeddedLettersProgress)?;
    let (mut bytes, now) = (0, wall_ms());
    let mut insert = transaction.prepare_cached(INSERT)?;
    for reject in &delivery.items {
        let number = reject.partition.to_string();
        let inserted = insert.execute(params![
            partitions.get(reject.partition.index()).unwrap_or(&number),
            reject.offset.0,
            reject.reason.as_str(),
            reject.detail,
            reject.key,
            reject.log_time.map(|time| time.0),
            now,
            stable_hash(&reject.payload) as i64,
            reject.payload,
        ])?;
        if inserted > 0 {
            let key = reject.key.as_ref().map_or(0, Vec::len);
            bytes += size(reject.payload.len() + key + reject.detail.len());
        }
    }
    drop(insert);
    transaction.execute(COUNT, [bytes])?;
    check(Point::EmbeddedLettersCommit)?;
    transaction.commit()?;
    Ok(check(Point::EmbeddedLettersCommitted)?)
}

/// What a letter with so many bytes takes.
fn size(bytes: usize) -> i64 {
    bytes as i64 + OVERHEAD_BYTES
}

/// Lets the oldest letters leave that are too old, or more than may be kept: some of them, in one transaction. Says
/// whether all of these have left.
pub(super) fn keep(session: &Session, settings: &SqliteSettings, wall_ms: i64) -> Result<bool, Failure> {
    let transaction = Transaction::new_unchecked(&session.connection, TransactionBehavior::Immediate)?;
    let since = wall_ms.saturating_sub(settings.letters_ms);
    let bytes: i64 = transaction.query_row("SELECT bytes FROM dead_letter_bytes", [], |row| row.get(0))?;
    let over = bytes.saturating_sub(i64::try_from(settings.letter_bytes_max).unwrap_or(i64::MAX));
    let (mut left, mut last, mut count, mut early) = (0, None, 0, 0);
    let oldest = "SELECT number, stored_at, length(payload) + coalesce(length(key), 0) + length(CAST(detail AS BLOB))
                  FROM dead_letters ORDER BY number";
    let mut oldest = transaction.prepare_cached(oldest)?;
    let mut letters = oldest.query([])?;
    while let Some(letter) = letters.next()?.filter(|_| count < LEAVE) {
        let is_early = letter.get::<_, i64>(1)? >= since;
        if is_early && left >= over {
            break;
        }
        early += u64::from(is_early);
        last = Some(letter.get::<_, i64>(0)?);
        left += size(letter.get::<_, i64>(2)? as usize);
        count += 1;
    }
    drop(letters);
    drop(oldest);
    if let Some(last) = last {
        transaction.execute("DELETE FROM dead_letters WHERE number <= ?1", [last])?;
        transaction.execute(COUNT, [-left])?;
    }
    transaction.commit()?;
    session.usage.evict(Evicted::Letter, early);
    Ok(count < LEAVE)
}
