//! The sink for rows.

use super::failure::Failure;
use super::folder::Sqlite;
use super::mend;
use super::pack::Body;
use super::progress::{self, integer};
use super::retention;
use super::session::Session;
use super::tables::{Table, id, minute, slot, start_of};
use crate::mending::{Mending, Sorted};
use crate::parts::Parts;
use crate::{ErrorKind, Sink, SinkError, Storing};
use rusqlite::{Statement, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;
use std::time::Instant;
use tidewatch_failpoints::{Bug, Point, check, has_bug};
use tidewatch_proto::row::{Delivery, Row};
use tidewatch_proto::straggler::Straggler;

/// The name of the rows' progress.
const STREAM: &str = "rows";

/// Stores rows in an embedded store.
pub struct SqliteSink {
    pub(super) store: Sqlite,
    parts: Parts,
    mending: Option<Mending>,
}

impl Sqlite {
    /// A sink for the rows of these outbox parts.
    pub fn sink(&self, parts: Parts) -> SqliteSink {
        SqliteSink {
            store: self.clone(),
            parts,
            mending: None,
        }
    }

    /// Does after a delivery what is due. A full disk is no reason to deliver again.
    pub(super) fn tend(&self, rows: usize) -> Result<(), SinkError> {
        let tended = self.write(|session, settings, news| retention::tend(session, settings, news, rows));
        match tended {
            Err(error) if error.kind != ErrorKind::Retry => Err(error),
            _ => Ok(()),
        }
    }
}

impl SqliteSink {
    /// The same sink, which also adds readings beyond the horizon to what it has stored.
    #[must_use]
    pub fn mending(mut self, mending: Mending) -> SqliteSink {
        self.mending = Some(mending);
        self
    }

    fn refuse_foreign(&self, delivery: &Delivery<Row>, stragglers: &[Straggler]) -> Result<(), SinkError> {
        let rows = delivery.items.iter().map(|row| (&row.key, row.part()));
        let readings = stragglers.iter().map(|one| (&one.device, one.part()));
        match rows.chain(readings).find(|(_, part)| !self.parts.contains(*part)) {
            Some((key, part)) => {
                let problem = format!("what is about {key} is of part {}, which isn't this sink's", part.0);
                Err(SinkError::stop(self.store.file().display().to_string(), problem))
            }
            None => Ok(()),
        }
    }
}

impl Sink<Row> for SqliteSink {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn deliver(&mut self, delivery: &Delivery<Row>) -> Result<(), SinkError> {
        self.mend(delivery, &[]).map(drop)
    }
}

impl Storing for SqliteSink {
    fn mend(&mut self, delivery: &Delivery<Row>, stragglers: &[Straggler]) -> Result<Vec<Row>, SinkError> {
        self.refuse_foreign(delivery, stragglers)?;
        let (parts, mending) = (&self.parts, self.mending.as_ref());
        let mended = self.store.write(|session, _, _| {
            let kept = session.kept.clone();
            let sorted = mending.map(|mending| {
                let from = |job| start_of(kept.from[Table::of(job) as usize]);
                (mending.sort(stragglers, from), mending.quantiles)
            });
            let gone = sorted.as_ref().map_or(0, |(sorted, _)| sorted.gone);
            let mended = store(session, parts, delivery, sorted)?;
            session.gone.0 += gone;
            Ok(mended)
        })?;
        self.store.tend(delivery.items.len())?;
        Ok(mended)
    }
}

/// The delivery as one transaction. It gives the rows that readings were added to.
fn store(
    session: &mut Session,
    parts: &Parts,
    delivery: &Delivery<Row>,
    sorted: Option<(Sorted<'_>, bool)>,
) -> Result<Vec<Row>, Failure> {
    check(Point::EmbeddedBegin)?;
    let Session {
        connection,
        names,
        fresh,
        kept,
        ..
    } = session;
    names.bound();
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    progress::advance(&transaction, STREAM, parts, (delivery.generation, delivery.through))?;
    check(Point::EmbeddedProgress)?;
    let mut put = Put::default();
    let mut placed = Vec::with_capacity(delivery.items.len());
    for row in &delivery.items {
        let (table, minute) = (Table::of(row.job), minute(row)?);
        if kept.keeps(table, minute) {
            let series = names.series(&transaction, (row.job, &row.key, &row.metric), minute)?;
            placed.push((table, id(minute, series), row));
        }
    }
    // Stable, so that of rows with the same key the later stays behind.
    placed.sort_by_key(|(table, id, _)| (*table, *id));
    for table in placed.chunk_by(|left, right| left.0 == right.0) {
        let mut into = transaction.prepare_cached(upsert(table[0].0))?;
        for same in table.chunk_by(|left, right| left.1 == right.1) {
            if let Some((table, id, row)) = same.last() {
                put.row(&mut into, *table, *id, row)?;
            }
        }
    }
    let mended = match sorted {
        Some((sorted, quantiles)) if !sorted.is_empty() => {
            mend::store(&transaction, names, &mut put, sorted, (quantiles, delivery.through))?
        }
        _ => Vec::new(),
    };
    names.write(&transaction)?;
    check(Point::EmbeddedCommit)?;
    transaction.commit()?;
    let now = Instant::now();
    for (table, period) in put.periods {
        fresh.came(table, period, now);
    }
    fresh.more(put.rows);
    kept.newest = kept.newest.max(put.newest.unwrap_or(i64::MIN));
    check(Point::EmbeddedCommitted)?;
    Ok(mended)
}

/// Writes rows, and notes what a transaction has written.
#[derive(Default)]
pub(super) struct Put {
    bytes: Vec<u8>,
    periods: BTreeSet<(Table, i64)>,
    newest: Option<i64>,
    rows: usize,
    last: Option<(Table, i64)>,
}

impl Put {
    /// Writes a row with the statement of its table, unless a fresh one of the same or a later revision is there.
    pub(super) fn row(&mut self, into: &mut Statement<'_>, table: Table, id: i64, row: &Row) -> Result<(), Failure> {
        self.bytes.clear();
        Body::of(row).put(&mut self.bytes);
        let revision = integer("revision", row.revision.0)?;
        self.rows += into.execute(params![id, revision, self.bytes])?;
        let period = (table, table.period_of(slot(id)));
        if self.last != Some(period) {
            self.last = Some(period);
            self.periods.insert(period);
        }
        self.newest = self.newest.max(Some(slot(id)));
        Ok(())
    }
}

/// Inserts a row, or replaces one of an earlier revision.
pub(super) fn upsert(table: Table) -> &'static str {
    macro_rules! upsert {
        ($name:literal) => {
            concat!(
                "INSERT INTO ",
                $name,
                " AS stored (id, revision, row) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET ",
                "revision = excluded.revision, row = excluded.row WHERE excluded.revision > stored.revision"
            )
        };
    }
    let guarded = match table {
        Table::Minute => upsert!("aggregates_minute"),
        Table::FiveMinutes => upsert!("aggregates_five_minutes"),
        Table::Hour => upsert!("aggregates_hour"),
        Table::Day => upsert!("aggregates_day"),
        Table::Rollups => upsert!("rollups_minute"),
    };
    match has_bug(Bug::UnguardedUpsert) {
        true => guarded.split_once(" WHERE").map_or(guarded, |(unguarded, _)| unguarded),
        false => guarded,
    }
}
