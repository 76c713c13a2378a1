//! The tables of the file: made and brought up to date by versioned migrations.

use super::failure::Failure;
use super::tables::Table;
use crate::SinkError;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;

/// Each migration is applied once, in this order. Never change one that is out: add another.
const MIGRATIONS: [fn() -> String; 4] = [tables, anomalies, days, replayed];
/// What says that the file is ours ("tide" in ASCII).
const APPLICATION: i64 = 0x7469_6465;
/// The bytes of a page. Most rows are packed, some two kilobytes of them together.
const PAGE_BYTES: i64 = 8 << 10;
/// How large the file's pages in memory may get, in kibibytes.
const CACHE_KIB: i64 = 64 << 10;
/// After so many pages the log of writes goes into the file.
const LOG_PAGES: i64 = 4_096;
/// What the log's file is cut to when it has grown for one large delivery.
const LOG_BYTES: i64 = 64 << 20;

/// Sets what a connection that writes needs, and has the tables there.
pub(super) fn prepare(connection: &Connection, file: &Path, pages_max: Option<u32>) -> Result<(), Failure> {
    // The first two count only while the file is empty.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let problem = "its file system can't hold a write-ahead log (it lacks shared memory): use a local disk";
        return Err(SinkError::stop(file.display().to_string(), problem).into());
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.query_row(&format!("PRAGMA wal_autocheckpoint = {LOG_PAGES}"), [], |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {LOG_BYTES}"), [], |_| Ok(()))?;
    if let Some(pages_max) = pages_max {
        connection.query_row(&format!("PRAGMA max_page_count = {pages_max}"), [], |_| Ok(()))?;
    }
    migrate(connection, file)
}

fn migrate(connection: &Connection, file: &Path) -> Result<(), Failure> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, applied) = (number("application_id")?, number("user_version")?);
    let stop = |problem: String| Err(SinkError::stop(file.display().to_string(), problem).into());
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (application, applied, tables) != (0, 0, 0) {
        return stop("is a database of another program: move it away, or set embedded.folder".to_owned());
    }
    let known = MIGRATIONS.len() as i64;
    if !(0..=known).contains(&applied) {
        return stop(format!(
            "was written by a newer release (its migration {applied}, this one knows {known}): update tidewatch"
        ));
    }
    if applied == known {
        return Ok(());
    }
    for sql in &MIGRATIONS[applied as usize..] {
        transaction.execute_batch(&sql())?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

/// The tables of a kind of windows.
fn windows(table: Table) -> String {
    let name = table.name();
    let mended = match table {
        Table::Rollups => String::new(),
        _ => format!(
            "CREATE TABLE {name}_mended (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, state BLOB NOT NULL);"
        ),
    };
    format!(
        "CREATE TABLE {name} (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, row BLOB NOT NULL);
         CREATE TABLE {name}_packed (id INTEGER PRIMARY KEY, rows BLOB NOT NULL);
         {mended}"
    )
}

/// Windows of a day.
fn days() -> String {
    windows(Table::Day)
}

/// Windows by table, names by number, dead letters, and how far each outbox part has come.
fn tables() -> String {
    let windows = [Table::Minute, Table::FiveMinutes, Table::Hour, Table::Rollups].map(windows);
    windows.concat()
        + "
        -- The window before which nothing of a table is kept, in minutes since 1970.
        CREATE TABLE kept (name TEXT PRIMARY KEY, minute INTEGER NOT NULL) WITHOUT ROWID;
        -- Devices (kind 0), sites (1) and fleets (2); of devices the latest one-minute window, in minutes since 1970.
        CREATE TABLE names (
            id     INTEGER PRIMARY KEY,
            kind   INTEGER NOT NULL,
            name   TEXT    NOT NULL,
            latest INTEGER,
            UNIQUE (kind, name)
        );
        CREATE TABLE metrics (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
        -- A name and a metric, and the day of their latest window since 1970.
        CREATE TABLE series (
            id     INTEGER PRIMARY KEY,
            name   INTEGER NOT NULL,
            metric INTEGER NOT NULL,
            day    INTEGER NOT NULL,
            UNIQUE (name, metric)
        );
        CREATE TABLE dead_letters (
            number    INTEGER PRIMARY KEY AUTOINCREMENT,
            partition TEXT    NOT NULL,
            offset    INTEGER NOT NULL,
            reason    TEXT    NOT NULL,
            detail    TEXT    NOT NULL,
            key       BLOB,
            log_time  INTEGER,
            stored_at INTEGER NOT NULL,
            hash      INTEGER NOT NULL,
            payload   BLOB    NOT NULL
        );
        -- With the payload's hash, since a topic that was made anew begins again at offset 0.
        CREATE UNIQUE INDEX dead_letters_record ON dead_letters (partition, offset, hash);
        CREATE INDEX dead_letters_reason ON dead_letters (reason, number);
        CREATE TABLE dead_letter_bytes (bytes INTEGER NOT NULL);
        INSERT INTO dead_letter_bytes VALUES (0);
        CREATE TABLE progress (
            stream     TEXT    NOT NULL,
            part       INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            epoch      INTEGER NOT NULL,
            PRIMARY KEY (stream, part)
        ) WITHOUT ROWID;
        "
}

/// What rules have found; of names, `metric` is empty when it is about the whole device.
fn anomalies() -> String {
    "
        CREATE TABLE anomalies (
            rule          TEXT    NOT NULL,
            detector      TEXT    NOT NULL,
            severity      TEXT    NOT NULL,
            device_id     TEXT    NOT NULL,
            metric        TEXT    NOT NULL,
            started_at    INTEGER NOT NULL,
            ended_at      INTEGER,
            status        TEXT    NOT NULL,
            observed      REAL,
            expected_low  REAL,
            expected_high REAL,
            evidence      TEXT    NOT NULL,
            revision      INTEGER NOT NULL,
            stored_at     INTEGER NOT NULL,
            PRIMARY KEY (rule, device_id, metric, started_at)
        ) WITHOUT ROWID;
        -- The order in which they are read: all, of a device, of a rule, and those that go on.
        CREATE INDEX anomalies_latest ON anomalies (started_at DESC, device_id, metric, rule);
        CREATE INDEX anomalies_device ON anomalies (device_id, started_at DESC, metric, rule);
        CREATE INDEX anomalies_rule ON anomalies (rule, started_at DESC, device_id, metric);
        CREATE INDEX anomalies_raised ON anomalies (started_at DESC, device_id, metric, rule) WHERE status = 'raised';
        -- The order in which they leave.
        CREATE INDEX anomalies_leaving ON anomalies (stored_at) WHERE status <> 'raised';
        CREATE TABLE anomaly_count (anomalies INTEGER NOT NULL);
        INSERT INTO anomaly_count VALUES (0);
        CREATE TRIGGER anomalies_more AFTER INSERT ON anomalies
            BEGIN UPDATE anomaly_count SET anomalies = anomalies + 1; END;
        CREATE TRIGGER anomalies_fewer AFTER DELETE ON anomalies
            BEGIN UPDATE anomaly_count SET anomalies = anomalies - 1; END;
    "
    .to_owned()
}

/// That a dead letter was put into its log again: which replay that was, when, from which offset on it can be there, and
/// where it is.
fn replayed() -> String {
    ["id", "at", "from", "offset"]
        .map(|column| format!("ALTER TABLE dead_letters ADD COLUMN replay_{column} INTEGER;"))
        .concat()
}
