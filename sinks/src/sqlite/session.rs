//! One connection that writes, and what it knows of the file.

use super::config::SqliteSettings;
use super::failure::Failure;
use super::names::Names;
use super::packing::Fresh;
use super::schema;
use super::tables::{Table, slot};
use super::usage::Usage;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long another connection is waited for: somebody who looks into the file.
const BUSY: Duration = Duration::from_secs(5);
/// Statements that are kept prepared.
const STATEMENTS: usize = 64;

/// A connection whose tables are there.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) names: Names,
    pub(super) fresh: Fresh,
    pub(super) kept: Kept,
    /// When the retention is looked after next.
    pub(super) tend_at: Instant,
    /// The day before which names have been forgotten.
    pub(super) forgotten: i64,
    /// The day of windows that was last said to leave early, as in [`Table::LEAVING`].
    pub(super) told: [i64; 3],
    /// Messages for windows that are kept no more, and how many of them were told of.
    pub(super) gone: (usize, usize),
    pub(super) usage: Arc<Usage>,
}

/// What of the windows is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// By table the minute before which nothing is.
    pub(super) from: [i64; Table::COUNT],
    /// The minute of the newest window.
    pub(super) newest: i64,
}

impl Kept {
    /// Whether a window of a table that starts at this minute is kept.
    pub(super) fn keeps(&self, table: Table, minute: i64) -> bool {
        minute >= self.from[table as usize]
    }
}

impl Session {
    pub(super) fn open(file: &Path, settings: &SqliteSettings, usage: &Arc<Usage>) -> Result<Session, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        schema::prepare(&connection, file, settings.pages_max)?;
        let mut kept = Kept {
            from: [i64::MIN; Table::COUNT],
            newest: i64::MIN,
        };
        for table in Table::ALL {
            kept.from[table as usize] = kept_from(&connection, table)?;
            for (name, step) in table.parts() {
                let newest = end(&connection, &name, "max")?;
                kept.newest = kept.newest.max(newest.map_or(i64::MIN, |id| slot(id) * step));
            }
        }
        Ok(Session {
            fresh: Fresh::find(&connection, settings.alone)?,
            connection,
            names: Names::default(),
            kept,
            tend_at: Instant::now(),
            forgotten: i64::MIN,
            told: [i64::MIN; 3],
            gone: (0, 0),
            usage: usage.clone(),
        })
    }
}

/// Opens the file for reading.
pub(super) fn reading(file: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The minute before which nothing of a table is kept.
pub(super) fn kept_from(connection: &Connection, table: Table) -> Result<i64, Failure> {
    let mut statement = connection.prepare_cached("SELECT minute FROM kept WHERE name = ?1")?;
    let minute = statement.query_row([table.name()], |row| row.get(0)).optional()?;
    Ok(minute.unwrap_or(i64::MIN))
}

/// Writes the minute before which nothing of a table is kept.
pub(super) fn keep_from(connection: &Connection, table: Table, minute: i64) -> Result<(), Failure> {
    let sql = "INSERT INTO kept (name, minute) VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET minute = excluded.minute";
    connection.prepare_cached(sql)?.execute(params![table.name(), minute])?;
    Ok(())
}

/// The first or last key of one of SQLite's tables: `end` is `min` or `max`.
pub(super) fn end(connection: &Connection, name: &str, end: &str) -> Result<Option<i64>, Failure> {
    let mut statement = connection.prepare_cached(&format!("SELECT {end}(id) FROM {name}"))?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// The first key of one of SQLite's tables that is `id` or after it, and below `below`.
pub(super) fn at_or_after(connection: &Connection, name: &str, id: i64, below: i64) -> Result<Option<i64>, Failure> {
    let sql = format!("SELECT id FROM {name} WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([id, below], |row| row.get(0)).optional()?)
}
