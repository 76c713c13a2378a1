//! TimescaleDB's own policies: what leaves and what is compressed is its jobs' work, as the configuration says now.

use super::failure::Failure;
use super::session::Session;
use super::tables::{Table, WINDOWED};
use super::{PostgresSettings, schema};
use postgres::{Client, GenericClient};
use std::time::Duration;

/// What the jobs do, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Policies {
    drop_after: Option<i64>,
    compress_after: Option<i64>,
}

/// Sees that each table has the policies that are configured. Says whether this TimescaleDB has policies: under the
/// Apache licence alone it has none.
pub(super) fn apply(client: &mut Client, settings: &PostgresSettings) -> Result<bool, Failure> {
    let license = "SELECT coalesce(current_setting('timescaledb.license', true), '') <> 'apache'";
    let has_policies: bool = client.query_one(license, &[])?.get(0);
    if !has_policies {
        return Ok(false);
    }
    let mut transaction = client.transaction()?;
    schema::lock(&mut transaction)?;
    for table in WINDOWED {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let wanted = Policies {
            drop_after: settings.kept(table).map(seconds),
            compress_after: settings.compress_after.map(seconds),
        };
        let found = found(&mut transaction, table)?;
        if found.drop_after != wanted.drop_after {
            drop_after(&mut transaction, table, wanted.drop_after)?;
        }
        if found.compress_after != wanted.compress_after {
            compress_after(&mut transaction, table, wanted.compress_after)?;
        }
    }
    transaction.commit()?;
    Ok(true)
}

fn found(client: &mut impl GenericClient, table: &Table) -> Result<Policies, Failure> {
    let jobs = "SELECT proc_name::text,
                       extract(epoch FROM coalesce(config->>'drop_after', config->>'compress_after')::interval)::bigint
                FROM timescaledb_information.jobs
                WHERE hypertable_schema = current_schema() AND hypertable_name = $1
                  AND proc_name IN ('policy_retention', 'policy_compression')";
    let mut found = Policies::default();
    for row in client.query(jobs, &[&table.name])? {
        let (name, seconds): (String, Option<i64>) = (row.get(0), row.get(1));
        match name.as_str() {
            "policy_retention" => found.drop_after = seconds,
            _ => found.compress_after = seconds,
        }
    }
    Ok(found)
}

fn drop_after(client: &mut impl GenericClient, table: &Table, seconds: Option<i64>) -> Result<(), Failure> {
    let name = table.name;
    client.batch_execute(&format!("SELECT remove_retention_policy('{name}', if_exists => true)"))?;
    if let Some(seconds) = seconds {
        let add = format!("SELECT add_retention_policy('{name}', drop_after => INTERVAL '{seconds} seconds')");
        client.batch_execute(&add)?;
    }
    Ok(())
}

/// What is compressed stays so when the policy goes.
fn compress_after(client: &mut impl GenericClient, table: &Table, seconds: Option<i64>) -> Result<(), Failure> {
    let name = table.name;
    client.batch_execute(&format!(
        "SELECT remove_compression_policy('{name}', if_exists => true)"
    ))?;
    let Some(seconds) = seconds else { return Ok(()) };
    let enabled = "SELECT compression_enabled FROM timescaledb_information.hypertables
                   WHERE hypertable_schema = current_schema() AND hypertable_name = $1";
    let is_enabled: bool = client.query_one(enabled, &[&name])?.get(0);
    if !is_enabled {
        let series = table.series().join(", ");
        client.batch_execute(&format!(
            "ALTER TABLE {name} SET (timescaledb.compress, timescaledb.compress_segmentby = '{series}',
                                     timescaledb.compress_orderby = 'window_start')"
        ))?;
    }
    let add = format!("SELECT add_compression_policy('{name}', compress_after => INTERVAL '{seconds} seconds')");
    Ok(client.batch_execute(&add)?)
}

/// Lets a correction of many rows of compressed chunks through: by default it ends with an error beyond 100,000.
pub(super) fn lift_limit(client: &mut Client) -> Result<(), Failure> {
    let sql = "SELECT set_config(name, '0', false) FROM pg_settings
               WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'";
    Ok(client.query(sql, &[]).map(drop)?)
}

/// Drops chunks that are too old, where there are no policies.
pub(super) fn drop_chunks(session: &mut Session, settings: &PostgresSettings) -> Result<(), Failure> {
    for table in WINDOWED {
        if let Some(kept) = settings.kept(table) {
            let (name, seconds) = (table.name, kept.as_secs());
            let sql = format!("SELECT drop_chunks('{name}', now() - INTERVAL '{seconds} seconds')");
            session.client.batch_execute(&sql)?;
        }
    }
    Ok(())
}
