//! What the stores that speak SQL have alike of anomalies: which of a delivery are stored, and what a question is in SQL.

use crate::SinkError;
use crate::parts::Parts;
use std::fmt::Write as _;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus, Severity};
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::{AnomalyPlace, AnomalyQuery};
use tidewatch_proto::row::Delivery;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime};

/// The name of the anomalies' progress.
pub(crate) const STREAM: &str = "anomalies";
/// The columns that an anomaly is made of.
pub(crate) const COLUMNS: &str =
    "rule, detector, severity, device_id, metric, started_at, ended_at, status, evidence, revision";
/// How many go on.
pub(crate) const RAISED: &str = "SELECT count(*) FROM anomalies WHERE status = 'raised'";

/// The anomalies of a delivery in the order of their key, of each key the one that stays.
pub(crate) fn latest(delivery: &Delivery<Anomaly>) -> Vec<&Anomaly> {
    let mut sorted: Vec<&Anomaly> = delivery.items.iter().collect();
    // Stable: of those with the same revision the later stays behind.
    sorted.sort_by(|left, right| (key(left), left.revision).cmp(&(key(right), right.revision)));
    let mut latest: Vec<&Anomaly> = Vec::with_capacity(sorted.len());
    for anomaly in sorted {
        match latest.last_mut() {
            Some(last) if key(last) == key(anomaly) => *last = anomaly,
            _ => latest.push(anomaly),
        }
    }
    latest
}

/// What is unique.
fn key(anomaly: &Anomaly) -> (&Name, &Name, &Name, EventTime) {
    (&anomaly.rule, &anomaly.device, &anomaly.metric, anomaly.started_at)
}

/// Refuses what another sink is for.
pub(crate) fn refuse_foreign(delivery: &Delivery<Anomaly>, parts: &Parts, object: &str) -> Result<(), SinkError> {
    match delivery.items.iter().find(|anomaly| !parts.contains(anomaly.part())) {
        Some(anomaly) => {
            let (device, part) = (&anomaly.device, anomaly.part().0);
            let problem = format!("an anomaly of {device} is of part {part}, which isn't this sink's");
            Err(SinkError::stop(object, problem))
        }
        None => Ok(()),
    }
}

/// The severity of a name.
pub(crate) fn severity(name: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|known| known.as_str() == name)
}

/// The status of a name.
pub(crate) fn status(name: &str) -> Option<AnomalyStatus> {
    AnomalyStatus::ALL.into_iter().find(|known| known.as_str() == name)
}

/// A value of a statement.
pub(crate) enum Given<'q> {
    /// A name.
    Text(&'q str),
    /// An instant.
    Time(EventTime),
    /// How many.
    Count(i64),
}

/// A statement, and its values in the order of their numbers, from 1.
pub(crate) struct Statement<'q> {
    pub(crate) sql: String,
    pub(crate) values: Vec<Given<'q>>,
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// PostgreSQL's, which finds out by itself which index serves.
    Postgres,
    /// SQLite's, which has no statistics, and would rather sort the table than walk along an index and pass over some.
    Sqlite,
}

impl Dialect {
    /// What stands before a value's number.
    fn mark(self) -> char {
        match self {
            Dialect::Postgres => '$',
            Dialect::Sqlite => '?',
        }
    }

    /// The table, and how it is to be read.
    fn table(self, query: &AnomalyQuery) -> &'static str {
        let goes_on = query.status == Some(AnomalyStatus::Raised);
        match self {
            Dialect::Postgres => "anomalies",
            Dialect::Sqlite if query.device.is_some() => "anomalies INDEXED BY anomalies_device",
            Dialect::Sqlite if goes_on => "anomalies INDEXED BY anomalies_raised",
            Dialect::Sqlite if query.rule.is_some() => "anomalies INDEXED BY anomalies_rule",
            Dialect::Sqlite => "anomalies INDEXED BY anomalies_latest",
        }
    }
}

/// Answers a question by one statement after the other, until there are as many as asked for.
///
/// Those that started together with the last one of the page before have a statement of their own, so that each is a walk
/// along an index from where the page begins.
pub(crate) fn answer<E>(
    query: &AnomalyQuery,
    dialect: Dialect,
    mut run: impl FnMut(Statement<'_>) -> Result<Vec<Anomaly>, E>,
) -> Result<Vec<Anomaly>, E> {
    let Some(after) = &query.after else {
        return run(statement(query, dialect, &From::Beginning, query.limit));
    };
    let mut found = run(statement(query, dialect, &From::Within(after), query.limit))?;
    if found.len() < query.limit {
        let rest = query.limit - found.len();
        found.extend(run(statement(query, dialect, &From::Before(after.started_at), rest))?);
    }
    Ok(found)
}

/// Where a statement begins.
enum From<'q> {
    Beginning,
    /// Behind a place, and no further than its instant.
    Within(&'q AnomalyPlace),
    /// Before an instant.
    Before(EventTime),
}

fn statement<'q>(query: &'q AnomalyQuery, dialect: Dialect, from: &From<'q>, limit: usize) -> Statement<'q> {
    let mut made = Made {
        mark: dialect.mark(),
        sql: format!("SELECT {COLUMNS} FROM {} WHERE ", dialect.table(query)),
        values: Vec::new(),
    };
    // A literal, so that the index of those that go on is known to serve.
    match query.status {
        Some(status) => made.sql += &format!("status = '{}'", status.as_str()),
        None => made.sql += "status <> 'withdrawn'",
    }
    let names = [
        ("device_id", &query.device),
        ("metric", &query.metric),
        ("rule", &query.rule),
    ];
    for (column, name) in names {
        if let Some(name) = name {
            made.and(&format!("{column} = "), Given::Text(name));
        }
    }
    if let Some(least) = query.least.filter(|least| *least > Severity::ALL[0]) {
        let bad = Severity::ALL.into_iter().filter(|severity| *severity >= least);
        let names: Vec<String> = bad.map(|severity| format!("'{}'", severity.as_str())).collect();
        made.sql += &format!(" AND severity IN ({})", names.join(", "));
    }
    if let Some(from) = query.from {
        made.and("(ended_at IS NULL OR ended_at > ", Given::Time(from));
        made.sql.push(')');
    }
    if let Some(to) = query.to {
        made.and("started_at < ", Given::Time(to));
    }
    match from {
        From::Beginning => {}
        From::Within(place) => {
            made.and("started_at = ", Given::Time(place.started_at));
            made.and("(device_id, metric, rule) > (", Given::Text(&place.device));
            made.then(", ", Given::Text(&place.metric));
            made.then(", ", Given::Text(&place.rule));
            made.sql.push(')');
        }
        From::Before(time) => made.and("started_at < ", Given::Time(*time)),
    }
    made.sql += " ORDER BY started_at DESC, device_id, metric, rule";
    made.then(" LIMIT ", Given::Count(i64::try_from(limit).unwrap_or(i64::MAX)));
    Statement {
        sql: made.sql,
        values: made.values,
    }
}

/// A statement that is being made.
struct Made<'q> {
    mark: char,
    sql: String,
    values: Vec<Given<'q>>,
}

impl<'q> Made<'q> {
    fn and(&mut self, condition: &str, value: Given<'q>) {
        self.sql += " AND ";
        self.then(condition, value);
    }

    fn then(&mut self, text: &str, value: Given<'q>) {
        self.values.push(match value {
            // No store has another, and PostgreSQL no number for each.
            Given::Time(time) => Given::Time(time.clamp(EVENT_TIME_MIN, EVENT_TIME_MAX)),
            value => value,
        });
        // Writing to a text can't fail.
        let _ = write!(self.sql, "{text}{}{}", self.mark, self.values.len());
    }
}
