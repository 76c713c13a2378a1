//! Fresh rows into packed ones: a period at a time, when it has been left alone.

use super::failure::Failure;
use super::pack::{Packed, pack, unpack};
use super::session::at_or_after;
use super::tables::{Table, id, series, slot};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// With more fresh rows than this, the period that was left alone the longest is packed anyway.
const FRESH_MAX: i64 = 4_000_000;
/// So many series are packed at once.
const SERIES: u32 = 512;

/// The periods of which there are fresh rows.
pub(super) struct Fresh {
    touched: HashMap<(Table, i64), Instant>,
    rows: i64,
    alone: Duration,
}

impl Fresh {
    /// Looks for them. A period is packed when nothing of it has come for so long.
    pub(super) fn find(connection: &Connection, alone: Duration) -> Result<Fresh, Failure> {
        let mut fresh = Fresh {
            touched: HashMap::new(),
            rows: 0,
            alone,
        };
        let now = Instant::now();
        for table in Table::ALL {
            let count = format!("SELECT count(*) FROM {}", table.name());
            fresh.rows += connection.query_row(&count, [], |row| row.get::<_, i64>(0))?;
            let mut from = i64::MIN;
            while let Some(found) = at_or_after(connection, table.name(), from, i64::MAX)? {
                let period = table.period_of(slot(found));
                fresh.touched.insert((table, period), now);
                from = id((period + 1) * table.period(), 0);
                if from <= found {
                    break;
                }
            }
        }
        Ok(fresh)
    }

    /// Rows of a period have come.
    pub(super) fn came(&mut self, table: Table, period: i64, now: Instant) {
        self.touched.insert((table, period), now);
    }

    /// So many rows have come.
    pub(super) fn more(&mut self, rows: usize) {
        self.rows = self.rows.saturating_add(rows as i64);
    }

    /// Rows have left.
    pub(super) fn left(&mut self, rows: usize) {
        self.rows = self.rows.saturating_sub(rows as i64).max(0);
    }

    /// Nothing of a table is there before a period.
    pub(super) fn cut(&mut self, table: Table, period: i64) {
        self.touched.retain(|(of, at), _| *of != table || *at >= period);
    }

    /// The period to be packed next, if one is.
    fn due(&self, now: Instant) -> Option<(Table, i64)> {
        let oldest = self.touched.iter().min_by_key(|(of, touched)| (**touched, of.1, of.0));
        let (of, touched) = oldest?;
        let is_due = now.duration_since(*touched) >= self.alone || self.rows > FRESH_MAX;
        is_due.then_some(*of)
    }

    /// Packs about so many rows of what is due, and a few at least, in one transaction.
    pub(super) fn pack(&mut self, connection: &Connection, rows: usize) -> Result<(), Failure> {
        let Some(mut next) = self.due(Instant::now()) else {
            return Ok(());
        };
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let mut done = 0;
        loop {
            let packed = pack_some(&transaction, next.0, next.1)?;
            if packed == 0 {
                self.touched.remove(&next);
            }
            self.left(packed);
            done += packed;
            match self.due(Instant::now()) {
                Some(due) if done <= rows => next = due,
                _ => break,
            }
        }
        Ok(transaction.commit()?)
    }
}

/// Packs the fresh rows of the next few series of a period. Gives how many rows these were; zero: there are none.
fn pack_some(connection: &Connection, table: Table, period: i64) -> Result<usize, Failure> {
    let name = table.name();
    let (begin, end) = (period * table.period(), (period + 1) * table.period());
    let minutes = minutes(connection, name, begin, end)?;
    let Some(first) = minutes.iter().map(|found| series(*found)).min() else {
        return Ok(0);
    };
    let below = |minute: i64| match first.checked_add(SERIES) {
        Some(after) => id(minute, after),
        None => id(minute + 1, 0),
    };
    let mut rows: BTreeMap<u32, BTreeMap<i64, (u64, Vec<u8>)>> = BTreeMap::new();
    let mut count = 0;
    let mut read = connection.prepare_cached(&format!(
        "SELECT id, revision, row FROM {name} WHERE id >= ?1 AND id < ?2"
    ))?;
    let mut delete = connection.prepare_cached(&format!("DELETE FROM {name} WHERE id >= ?1 AND id < ?2"))?;
    for minute in minutes.iter().map(|found| slot(*found)) {
        let range = [id(minute, first), below(minute)];
        let mut found = read.query(range)?;
        while let Some(row) = found.next()? {
            let of = series(row.get(0)?);
            let fresh = (row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?);
            rows.entry(of).or_default().insert(minute - begin, fresh);
            count += 1;
        }
        drop(found);
        delete.execute(range)?;
    }
    for (series, fresh) in rows {
        put(connection, table, id(period, series), fresh)?;
    }
    Ok(count)
}

/// The first key of each minute of a period that has fresh rows.
fn minutes(connection: &Connection, name: &str, begin: i64, end: i64) -> Result<Vec<i64>, Failure> {
    let mut minutes = Vec::new();
    let mut from = id(begin, 0);
    while let Some(found) = at_or_after(connection, name, from, id(end, 0))? {
        minutes.push(found);
        from = id(slot(found) + 1, 0);
    }
    Ok(minutes)
}

/// Puts fresh rows to those that are packed: of the same window the greater revision stays.
fn put(
    connection: &Connection,
    table: Table,
    id: i64,
    mut fresh: BTreeMap<i64, (u64, Vec<u8>)>,
) -> Result<(), Failure> {
    let name = table.name();
    let mut find = connection.prepare_cached(&format!("SELECT rows FROM {name}_packed WHERE id = ?1"))?;
    let packed: Option<Vec<u8>> = find.query_row([id], |row| row.get(0)).optional()?;
    for row in packed
        .as_deref()
        .map_or(Some(Vec::new()), unpack)
        .ok_or(Failure::Damaged("packed rows"))?
    {
        match fresh.get(&row.minute) {
            Some((revision, _)) if *revision > row.revision => {}
            _ => drop(fresh.insert(row.minute, (row.revision, row.body.to_vec()))),
        }
    }
    let rows = fresh.iter().map(|(minute, (revision, body))| Packed {
        minute: *minute,
        revision: *revision,
        body,
    });
    let sql = format!(
        "INSERT INTO {name}_packed (id, rows) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET rows = excluded.rows"
    );
    connection.prepare_cached(&sql)?.execute(params![id, pack(rows)])?;
    Ok(())
}
