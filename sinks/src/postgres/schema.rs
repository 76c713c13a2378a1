//! The tables: made and brought up to date by versioned migrations, and kept within the retention.

use super::failure::Failure;
use super::policies;
use super::session::Session;
use super::tables::WINDOWED;
use super::{PostgresSettings, Timescale};
use crate::SinkError;
use postgres::{Client, Transaction};

/// Each migration is applied once, in this order. Never change one that is out: add another.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_tables.sql"),
    include_str!("migrations/0002_mended.sql"),
    include_str!("migrations/0003_read_back.sql"),
    include_str!("migrations/0004_anomalies.sql"),
    include_str!("migrations/0005_day.sql"),
    include_str!("migrations/0006_replayed.sql"),
];
/// The advisory lock that whoever migrates holds ("tidewatc" in ASCII).
const MIGRATION_LOCK: i64 = 0x7469_6465_7761_7463;

/// How windows are divided in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// TimescaleDB makes chunks by itself.
    Hypertables,
    /// PostgreSQL's own partitions, which we make.
    Partitions,
}

/// A name as it stands in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether the tables are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// As this release has them.
    Ready,
    /// As an earlier release had them: the next start brings them up to date.
    Older,
    /// Not there: the next start makes them.
    Missing,
}

/// Looks whether the tables are there, and changes nothing.
pub(super) fn look(client: &mut Client, settings: &PostgresSettings) -> Result<Tables, Failure> {
    match version(client, settings)? {
        Some(applied) => refuse_newer(settings, applied).map(|()| match applied == MIGRATIONS.len() {
            true => Tables::Ready,
            false => Tables::Older,
        }),
        None => {
            let schema = "SELECT has_schema_privilege($1, 'CREATE') FROM pg_namespace WHERE nspname = $1";
            let database = "SELECT has_database_privilege(current_database(), 'CREATE')";
            let may: bool = match client.query_opt(schema, &[&settings.schema])? {
                Some(row) => row.get(0),
                None => client.query_one(database, &[])?.get(0),
            };
            if may {
                return Ok(Tables::Missing);
            }
            let schema = &settings.schema;
            let problem = format!("may not make tables in schema {schema}: let this user CREATE there, or make it");
            Err(SinkError::stop(&settings.target, problem).into())
        }
    }
}

fn refuse_newer(settings: &PostgresSettings, applied: usize) -> Result<(), Failure> {
    if applied <= MIGRATIONS.len() {
        return Ok(());
    }
    let problem = format!(
        "schema {} was written by a newer release (its migration {applied}, this one knows {}): update tidewatch",
        settings.schema,
        MIGRATIONS.len()
    );
    Err(SinkError::stop(&settings.target, problem).into())
}

/// Whether nothing was ever migrated.
pub(super) fn is_new(client: &mut Client, settings: &PostgresSettings) -> Result<bool, Failure> {
    Ok(version(client, settings)?.is_none())
}

/// Tries to have the extension. Says whether the connection is still good.
pub(super) fn create_extension(client: &mut Client) -> bool {
    // Without the right or the library it fails; whether it is there is looked up afterwards.
    let wanted = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL";
    if let Ok(Some(_)) = client.query_opt(wanted, &[]) {
        let _ = client.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb CASCADE");
    }
    !client.is_closed() && client.batch_execute("SELECT 1").is_ok()
}

/// Makes the tables or brings them up to date, and says how they are laid out.
pub(super) fn prepare(client: &mut Client, settings: &PostgresSettings) -> Result<Layout, Failure> {
    if version(client, settings)? != Some(MIGRATIONS.len()) {
        migrate(client, settings)?;
    }
    let kind = "SELECT relkind::text FROM pg_class
                WHERE relname = 'aggregates_minute' AND relnamespace = current_schema()::regnamespace";
    let kind: String = client.query_one(kind, &[])?.get(0);
    Ok(if kind == "p" {
        Layout::Partitions
    } else {
        Layout::Hypertables
    })
}

/// How many migrations have been applied; `None` without a table of them.
fn version(client: &mut impl postgres::GenericClient, settings: &PostgresSettings) -> Result<Option<usize>, Failure> {
    // By name: while the schema is missing, the first that is there would be another's.
    let there = "SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                 WHERE relname = 'tidewatch_migrations' AND nspname = $1";
    if client.query_opt(there, &[&settings.schema])?.is_none() {
        return Ok(None);
    }
    let last: i32 = client
        .query_one("SELECT coalesce(max(version), 0) FROM tidewatch_migrations", &[])?
        .get(0);
    Ok(Some(last.unsigned_abs() as usize))
}

/// Waits until nobody else changes tables or policies.
pub(super) fn lock(transaction: &mut Transaction<'_>) -> Result<(), Failure> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])?;
    Ok(())
}

/// Applies what is missing, in one transaction; whoever else wants to, waits and then finds nothing missing.
fn migrate(client: &mut Client, settings: &PostgresSettings) -> Result<(), Failure> {
    let mut transaction = client.transaction()?;
    lock(&mut transaction)?;
    if transaction
        .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&settings.schema])?
        .is_none()
    {
        transaction.batch_execute(&format!("CREATE SCHEMA {}", quoted(&settings.schema)))?;
    }
    let applied = version(&mut transaction, settings)?;
    if applied.is_none() {
        transaction.batch_execute(
            "CREATE TABLE tidewatch_migrations (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())",
        )?;
    }
    let applied = applied.unwrap_or(0);
    refuse_newer(settings, applied)?;
    let layout = wanted_layout(&mut transaction, settings)?;
    for (place, sql) in MIGRATIONS.iter().enumerate().skip(applied) {
        apply(&mut transaction, settings, layout, place + 1, sql)?;
    }
    Ok(transaction.commit()?)
}

fn apply(
    transaction: &mut Transaction<'_>,
    settings: &PostgresSettings,
    layout: Layout,
    version: usize,
    sql: &str,
) -> Result<(), Failure> {
    let by_window = match layout {
        Layout::Partitions => "PARTITION BY RANGE (window_start)",
        Layout::Hypertables => "",
    };
    transaction.batch_execute(&sql.replace("{by window}", by_window))?;
    if layout == Layout::Hypertables {
        let seconds = settings.chunk_interval.as_secs();
        for table in WINDOWED.into_iter().filter(|table| table.since == version) {
            transaction.batch_execute(&format!(
                "SELECT create_hypertable('{}', 'window_start', chunk_time_interval => INTERVAL '{seconds} seconds',
                                          create_default_indexes => false)",
                table.name
            ))?;
        }
    }
    transaction.execute(
        "INSERT INTO tidewatch_migrations (version) VALUES ($1)",
        &[&(version as i32)],
    )?;
    Ok(())
}

fn wanted_layout(transaction: &mut Transaction<'_>, settings: &PostgresSettings) -> Result<Layout, Failure> {
    let extension = "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'";
    let has_extension = transaction.query_opt(extension, &[])?.is_some();
    match settings.timescale {
        Timescale::Require if !has_extension => {
            let problem = "the extension timescaledb can't be had (postgres.timescale = \"require\"): install it, \
                           preload it (shared_preload_libraries), and let a superuser CREATE EXTENSION timescaledb";
            Err(SinkError::stop(&settings.target, problem).into())
        }
        Timescale::Auto | Timescale::Require if has_extension => Ok(Layout::Hypertables),
        _ => Ok(Layout::Partitions),
    }
}

/// Deletes partitions, dead letters and anomalies that are older than the retention; of hypertables that is left to their
/// policies, where there are any.
pub(super) fn keep_retention(session: &mut Session, settings: &PostgresSettings) -> Result<(), Failure> {
    match session.layout {
        Layout::Hypertables if session.has_policies => {}
        Layout::Hypertables => policies::drop_chunks(session, settings)?,
        Layout::Partitions => session
            .days
            .drop_older(&mut session.client, |table| settings.kept(table))?,
    }
    if let Some(kept) = settings.dead_letter_retention {
        let sql = "DELETE FROM dead_letters WHERE stored_at < now() - make_interval(secs => $1)";
        session.client.execute(sql, &[&kept.as_secs_f64()])?;
    }
    if let Some(kept) = settings.anomaly_retention {
        let sql = "DELETE FROM anomalies WHERE status <> 'raised' AND stored_at < now() - make_interval(secs => $1)";
        session.client.execute(sql, &[&kept.as_secs_f64()])?;
    }
    Ok(())
}
