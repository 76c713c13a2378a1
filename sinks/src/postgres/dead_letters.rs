//! The sink for dead letters.

use super::PostgresSettings;
use super::failure::Failure;
use super::progress;
use super::session::{Link, prepared};
use super::stamp::Stamp;
use crate::parts::Parts;
use crate::{Sink, SinkError};
use postgres::{Statement, Transaction};
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::reject::Reject;
use tidewatch_proto::row::Delivery;

/// Payload bytes a statement.
const BYTES_PER_STATEMENT: usize = 16 << 20;
/// The name of the dead letters' progress.
const STREAM: &str = "dead_letters";
const INSERT: &str = "
    INSERT INTO dead_letters (partition, \"offset\", reason, detail, key, payload, log_time)
    SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::text[]), unnest($5::bytea[]),
           unnest($6::bytea[]), unnest($7::timestamptz[])
    ON CONFLICT DO NOTHING";

/// Stores dead letters in PostgreSQL, each record once. A `log_time` that no `timestamptz` can hold is left out.
pub struct PostgresDeadLetters {
    link: Link,
    parts: Parts,
    partitions: Vec<String>,
}

impl PostgresDeadLetters {
    /// A sink for one worker's dead letters; `parts` are the worker's outbox parts, `partitions` the names that
    /// the source gives its partitions.
    pub fn new(settings: PostgresSettings, parts: Parts, partitions: &[String]) -> PostgresDeadLetters {
        PostgresDeadLetters {
            link: Link::new(settings),
            parts,
            partitions: partitions.to_vec(),
        }
    }

    /// Connects and brings the tables up to date, so that what is wrong shows at the start.
    ///
    /// # Errors
    /// When the database can't be used, with what to do.
    pub fn check(&mut self) -> Result<(), SinkError> {
        self.link.run(|_, _| Ok(()))
    }
}

impl Sink<Reject> for PostgresDeadLetters {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn deliver(&mut self, delivery: &Delivery<Reject>) -> Result<(), SinkError> {
        self.link.keep_retention()?;
        let (parts, partitions) = (&self.parts, &self.partitions);
        self.link.run(|session, settings| {
            check(Point::PostgresLettersBegin)?;
            let (mut transaction, statements) = session.begin()?;
            progress::advance(&mut transaction, STREAM, parts, delivery.generation, delivery.through)?;
            check(Point::PostgresLettersProgress)?;
            let mut rest = delivery.items.as_slice();
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(chunk_len(rest, settings.statement_rows_max));
                rest = after;
                let statement = prepared(statements, &mut transaction, INSERT.to_owned())?;
                insert(&mut transaction, statement, partitions, chunk)?;
            }
            check(Point::PostgresLettersCommit)?;
            transaction.commit()?;
            Ok(check(Point::PostgresLettersCommitted)?)
        })
    }
}

/// Inserts rejects, but for those that are there.
fn insert(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
    partitions: &[String],
    rejects: &[Reject],
) -> Result<(), Failure> {
    let name = |reject: &Reject| match partitions.get(reject.partition.index()) {
        Some(name) => name.clone(),
        None => reject.partition.to_string(),
    };
    let names: Vec<String> = rejects.iter().map(name).collect();
    let offsets: Vec<i64> = rejects.iter().map(|reject| reject.offset.0).collect();
    let reasons: Vec<&str> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
    // PostgreSQL's text can't hold a zero byte.
    let details: Vec<String> = rejects
        .iter()
        .map(|reject| reject.detail.replace('\0', "\u{fffd}"))
        .collect();
    let keys: Vec<Option<&[u8]>> = rejects.iter().map(|reject| reject.key.as_deref()).collect();
    let payloads: Vec<&[u8]> = rejects.iter().map(|reject| reject.payload.as_slice()).collect();
    let times: Vec<Option<Stamp>> = rejects
        .iter()
        .map(|reject| reject.log_time.and_then(|time| Stamp::fitting(time.0)))
        .collect();
    transaction.execute(
        statement,
        &[&names, &offsets, &reasons, &details, &keys, &payloads, &times],
    )?;
    Ok(())
}

/// How many of the rejects go into one statement: at least one.
fn chunk_len(rejects: &[Reject], rows_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |reject: &&Reject| {
        bytes += reject.payload.len();
        bytes <= BYTES_PER_STATEMENT
    };
    rejects.iter().take(rows_max).take_while(fits).count().max(1)
}
