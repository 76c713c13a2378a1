//! The sink for rows.

use super::PostgresSettings;
use super::copy::copy;
use super::failure::Failure;
use super::mend;
use super::order::of_table;
use super::progress;
use super::schema::{self, Layout, Tables};
use super::session::{Link, Session, connect, prepared};
use super::tables::{Batch, Table, WINDOWED, table};
use crate::mending::{Mending, Sorted};
use crate::parts::Parts;
use crate::{Sink, SinkError, Storing};
use postgres::error::SqlState;
use postgres::{Statement, Transaction};
use std::collections::HashMap;
use tidewatch_failpoints::{Point, check};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Delivery, Row, Status};
use tidewatch_proto::straggler::Straggler;

/// The name of the rows' progress.
const STREAM: &str = "rows";

/// Stores rows in PostgreSQL or TimescaleDB. It connects when it first delivers, and again after an error.
pub struct PostgresSink {
    link: Link,
    parts: Parts,
    mending: Option<Mending>,
}

impl PostgresSink {
    /// A sink for these outbox parts; nothing is connected yet.
    pub fn new(settings: PostgresSettings, parts: Parts) -> PostgresSink {
        PostgresSink {
            link: Link::new(settings),
            parts,
            mending: None,
        }
    }

    /// The same sink, which also adds readings beyond the horizon to what it has stored.
    #[must_use]
    pub fn mending(mut self, mending: Mending) -> PostgresSink {
        self.mending = Some(mending);
        self
    }

    /// Connects and brings the tables up to date, so that what is wrong shows at the start.
    ///
    /// # Errors
    /// When the database can't be used, with what to do.
    pub fn check(&mut self) -> Result<(), SinkError> {
        self.link.run(|_, _| Ok(()))
    }

    /// Connects and looks whether the tables are there; nothing is changed.
    ///
    /// # Errors
    /// When the database can't be used, with what to do.
    pub fn look(settings: &PostgresSettings) -> Result<Tables, SinkError> {
        let mut client = connect(settings)?;
        schema::look(&mut client, settings).map_err(|failure| failure.about(settings.target()))
    }

    fn refuse_foreign(&self, delivery: &Delivery<Row>, stragglers: &[Straggler]) -> Result<(), SinkError> {
        if let Some(one) = stragglers.iter().find(|one| !self.parts.contains(one.part())) {
            let problem = format!(
                "a reading of {} is of part {}, which isn't this sink's",
                one.device,
                one.part().0
            );
            return Err(SinkError::stop(self.link.settings().target(), problem));
        }
        match delivery.items.iter().find(|row| !self.parts.contains(row.part())) {
            Some(row) => {
                let problem = format!(
                    "a row of {} is of part {}, which isn't this sink's",
                    row.key,
                    row.part().0
                );
                Err(SinkError::stop(self.link.settings().target(), problem))
            }
            None => Ok(()),
        }
    }
}

impl Sink<Row> for PostgresSink {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn deliver(&mut self, delivery: &Delivery<Row>) -> Result<(), SinkError> {
        self.mend(delivery, &[]).map(drop)
    }
}

impl Storing for PostgresSink {
    fn mend(&mut self, delivery: &Delivery<Row>, stragglers: &[Straggler]) -> Result<Vec<Row>, SinkError> {
        self.refuse_foreign(delivery, stragglers)?;
        self.link.keep_retention()?;
        let (parts, rows) = (&self.parts, &delivery.items);
        let mending = self.mending.as_ref().filter(|_| !stragglers.is_empty());
        self.link.run(|session, settings| {
            let coming = rows.iter().map(|row| row.window_start).max();
            let newest = mending.map(|_| session.newest(coming)).transpose()?;
            let sorted = mending.zip(newest).map(|(mending, newest)| {
                let from = |job| mend::kept_from(settings, job, newest);
                (mending.sort(stragglers, from), mending.quantiles)
            });
            if session.layout == Layout::Partitions {
                let windows = rows.iter().map(|row| (table(row.job), row.window_start.0));
                let mended = sorted.iter().flat_map(|(sorted, _)| sorted.windows());
                let mended = mended.map(|(job, start)| (table(job), start.0));
                session.days.have(&mut session.client, windows.chain(mended))?;
            }
            store(session, settings, parts, delivery, sorted)
        })
    }
}

/// The delivery as one transaction. It gives the rows that readings were added to.
fn store(
    session: &mut Session,
    settings: &PostgresSettings,
    parts: &Parts,
    delivery: &Delivery<Row>,
    sorted: Option<(Sorted<'_>, bool)>,
) -> Result<Vec<Row>, Failure> {
    let layout = session.layout;
    check(Point::PostgresBegin)?;
    // After an error there is no session, and nothing is known.
    let mut known = std::mem::take(&mut session.known);
    let (mut transaction, statements) = session.begin()?;
    progress::advance(&mut transaction, STREAM, parts, delivery.generation, delivery.through)?;
    check(Point::PostgresProgress)?;
    for table_of in WINDOWED {
        let rows = of_table(delivery, table_of).into_iter();
        let (first, later): (Vec<&Row>, Vec<&Row>) = rows.partition(|row| row.status == Status::Final);
        let mut write = Write {
            transaction: &mut transaction,
            statements,
            table: table_of,
            as_of: delivery.through,
            rows_max: settings.statement_rows_max,
        };
        write.first_rows(&first, layout)?;
        write.upsert(&later)?;
    }
    let mended = match sorted {
        Some((sorted, quantiles)) if !sorted.is_empty() => {
            check(Point::PostgresMend)?;
            let mended = mend::store(sorted, &mut transaction, statements, quantiles, delivery.through)?;
            check(Point::PostgresMended)?;
            mended
        }
        _ => Vec::new(),
    };
    let rows_max = settings.statement_rows_max;
    let mut noted = known.note(&mut transaction, statements, &delivery.items, rows_max)?;
    noted.extend(known.note(&mut transaction, statements, &mended, rows_max)?);
    check(Point::PostgresCommit)?;
    transaction.commit()?;
    check(Point::PostgresCommitted)?;
    known.committed(noted);
    session.known = known;
    Ok(mended)
}

/// Rows on their way into one table.
struct Write<'a, 't> {
    transaction: &'a mut Transaction<'t>,
    statements: &'a mut HashMap<String, Statement>,
    table: &'static Table,
    as_of: Epoch,
    /// How many rows a statement, or a message of a copy, carries at most.
    rows_max: usize,
}

impl Write<'_, '_> {
    /// First rows of their windows are not there, unless they were delivered before or come from a replay.
    fn first_rows(&mut self, rows: &[&Row], layout: Layout) -> Result<(), Failure> {
        // TimescaleDB is left to inserts: it also comes behind proxies and in builds that have no COPY.
        let whole = layout == Layout::Partitions;
        let mut rest = rows;
        while !rest.is_empty() {
            let chunk = if whole {
                rest
            } else {
                &rest[..rest.len().min(self.rows_max)]
            };
            if !self.unless_there(chunk, whole)? {
                return self.upsert(rest);
            }
            rest = &rest[chunk.len()..];
        }
        Ok(())
    }

    /// Copies or inserts rows, unless one of them is there.
    fn unless_there(&mut self, rows: &[&Row], copies: bool) -> Result<bool, Failure> {
        let sql = if copies { self.table.copy() } else { self.table.insert() };
        let statement = prepared(self.statements, self.transaction, sql)?;
        let mut attempt = self.transaction.transaction()?;
        let done = match copies {
            true => copy(&mut attempt, statement, self.table, rows, self.as_of, self.rows_max),
            false => insert(&mut attempt, statement, self.table, rows, self.as_of),
        };
        match done {
            Ok(()) => {
                attempt.commit()?;
                Ok(true)
            }
            Err(Failure::Postgres(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                attempt.rollback()?;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Inserts rows, or replaces those of an earlier revision.
    fn upsert(&mut self, rows: &[&Row]) -> Result<(), Failure> {
        for chunk in rows.chunks(self.rows_max) {
            let statement = prepared(self.statements, self.transaction, self.table.upsert())?;
            insert(self.transaction, statement, self.table, chunk, self.as_of)?;
        }
        Ok(())
    }
}

/// Executes an insert or upsert of rows.
fn insert(
    transaction: &mut Transaction<'_>,
    statement: &Statement,
    table: &Table,
    rows: &[&Row],
    as_of: Epoch,
) -> Result<(), Failure> {
    let batch = Batch::of(rows, as_of)?;
    transaction.execute(statement, &table.parameters(&batch))?;
    Ok(())
}
