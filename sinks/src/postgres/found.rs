//! Reading anomalies back.

use super::PostgresSettings;
use super::failure::Failure;
use super::session::{Link, Session};
use super::stamp::Stamp;
use crate::SinkError;
use crate::anomalies::{Dialect, Given, RAISED, Statement, answer, severity, status};
use crate::hot::AnomalyStore;
use postgres::types::{Json, ToSql};
use std::sync::{Mutex, PoisonError};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::query::AnomalyQuery;
use tidewatch_proto::time::EventTime;

/// Reads anomalies from the sink's table, over a connection of its own: made when first asked, again after an error.
pub struct PostgresAnomalyStore {
    link: Mutex<Link>,
}

impl PostgresAnomalyStore {
    /// A reader; nothing is connected yet.
    pub fn new(settings: PostgresSettings) -> PostgresAnomalyStore {
        PostgresAnomalyStore {
            link: Mutex::new(Link::new(settings)),
        }
    }

    fn read<T>(&self, ask: impl FnOnce(&mut Session) -> Result<T, Failure>) -> Result<T, SinkError> {
        // A panic while the lock was held leaves a session that the next error replaces.
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        link.run(|session, _| ask(session))
    }
}

impl AnomalyStore for PostgresAnomalyStore {
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, SinkError> {
        self.read(|session| answer(query, Dialect::Postgres, |statement| run(session, &statement)))
    }

    fn raised(&self) -> Result<u64, SinkError> {
        self.read(|session| {
            let count: i64 = session.client.query_one(RAISED, &[])?.try_get(0)?;
            Ok(count.unsigned_abs())
        })
    }
}

fn run(session: &mut Session, statement: &Statement<'_>) -> Result<Vec<Anomaly>, Failure> {
    let value = |given: &Given<'_>| -> Box<dyn ToSql + Sync> {
        match given {
            Given::Text(text) => Box::new((*text).to_owned()),
            Given::Time(time) => Box::new(Stamp(time.0)),
            Given::Count(count) => Box::new(*count),
        }
    };
    let values: Vec<_> = statement.values.iter().map(value).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value).collect();
    let found = session.client.query(&statement.sql, &values)?;
    found.iter().map(anomaly).collect()
}

fn anomaly(row: &postgres::Row) -> Result<Anomaly, Failure> {
    let name = |column: &str| -> Result<Name, postgres::Error> { Ok(row.try_get::<_, &str>(column)?.into()) };
    let unknown = |column: &str, found: &str| {
        let problem = format!("the {column} {found:?} is none that this release knows");
        SinkError::stop("anomalies", problem)
    };
    let (bad, stands): (&str, &str) = (row.try_get("severity")?, row.try_get("status")?);
    let evidence: Json<_> = row.try_get("evidence")?;
    Ok(Anomaly {
        rule: name("rule")?,
        detector: name("detector")?,
        severity: severity(bad).ok_or_else(|| unknown("severity", bad))?,
        device: name("device_id")?,
        metric: name("metric")?,
        started_at: EventTime(row.try_get::<_, Stamp>("started_at")?.0),
        ended_at: row
            .try_get::<_, Option<Stamp>>("ended_at")?
            .map(|time| EventTime(time.0)),
        status: status(stands).ok_or_else(|| unknown("status", stands))?,
        evidence: evidence.0,
        revision: Epoch(row.try_get::<_, i64>("revision")?.unsigned_abs()),
    })
}
