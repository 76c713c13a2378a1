//! The sink for rows.

use super::PostgresSettings;
use super::failure::Failure;
use super::progress;
use super::schema::{self, Layout, Tables};
use super::session::{Link, Session, connect, prepared};
use super::tables::{Batch, Table, WINDOWED, table};
use crate::newest::newest;
use crate::parts::Parts;
use crate::{Sink, SinkError};
use postgres::error::SqlState;
use postgres::{Statement, Transaction};
use std::collections::HashMap;
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::{Delivery, Row, Status};

/// The name of the rows' progress.
const STREAM: &str = "rows";

/// Stores rows in PostgreSQL or TimescaleDB. It connects when it first delivers, and again after an error.
pub struct PostgresSink {
    link: Link,
    parts: Parts,
}

impl PostgresSink {
    /// A sink for these outbox parts; nothing is connected yet.
    pub fn new(settings: PostgresSettings, parts: Parts) -> PostgresSink {
        PostgresSink {
            link: Link::new(settings),
            parts,
        }
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

    fn refuse_foreign(&self, delivery: &Delivery<Row>) -> Result<(), SinkError> {
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
        self.refuse_foreign(delivery)?;
        self.link.keep_retention()?;
        let rows = newest(&delivery.items);
        let parts = &self.parts;
        self.link.run(|session, settings| {
            if session.layout == Layout::DailyPartitions {
                let windows = rows.iter().map(|row| (table(row.job).name, row.window_start.0));
                session.days.have(&mut session.client, windows)?;
            }
            store(session, settings, parts, delivery, &rows)
        })
    }
}

/// The delivery as one transaction.
fn store(
    session: &mut Session,
    settings: &PostgresSettings,
    parts: &Parts,
    delivery: &Delivery<Row>,
    rows: &[&Row],
) -> Result<(), Failure> {
    let (mut transaction, statements) = session.begin()?;
    progress::advance(&mut transaction, STREAM, parts, delivery.generation, delivery.through)?;
    for table_of in WINDOWED {
        let of_table = |row: &&&Row| std::ptr::eq(table(row.job), table_of);
        let (first, later): (Vec<&Row>, Vec<&Row>) = rows
            .iter()
            .filter(of_table)
            .partition(|row| row.status == Status::Final);
        let mut write = Write {
            transaction: &mut transaction,
            statements,
            table: table_of,
            as_of: delivery.through,
            rows_max: settings.statement_rows_max,
        };
        write.first_rows(first)?;
        write.upsert(later)?;
    }
    Ok(transaction.commit()?)
}

/// Rows on their way into one table.
struct Write<'a, 't> {
    transaction: &'a mut Transaction<'t>,
    statements: &'a mut HashMap<String, Statement>,
    table: &'static Table,
    as_of: Epoch,
    /// How many rows a statement carries at most.
    rows_max: usize,
}

impl Write<'_, '_> {
    /// First rows of their windows are not there, unless they were delivered before or come from a replay.
    fn first_rows(&mut self, mut rows: Vec<&Row>) -> Result<(), Failure> {
        // Index pages are visited in order, and so are locks.
        rows.sort_unstable_by_key(|row| (row.job, &row.key, &row.metric, row.window_start));
        for (place, chunk) in rows.chunks(self.rows_max).enumerate() {
            if !self.insert(chunk)? {
                let rest = rows.split_off(place * self.rows_max);
                return self.upsert(rest);
            }
        }
        Ok(())
    }

    /// Inserts rows, unless one of them is there.
    fn insert(&mut self, rows: &[&Row]) -> Result<bool, Failure> {
        let batch = Batch::of(rows, self.as_of)?;
        let statement = prepared(self.statements, self.transaction, self.table.insert())?;
        let mut attempt = self.transaction.transaction()?;
        match attempt.execute(statement, &self.table.parameters(&batch)) {
            Ok(_) => {
                attempt.commit()?;
                Ok(true)
            }
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                attempt.rollback()?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Inserts rows, or replaces those of an earlier revision.
    fn upsert(&mut self, mut rows: Vec<&Row>) -> Result<(), Failure> {
        rows.sort_unstable_by_key(|row| (row.job, &row.key, &row.metric, row.window_start));
        for chunk in rows.chunks(self.rows_max) {
            let batch = Batch::of(chunk, self.as_of)?;
            let statement = prepared(self.statements, self.transaction, self.table.upsert())?;
            self.transaction.execute(statement, &self.table.parameters(&batch))?;
        }
        Ok(())
    }
}
