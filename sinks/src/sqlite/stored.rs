//! A series as it is stored: fresh and packed rows put together, the greatest revision of each window.

use super::failure::Failure;
use super::pack::{Body, unpack};
use super::session::{at_or_after, kept_from};
use super::tables::{Table, id, series, slot, start_of};
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use std::collections::BTreeMap;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::{EventTime, PANE_MS};

/// A row as it is stored: its revision, and what [`Body::read`] reads.
type Bytes = (u64, Vec<u8>);

/// The rows of a series, by the minutes of their windows.
type Rows = BTreeMap<i64, Bytes>;

/// The row of a window, if there is one.
pub(super) fn row(connection: &Connection, table: Table, minute: i64, series: u32) -> Result<Option<Bytes>, Failure> {
    let fresh = fresh(connection, table)?
        .query_row([id(minute, series)], bytes_of)
        .optional()?;
    let period = table.period_of(minute);
    let mut rows = Rows::new();
    let mut statement = packed_rows(connection, table)?;
    packed(&mut statement, (table, period, series), (minute, minute + 1), &mut rows)?;
    let packed = rows.remove(&minute);
    Ok(match (packed, fresh) {
        // Of the same revision that one counts that came first.
        (Some(packed), Some(fresh)) if fresh.0 > packed.0 => Some(fresh),
        (Some(packed), _) => Some(packed),
        (None, fresh) => fresh,
    })
}

fn fresh(connection: &Connection, table: Table) -> Result<CachedStatement<'_>, Failure> {
    let sql = format!("SELECT revision, row FROM {} WHERE id = ?1", table.name());
    Ok(connection.prepare_cached(&sql)?)
}

fn packed_rows(connection: &Connection, table: Table) -> Result<CachedStatement<'_>, Failure> {
    let sql = format!("SELECT rows FROM {}_packed WHERE id = ?1", table.name());
    Ok(connection.prepare_cached(&sql)?)
}

fn bytes_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Bytes> {
    Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))
}

/// Adds the packed rows of a period that are of a range of minutes.
fn packed(
    statement: &mut CachedStatement<'_>,
    (table, period, series): (Table, i64, u32),
    (from, to): (i64, i64),
    rows: &mut Rows,
) -> Result<(), Failure> {
    let found: Option<Vec<u8>> = statement.query_row([id(period, series)], |row| row.get(0)).optional()?;
    let Some(found) = found else { return Ok(()) };
    for row in unpack(&found).ok_or(Failure::Damaged("packed rows"))? {
        let minute = period * table.period() + row.minute;
        if (from..to).contains(&minute) {
            rows.insert(minute, (row.revision, row.body.to_vec()));
        }
    }
    Ok(())
}

/// The rows that are asked for, of a series that is there.
pub(super) fn rows(connection: &Connection, query: &SeriesQuery, series: u32) -> Result<Vec<Row>, Failure> {
    let table = Table::of(query.job);
    // The first minute that starts at or after an instant.
    let minute = |at: EventTime| at.0.div_euclid(PANE_MS) + i64::from(at.0.rem_euclid(PANE_MS) > 0);
    let range = (minute(query.from).max(kept_from(connection, table)?), minute(query.to));
    if range.0 >= range.1 {
        return Ok(Vec::new());
    }
    let mut rows = packed_within(connection, (table, series), range, query)?;
    // A fresh row is put to those, or takes the place of one: that can't bring one in that is further away.
    for (minute, fresh) in fresh_within(connection, (table, series), range)? {
        match rows.get(&minute) {
            Some(packed) if packed.0 >= fresh.0 => {}
            _ => drop(rows.insert(minute, fresh)),
        }
    }
    let of = (query.job, &query.key, &query.metric);
    let read = |(minute, (revision, body)): (i64, Bytes)| row_of(of, minute, revision, &body);
    match query.order {
        Order::OldestFirst => rows.into_iter().take(query.limit).map(read).collect(),
        Order::NewestFirst => rows.into_iter().rev().take(query.limit).map(read).collect(),
    }
}

/// Packed rows of a range of minutes: all, or as many as are asked for from its end on that counts.
fn packed_within(
    connection: &Connection,
    (table, series): (Table, u32),
    (from, to): (i64, i64),
    query: &SeriesQuery,
) -> Result<Rows, Failure> {
    let name = format!("{}_packed", table.name());
    let (first, last) = (table.period_of(from), table.period_of(to - 1));
    let mut statement = packed_rows(connection, table)?;
    let mut rows = Rows::new();
    let mut period = match query.order {
        Order::OldestFirst => next(connection, &name, id(first, series), id(last, series))?,
        Order::NewestFirst => before(connection, &name, id(first, series), id(last, series))?,
    };
    while let Some(at) = period {
        packed(&mut statement, (table, at, series), (from, to), &mut rows)?;
        if rows.len() >= query.limit {
            break;
        }
        period = match query.order {
            Order::OldestFirst => next(connection, &name, id(at + 1, series), id(last, series))?,
            Order::NewestFirst => before(connection, &name, id(first, series), id(at - 1, series))?,
        };
    }
    Ok(rows)
}

/// The first period from a key on, through another, that may have rows of the keys' series.
fn next(connection: &Connection, name: &str, from: i64, through: i64) -> Result<Option<i64>, Failure> {
    let found = at_or_after(connection, name, from, through.saturating_add(1))?;
    Ok(found.and_then(|found| {
        // Behind the series, it isn't in this period.
        let period = slot(found) + i64::from(series(found) > series(from));
        (period <= slot(through)).then_some(period)
    }))
}

/// The last period through a key, from another on, that may have rows of the keys' series.
fn before(connection: &Connection, name: &str, from: i64, through: i64) -> Result<Option<i64>, Failure> {
    let sql = format!("SELECT id FROM {name} WHERE id <= ?1 AND id >= ?2 ORDER BY id DESC LIMIT 1");
    let mut statement = connection.prepare_cached(&sql)?;
    let found: Option<i64> = statement.query_row([through, from], |row| row.get(0)).optional()?;
    Ok(found.and_then(|found| {
        let period = slot(found) - i64::from(series(found) < series(through));
        (period >= slot(from)).then_some(period)
    }))
}

/// Fresh rows of a range of minutes: there are never many of a series.
fn fresh_within(
    connection: &Connection,
    (table, series): (Table, u32),
    (from, to): (i64, i64),
) -> Result<Rows, Failure> {
    let mut statement = fresh(connection, table)?;
    let (last, mut rows) = (id(to - 1, series), Rows::new());
    let mut minute = next(connection, table.name(), id(from, series), last)?;
    while let Some(at) = minute {
        if let Some(found) = statement.query_row([id(at, series)], bytes_of).optional()? {
            rows.insert(at, found);
        }
        minute = next(connection, table.name(), id(at + 1, series), last)?;
    }
    Ok(rows)
}

/// The row of a window.
pub(super) fn row_of(
    (job, key, metric): (Job, &Name, &Name),
    minute: i64,
    revision: u64,
    body: &[u8],
) -> Result<Row, Failure> {
    let body = Body::read(body).ok_or(Failure::Damaged("a row"))?;
    let start = start_of(minute);
    let length_ms = body.length_ms.unwrap_or(job.length_ms());
    Ok(Row {
        job,
        key: key.clone(),
        metric: metric.clone(),
        window_start: start,
        window_end: EventTime(start.0.saturating_add(length_ms)),
        values: body.values,
        status: body.status,
        revision: Epoch(revision),
    })
}
