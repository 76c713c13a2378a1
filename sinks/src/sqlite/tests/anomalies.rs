//! Anomalies: the suite, what leaves, and that no question sorts the table.

use super::{delivery, open, settings};
use crate::anomalies::{Dialect, answer};
use crate::conformance::{AnomalySubject, anomaly, anomaly_sink};
use crate::hot::AnomalyStore;
use crate::parts::Parts;
use crate::sqlite::failure::Failure;
use crate::sqlite::{Sqlite, SqliteSettings};
use crate::{ErrorKind, Sink};
use rusqlite::params_from_iter;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus, Severity};
use tidewatch_proto::query::{AnomalyPlace, AnomalyQuery};
use tidewatch_proto::time::EventTime;

#[test]
fn sqlite_keeps_anomalies() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 0);
    anomaly_sink(&AnomalySubject {
        sink: &|| Box::new(open(&settings).anomalies(Parts::all())),
        store: &|| Box::new(open(&settings).reader()),
    });
    let counted = open(&settings).write(|session, _, _| {
        let count = |sql: &str| session.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok((
            count("SELECT anomalies FROM anomaly_count")?,
            count("SELECT count(*) FROM anomalies")?,
        ))
    });
    let (counted, there) = counted.unwrap();
    assert!(counted == there && there > 10_000, "{counted} of {there}");
}

#[test]
fn an_anomaly_of_another_part_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&settings(folder.path(), 0));
    let given = anomaly("rule", "dev", "load", 0, 1);
    let owner = given.part().worker(2);
    let mut wrong = store.anomalies(Parts::of_workers(1 - owner..2 - owner, 2));
    let error = wrong.deliver(&delivery(1, 1, vec![given])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop);
    assert!(error.to_string().contains("an anomaly of dev"), "{error}");
}

fn left(store: &Sqlite) -> Vec<(i64, AnomalyStatus)> {
    let mut left = Vec::new();
    for status in AnomalyStatus::ALL {
        let query = AnomalyQuery {
            status: Some(status),
            limit: usize::MAX,
            ..AnomalyQuery::default()
        };
        let found = store.reader().anomalies(&query).unwrap();
        left.extend(found.iter().map(|one| (one.started_at.0, one.status)));
    }
    left.sort_by_key(|(start, _)| *start);
    left
}

/// Three of each status, in turn, in the order in which they are stored.
fn nine() -> Vec<Anomaly> {
    let of = |minute: usize| {
        let raised = anomaly("rule", "dev", "load", minute as i64, 1 + minute as u64);
        Anomaly {
            status: AnomalyStatus::ALL[minute % 3],
            ended_at: (minute % 3 == 1).then_some(EventTime(raised.started_at.0 + 60_000)),
            ..raised
        }
    };
    (0..9).map(of).collect()
}

#[test]
fn those_that_ended_leave_and_those_that_go_on_stay() {
    let keep = |settings: SqliteSettings| {
        let store = open(&settings);
        let mut sink = store.anomalies(Parts::all());
        for (through, one) in nine().into_iter().enumerate() {
            sink.deliver(&delivery(1, through as u64, vec![one])).unwrap();
        }
        drop((sink, store));
        // A store that is opened looks at once for what has to leave.
        let store = open(&settings);
        let mut sink = store.anomalies(Parts::all());
        sink.deliver(&delivery(1, 100, vec![])).unwrap();
        left(&store)
    };
    let all: Vec<(i64, AnomalyStatus)> = nine().iter().map(|one| (one.started_at.0, one.status)).collect();
    let raised: Vec<_> = all
        .iter()
        .copied()
        .filter(|(_, status)| *status == AnomalyStatus::Raised)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| settings(&folder.path().join(name), 0);
    assert_eq!(keep(of("kept")), all);
    let old = SqliteSettings {
        // What was stored until a moment ago is too old.
        anomalies_ms: -1_000,
        ..of("old")
    };
    assert_eq!(keep(old), raised);
    let few = SqliteSettings {
        anomalies_max: 7,
        ..of("few")
    };
    let kept = keep(few);
    assert_eq!(kept.len(), 7);
    assert!(raised.iter().all(|one| kept.contains(one)), "{kept:?}");
    assert_eq!(kept.last(), all.last(), "the latest stay: {kept:?}");
    let none = SqliteSettings {
        anomalies_max: 0,
        ..of("none")
    };
    assert_eq!(keep(none), raised);
}

/// Every combination of what can be asked for, on the first page and on the next.
fn questions() -> impl Iterator<Item = AnomalyQuery> {
    (0..1_u32 << 6).flat_map(|chosen| {
        let is = move |bit: u32| chosen & (1 << bit) != 0;
        let place = AnomalyPlace::of(&anomaly("rule", "dev", "load", 0, 1));
        let statuses = [None].into_iter().chain(AnomalyStatus::ALL.map(Some));
        statuses.map(move |status| AnomalyQuery {
            device: is(0).then(|| "dev".into()),
            metric: is(1).then(|| "load".into()),
            rule: is(2).then(|| "rule".into()),
            least: is(3).then_some(Severity::Critical),
            from: is(4).then_some(EventTime(0)),
            to: is(4).then_some(EventTime(1)),
            after: is(5).then(|| place.clone()),
            status,
            limit: 10,
        })
    })
}

#[test]
fn no_question_sorts_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&settings(folder.path(), 0));
    let mut asked = 0;
    for query in questions() {
        let plans = store.reader().read(|connection| {
            answer(&query, Dialect::Sqlite, |statement| {
                let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sql))?;
                let steps = explained.query_map(params_from_iter(&statement.values), |row| row.get::<_, String>(3))?;
                let steps: Vec<String> = steps.collect::<Result<_, _>>()?;
                // It may sort those with the same start and device, but no more.
                let walks =
                    steps[0].contains(" USING INDEX ") && !steps.iter().any(|step| step.contains("FOR ORDER BY"));
                assert!(walks, "{}: {steps:?}", statement.sql);
                asked += 1;
                Ok::<_, Failure>(Vec::new())
            })
        });
        plans.unwrap();
    }
    assert_eq!(asked, 256 + 128);
}
