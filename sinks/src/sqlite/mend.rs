//! Adds readings that came too late for memory to the rows of the windows that cover them.

use super::failure::Failure;
use super::names::Names;
use super::progress::integer;
use super::sink::{Put, upsert};
use super::stored::{self, row_of};
use super::tables::{Table, id};
use crate::mending::{Mended, Reading, Sorted, mend};
use rusqlite::{Connection, OptionalExtension, params};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::row::{Job, Row, Status, Values};
use tidewatch_proto::time::{EventTime, PANE_MS};

/// Adds the readings, and gives all these rows as they are then.
pub(super) fn store(
    connection: &Connection,
    names: &mut Names,
    put: &mut Put,
    sorted: Sorted<'_>,
    (quantiles, through): (bool, Epoch),
) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for ((device, metric), windows) in sorted.series {
        for ((job, start), mending) in windows {
            let of = (job, device, metric);
            let minute = start.0.div_euclid(PANE_MS);
            let window = Window {
                connection,
                of,
                minute,
                end: mending.end,
                series: names.series(connection, of, minute)?,
            };
            rows.extend(window.add(&mending.readings, quantiles, through, put)?);
        }
    }
    Ok(rows)
}

/// A window of a series.
struct Window<'a> {
    connection: &'a Connection,
    of: (Job, &'a Name, &'a Name),
    minute: i64,
    end: EventTime,
    series: u32,
}

impl Window<'_> {
    /// Adds readings to the row, and gives it.
    fn add(
        &self,
        readings: &[Reading<'_>],
        quantiles: bool,
        through: Epoch,
        put: &mut Put,
    ) -> Result<Option<Row>, Failure> {
        let table = Table::of(self.of.0);
        let stored = stored::row(self.connection, table, self.minute, self.series)?;
        let before = match stored {
            Some((revision, body)) => Some(row_of(self.of, self.minute, revision, &body)?),
            None => None,
        };
        let known = match &before {
            Some(row) if !has_bug(Bug::MendTwice) => self.taken(table, row.revision)?,
            _ => None,
        };
        let values = before.as_ref().map_or(Values::default(), |row| row.values);
        let Some((values, mended)) = mend(&values, known.as_ref(), readings, quantiles) else {
            return Ok(before);
        };
        let after = before.map_or(0, |row| row.revision.0 + 1);
        let row = self.row(values, through.max(Epoch(after)));
        let mut into = self.connection.prepare_cached(upsert(table))?;
        put.row(&mut into, table, id(self.minute, self.series), &row)?;
        self.take(table, row.revision, &mended)?;
        Ok(Some(row))
    }

    fn row(&self, values: Values, revision: Epoch) -> Row {
        let (job, device, metric) = self.of;
        let start = super::tables::start_of(self.minute);
        Row {
            job,
            key: device.clone(),
            metric: metric.clone(),
            window_start: start,
            window_end: self.end,
            values,
            status: Status::Corrected,
            revision,
        }
    }

    /// What the row of this revision has taken.
    fn taken(&self, table: Table, revision: Epoch) -> Result<Option<Mended>, Failure> {
        let sql = format!(
            "SELECT state FROM {}_mended WHERE id = ?1 AND revision = ?2",
            table.name()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let key = params![id(self.minute, self.series), integer("revision", revision.0)?];
        let state: Option<Vec<u8>> = statement.query_row(key, |row| row.get(0)).optional()?;
        Ok(state.as_deref().and_then(Mended::read))
    }

    /// Notes what the row of this revision has taken.
    fn take(&self, table: Table, revision: Epoch, mended: &Mended) -> Result<(), Failure> {
        let sql = format!(
            "INSERT INTO {}_mended (id, revision, state) VALUES (?1, ?2, ?3)
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, state = excluded.state",
            table.name()
        );
        let id = id(self.minute, self.series);
        let revision = integer("revision", revision.0)?;
        self.connection
            .prepare_cached(&sql)?
            .execute(params![id, revision, mended.to_bytes()])?;
        Ok(())
    }
}
