//! Anomalies in PostgreSQL and TimescaleDB.

use std::sync::PoisonError;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus};
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::row::Delivery;
use tidewatch_settings::Span;
use tidewatch_sinks::conformance::{AnomalySubject, anomaly, anomaly_sink};
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::postgres::{PostgresAnomalies, PostgresAnomalyStore, Timescale};
use tidewatch_sinks::{ErrorKind, Sink};
use tidewatch_tests::sinks::component;
use tidewatch_tests::sinks::postgres::Database;

fn sink(database: &Database) -> PostgresAnomalies {
    PostgresAnomalies::new(database.settings(), Parts::all())
}

fn kept(database: &Database) {
    anomaly_sink(&AnomalySubject {
        sink: &|| Box::new(sink(database)),
        store: &|| Box::new(PostgresAnomalyStore::new(database.settings())),
    });
}

fn delivery(through: u64, items: Vec<Anomaly>) -> Delivery<Anomaly> {
    Delivery {
        generation: Generation(1),
        through: Epoch(through),
        items,
    }
}

/// What a question's plan says while sorting is the last resort.
fn plan(database: &Database, condition: &str) -> String {
    let mut client = database.client();
    let explained = format!(
        "SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off;
         EXPLAIN SELECT * FROM anomalies WHERE {condition}
         ORDER BY started_at DESC, device_id, metric, rule LIMIT 100"
    );
    let said = client.simple_query(&explained).expect("a plan");
    let lines = said.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn postgres_keeps_anomalies() {
    let database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
    kept(&database);
    // The columns say what the evidence does.
    let worst = "SELECT count(*) FROM anomalies
                 WHERE evidence ? 'threshold' AND observed IS DISTINCT FROM (evidence#>>'{threshold,worst,value}')::float8";
    assert_eq!(database.number(worst), 0);
    assert!(database.number("SELECT count(*) FROM anomalies WHERE expected_high = 38") > 10_000);
    let at = "started_at = '2023-11-15T00:00:00Z' AND (device_id, metric, rule) > ('dev', 'load', 'rule')";
    for (condition, index) in [
        ("status <> 'withdrawn'", "anomalies_latest"),
        ("status <> 'withdrawn' AND device_id = 'dev'", "anomalies_device"),
        ("status <> 'withdrawn' AND rule = 'rule'", "anomalies_rule"),
        ("status = 'raised'", "anomalies_raised"),
        (at, "anomalies_"),
    ] {
        let plan = plan(&database, condition);
        assert!(
            !plan.contains("Sort") && plan.contains(&format!("using {index}")),
            "{condition}: {plan}"
        );
    }
}

#[test]
fn timescale_keeps_anomalies() {
    let _one_at_a_time = super::postgres::TIMESCALE
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let mut database = Database::new(&component("TIDEWATCH_TEST_TIMESCALE"));
    database.config.timescale = Timescale::Require;
    database.config.statement_rows_max = 100;
    // Its connections share a session, which keeps what an earlier process has prepared.
    let forget = || database.client().batch_execute("DEALLOCATE ALL").expect("it forgets");
    forget();
    kept(&database);
    forget();
}

#[test]
fn anomalies_that_ended_leave_and_those_that_go_on_stay() {
    let mut database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
    let given = AnomalyStatus::ALL
        .into_iter()
        .enumerate()
        .map(|(minute, status)| Anomaly {
            status,
            ..anomaly("rule", "dev", "load", minute as i64, 1)
        });
    sink(&database).deliver(&delivery(1, given.collect())).unwrap();
    database
        .client()
        .batch_execute("UPDATE anomalies SET stored_at = now() - INTERVAL '2 days'")
        .unwrap();
    let young = anomaly("rule", "dev", "load", 5, 2);
    let young = Anomaly {
        ended_at: Some(young.started_at),
        status: AnomalyStatus::Cleared,
        ..young
    };
    sink(&database).deliver(&delivery(2, vec![young])).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM anomalies"), 4, "kept for ever");
    database.config.anomaly_retention = Some(Span::from_secs(86_400));
    sink(&database).deliver(&delivery(3, vec![])).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM anomalies"), 2);
    assert_eq!(
        database.number("SELECT count(*) FROM anomalies WHERE status = 'raised'"),
        1
    );
}

#[test]
fn an_anomaly_of_another_part_is_refused() {
    let database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
    let given = anomaly("rule", "dev", "load", 0, 1);
    let owner = given.part().worker(2);
    let mut wrong = PostgresAnomalies::new(database.settings(), Parts::of_workers(1 - owner..2 - owner, 2));
    let error = wrong.deliver(&delivery(1, vec![given])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop, "{error}");
}
