//! The sink for anomalies, and how long they are kept.

use super::config::SqliteSettings;
use super::failure::Failure;
use super::folder::Sqlite;
use super::progress::{self, integer};
use super::retention::wall_ms;
use super::session::Session;
use crate::anomalies::{STREAM, latest, refuse_foreign};
use crate::parts::Parts;
use crate::{Sink, SinkError};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::row::Delivery;

const UPSERT: &str = "
    INSERT INTO anomalies AS stored
        (rule, detector, severity, device_id, metric, started_at, ended_at, status, observed, expected_low, expected_high,
         evidence, revision, stored_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
    ON CONFLICT (rule, device_id, metric, started_at) DO UPDATE SET
        detector = excluded.detector, severity = excluded.severity, ended_at = excluded.ended_at, status = excluded.status,
        observed = excluded.observed, expected_low = excluded.expected_low, expected_high = excluded.expected_high,
        evidence = excluded.evidence, revision = excluded.revision, stored_at = excluded.stored_at
    WHERE excluded.revision > stored.revision";
/// How many of the first that don't go on, of at most ?2, were stored before ?1.
const OLD: &str = "
    SELECT count(*) FROM (SELECT stored_at FROM anomalies WHERE status <> 'raised' ORDER BY stored_at LIMIT ?2)
    WHERE stored_at < ?1";
/// The first that don't go on.
const LEAVE: &str = "
    DELETE FROM anomalies WHERE (rule, device_id, metric, started_at) IN (
        SELECT rule, device_id, metric, started_at FROM anomalies WHERE status <> 'raised' ORDER BY stored_at LIMIT ?1)";
/// So many leave in one transaction at most.
const LEAVE_MAX: i64 = 5_000;

/// Stores anomalies in an embedded store, of each the greatest revision.
pub struct SqliteAnomalies {
    store: Sqlite,
    parts: Parts,
}

impl Sqlite {
    /// A sink for the anomalies of these outbox parts.
    pub fn anomalies(&self, parts: Parts) -> SqliteAnomalies {
        SqliteAnomalies {
            store: self.clone(),
            parts,
        }
    }
}

impl Sink<Anomaly> for SqliteAnomalies {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn deliver(&mut self, delivery: &Delivery<Anomaly>) -> Result<(), SinkError> {
        let parts = &self.parts;
        refuse_foreign(delivery, parts, &self.store.file().display().to_string())?;
        self.store.write(|session, _, _| store(session, parts, delivery))?;
        self.store.tend(0)
    }
}

fn store(session: &mut Session, parts: &Parts, delivery: &Delivery<Anomaly>) -> Result<(), Failure> {
    let transaction = Transaction::new_unchecked(&session.connection, TransactionBehavior::Immediate)?;
    progress::advance(&transaction, STREAM, parts, (delivery.generation, delivery.through))?;
    let now = wall_ms();
    let mut upsert = transaction.prepare_cached(UPSERT)?;
    for anomaly in latest(delivery) {
        let (low, high) = anomaly.expected();
        let evidence = serde_json::to_string(&anomaly.evidence);
        let evidence = evidence.map_err(|error| SinkError::stop("evidence of an anomaly", error.to_string()))?;
        upsert.execute(params![
            anomaly.rule,
            anomaly.detector,
            anomaly.severity.as_str(),
            anomaly.device,
            anomaly.metric,
            anomaly.started_at.0,
            anomaly.ended_at.map(|end| end.0),
            anomaly.status.as_str(),
            anomaly.observed(),
            low,
            high,
            evidence,
            integer("revision", anomaly.revision.0)?,
            now,
        ])?;
    }
    drop(upsert);
    Ok(transaction.commit()?)
}

/// Lets those leave that ended too long ago, or first of too many: some of them, in one transaction. Says whether all of
/// these have left.
pub(super) fn keep(connection: &Connection, settings: &SqliteSettings, wall_ms: i64) -> Result<bool, Failure> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let since = wall_ms.saturating_sub(settings.anomalies_ms);
    let count: i64 = transaction.query_row("SELECT anomalies FROM anomaly_count", [], |row| row.get(0))?;
    let over = (count - settings.anomalies_max).max(0);
    let old: i64 = transaction.query_row(OLD, [since, LEAVE_MAX], |row| row.get(0))?;
    let leaving = old.max(over).min(LEAVE_MAX);
    let left = match leaving {
        0 => 0,
        leaving => transaction.execute(LEAVE, [leaving])?,
    };
    transaction.commit()?;
    Ok((left as i64) < LEAVE_MAX)
}
