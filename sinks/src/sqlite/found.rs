//! Reading anomalies back.

use super::failure::Failure;
use super::hot::SqliteHotStore;
use crate::SinkError;
use crate::anomalies::{Dialect, Given, RAISED, Statement, answer, severity, status};
use crate::hot::AnomalyStore;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use tidewatch_proto::anomaly::Anomaly;
use tidewatch_proto::ids::{Epoch, Name};
use tidewatch_proto::query::AnomalyQuery;
use tidewatch_proto::time::EventTime;

impl AnomalyStore for SqliteHotStore {
    fn anomalies(&self, query: &AnomalyQuery) -> Result<Vec<Anomaly>, SinkError> {
        self.read(|connection| answer(query, Dialect::Sqlite, |statement| run(connection, &statement)))
    }

    fn raised(&self) -> Result<u64, SinkError> {
        self.read(|connection| {
            let mut count = connection.prepare_cached(RAISED)?;
            Ok(count.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
        })
    }
}

impl ToSql for Given<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Given::Text(text) => ValueRef::Text(text.as_bytes()),
            Given::Time(time) => ValueRef::Integer(time.0),
            Given::Count(count) => ValueRef::Integer(*count),
        }))
    }
}

fn run(connection: &Connection, statement: &Statement<'_>) -> Result<Vec<Anomaly>, Failure> {
    let mut asked = connection.prepare_cached(&statement.sql)?;
    let mut found = asked.query(params_from_iter(&statement.values))?;
    let mut anomalies = Vec::new();
    while let Some(row) = found.next()? {
        anomalies.push(anomaly(row)?);
    }
    Ok(anomalies)
}

fn anomaly(row: &rusqlite::Row<'_>) -> Result<Anomaly, Failure> {
    let text = |place: usize| row.get_ref(place)?.as_str().map_err(rusqlite::Error::from);
    let name = |place: usize| -> rusqlite::Result<Name> { Ok(text(place)?.into()) };
    Ok(Anomaly {
        rule: name(0)?,
        detector: name(1)?,
        severity: severity(text(2)?).ok_or(Failure::Damaged("a severity"))?,
        device: name(3)?,
        metric: name(4)?,
        started_at: EventTime(row.get(5)?),
        ended_at: row.get::<_, Option<i64>>(6)?.map(EventTime),
        status: status(text(7)?).ok_or(Failure::Damaged("the status of an anomaly"))?,
        evidence: serde_json::from_str(text(8)?).map_err(|_| Failure::Damaged("the evidence of an anomaly"))?,
        revision: Epoch(row.get::<_, i64>(9)?.unsigned_abs()),
    })
}
