//! The sink for anomalies.

use super::PostgresSettings;
use super::failure::Failure;
use super::progress;
use super::session::{Link, prepared};
use super::stamp::Stamp;
use super::tables::bigint;
use crate::anomalies::{STREAM, latest, refuse_foreign};
use crate::parts::Parts;
use crate::{Sink, SinkError};
use postgres::types::Json;
use postgres::{Statement, Transaction};
use tidewatch_proto::anomaly::{Anomaly, Evidence};
use tidewatch_proto::row::Delivery;

const UPSERT: &str = "
    INSERT INTO anomalies AS stored
        (rule, detector, severity, device_id, metric, started_at, ended_at, status, observed, expected_low, expected_high,
         evidence, revision)
    SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::text[]), unnest($5::text[]),
           unnest($6::timestamptz[]), unnest($7::timestamptz[]), unnest($8::text[]), unnest($9::float8[]),
           unnest($10::float8[]), unnest($11::float8[]), unnest($12::jsonb[]), unnest($13::bigint[])
    ON CONFLICT (rule, device_id, metric, started_at) DO UPDATE SET
        detector = excluded.detector, severity = excluded.severity, ended_at = excluded.ended_at, status = excluded.status,
        observed = excluded.observed, expected_low = excluded.expected_low, expected_high = excluded.expected_high,
        evidence = excluded.evidence, revision = excluded.revision, stored_at = excluded.stored_at
    WHERE excluded.revision > stored.revision";

/// Stores anomalies in PostgreSQL, of each the greatest revision.
pub struct PostgresAnomalies {
    link: Link,
    parts: Parts,
}

impl PostgresAnomalies {
    /// A sink for the anomalies of these outbox parts.
    pub fn new(settings: PostgresSettings, parts: Parts) -> PostgresAnomalies {
        PostgresAnomalies {
            link: Link::new(settings),
            parts,
        }
    }

    /// Connects and brings the tables up to date, so that what is wrong shows at the start.
    ///
    /// # Errors
    /// When the database can't be used, with what to do.
    pub fn check(&mut self) -> Result<(), SinkError> {
        self.link.run(|_, _| Ok(()))
    }
}

impl Sink<Anomaly> for PostgresAnomalies {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn deliver(&mut self, delivery: &Delivery<Anomaly>) -> Result<(), SinkError> {
        refuse_foreign(delivery, &self.parts, self.link.settings().target())?;
        self.link.keep_retention()?;
        let parts = &self.parts;
        self.link.run(|session, settings| {
            let (mut transaction, statements) = session.begin()?;
            progress::advance(&mut transaction, STREAM, parts, delivery.generation, delivery.through)?;
            for chunk in latest(delivery).chunks(settings.statement_rows_max) {
                let statement = prepared(statements, &mut transaction, UPSERT.to_owned())?;
                upsert(&mut transaction, statement, chunk)?;
            }
            Ok(transaction.commit()?)
        })
    }
}

/// Inserts anomalies of different keys, or replaces those of earlier revisions.
fn upsert(transaction: &mut Transaction<'_>, statement: &Statement, anomalies: &[&Anomaly]) -> Result<(), Failure> {
    fn column<'a, T>(anomalies: &[&'a Anomaly], of: impl Fn(&'a Anomaly) -> T) -> Vec<T> {
        anomalies.iter().map(|anomaly| of(anomaly)).collect()
    }
    let rules: Vec<&str> = column(anomalies, |anomaly| &*anomaly.rule);
    let detectors: Vec<&str> = column(anomalies, |anomaly| &*anomaly.detector);
    let severities = column(anomalies, |anomaly| anomaly.severity.as_str());
    let devices: Vec<&str> = column(anomalies, |anomaly| &*anomaly.device);
    let metrics: Vec<&str> = column(anomalies, |anomaly| &*anomaly.metric);
    let starts = column(anomalies, |anomaly| Stamp(anomaly.started_at.0));
    let ends = column(anomalies, |anomaly| anomaly.ended_at.map(|end| Stamp(end.0)));
    let statuses = column(anomalies, |anomaly| anomaly.status.as_str());
    let observed = column(anomalies, Anomaly::observed);
    let lows = column(anomalies, |anomaly| anomaly.expected().0);
    let highs = column(anomalies, |anomaly| anomaly.expected().1);
    let evidence: Vec<Json<&Evidence>> = column(anomalies, |anomaly| Json(&anomaly.evidence));
    let revisions = anomalies
        .iter()
        .map(|anomaly| bigint("revision", anomaly.revision.0))
        .collect::<Result<Vec<i64>, _>>()?;
    transaction.execute(
        statement,
        &[
            &rules,
            &detectors,
            &severities,
            &devices,
            &metrics,
            &starts,
            &ends,
            &statuses,
            &observed,
            &lows,
            &highs,
            &evidence,
            &revisions,
        ],
    )?;
    Ok(())
}
