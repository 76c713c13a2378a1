//! Temporary: the components tests without the rest of the workspace.
#![allow(missing_docs, unreachable_pub)]
mod tidewatch_tests { #[path = "/work/main/tests/src/sinks/mod.rs"] pub mod sinks; }

use std::sync::{Mutex, PoisonError};
use tidewatch_proto::ids::{Epoch, Generation, KeyGroup};
use tidewatch_proto::row::{Delivery, Job, Row};
use tidewatch_sinks::conformance::{LARGE_BYTES, LetterSubject, Subject, dead_letter_sink, row, sink};
use tidewatch_sinks::hot::{HotStore, Order, SeriesQuery};
use tidewatch_sinks::kafka::{
    KafkaConnection, KafkaDeadLetters, KafkaSink, KafkaSinkConfig, KafkaSinkSettings, SaslMechanism, SecurityProtocol,
};
use tidewatch_sinks::parts::Parts;
use tidewatch_sinks::postgres::{PostgresDeadLetters, PostgresHotStore, PostgresSink, Timescale};
use tidewatch_sinks::span::Span;
use tidewatch_sinks::{ErrorKind, Sink, SinkError};
use crate::tidewatch_tests::sinks::kafka::{Topic, letters};
use crate::tidewatch_tests::sinks::postgres::Database;
use crate::tidewatch_tests::sinks::{component, unique};

/// TimescaleDB takes one connection at a time.
static TIMESCALE: Mutex<()> = Mutex::new(());

fn postgres_database() -> Database {
    Database::new(&component("TIDEWATCH_TEST_POSTGRES"))
}

fn partitions() -> Vec<String> {
    vec!["raw.events/0".to_owned(), "raw.events/1".to_owned()]
}

fn delivery(generation: u64, through: u64, items: Vec<Row>) -> Delivery<Row> {
    Delivery { generation: Generation(generation), through: Epoch(through), items }
}

fn minutes(key: &str, minutes: impl Iterator<Item = i64>) -> Vec<Row> {
    minutes.map(|minute| row(Job::Minute, key, minute, 1)).collect()
}

fn run_postgres_suites(database: &Database, payload_bytes: usize) {
    sink(&Subject {
        sink: &|| Box::new(PostgresSink::new(database.settings(), Parts::all())),
        store: &|| Box::new(PostgresHotStore::new(database.settings())),
        fences: true,
        non_finite: true,
    });
    let names = partitions();
    dead_letter_sink(&LetterSubject {
        sink: &|| Box::new(PostgresDeadLetters::new(database.settings(), Parts::all(), &names)),
        letters: &|| database.letters(&names),
        fences: true,
        payload_bytes,
    });
}

#[test]
fn postgres_passes_the_suite() {
    let database = postgres_database();
    run_postgres_suites(&database, LARGE_BYTES);
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'aggregates_minute'::regclass";
    assert!(database.number(partitions) >= 5, "a partition for each day");
}

#[test]
fn timescale_passes_the_suite() {
    let _one_at_a_time = TIMESCALE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut database = Database::new(&component("TIDEWATCH_TEST_TIMESCALE"));
    database.config.timescale = Timescale::Require;
    // Its socket hands over what one read brings as whole messages: each must fit.
    database.config.statement_rows_max = 100;
    run_postgres_suites(&database, 10_000);
    let hypertables = format!(
        "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_schema = '{}'",
        database.config.schema
    );
    assert_eq!(database.number(&hypertables), 4);
    database.config.retention = Some(Span::from_secs(30 * 86_400));
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(2, 100, Vec::new())).unwrap();
    drop(sink);
    assert_eq!(database.number("SELECT count(*) FROM aggregates_hour"), 0, "rows of 2023 are past the retention");
}

#[test]
fn connection_errors_say_what_to_do() {
    let good = component("TIDEWATCH_TEST_POSTGRES");
    let error = |url: String| {
        let settings = Database::new(&url).settings();
        PostgresSink::new(settings, Parts::all()).check().unwrap_err()
    };
    let config: postgres::Config = good.parse().unwrap();
    let port = config.get_ports()[0];
    let user = config.get_user().unwrap();

    let wrong_password = error(format!("postgres://{user}:wrong@127.0.0.1:{port}/tidewatch"));
    assert_eq!(wrong_password.kind, ErrorKind::Stop);
    let expected = format!("127.0.0.1:{port}/tidewatch: the server refuses user `{user}`: ");
    assert!(wrong_password.to_string().starts_with(&expected), "{wrong_password}");

    let no_database = error(good.replace("/tidewatch", "/nowhere").replace("//nowhere", "//tidewatch"));
    assert_eq!(no_database.kind, ErrorKind::Stop);
    assert!(no_database.to_string().contains("/nowhere: there is no such database; create it"), "{no_database}");

    let unreachable = error("postgres://ann@127.0.0.1:1/fleet".to_owned());
    assert_eq!(unreachable.kind, ErrorKind::Retry);
    assert!(unreachable.to_string().starts_with("127.0.0.1:1/fleet: can't be reached: "), "{unreachable}");

    for error in [wrong_password, no_database, unreachable] {
        assert!(!error.to_string().contains('\n') && !error.to_string().contains("secret"), "{error}");
    }
}

/// A query for every row of a device.
fn all_of(key: &str) -> SeriesQuery {
    let (first, last) = (row(Job::Minute, key, -100_000, 0), row(Job::Minute, key, 100_000, 0));
    SeriesQuery {
        job: Job::Minute,
        key: key.into(),
        metric: first.metric,
        from: first.window_start,
        to: last.window_start,
        limit: usize::MAX,
        order: Order::OldestFirst,
    }
}

/// Tries until it goes through; what fails before that may be tried again.
fn until_ok<T>(mut attempt: impl FnMut() -> Result<T, SinkError>) -> (T, u32) {
    for failures in 0..20 {
        match attempt() {
            Ok(done) => return (done, failures),
            Err(error) => assert_eq!(error.kind, ErrorKind::Retry, "{error}"),
        }
    }
    panic!("twenty attempts failed");
}

#[test]
fn a_lost_connection_is_made_again() {
    let mut database = postgres_database();
    let name = database.config.schema.clone();
    database.config.url += &format!("?application_name={name}");
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    let reader = PostgresHotStore::new(database.settings());
    let rows = minutes("lost", 0..2);
    sink.deliver(&delivery(1, 1, rows[..1].to_vec())).unwrap();
    assert_eq!(reader.series(&all_of("lost")).unwrap(), rows[..1]);

    let ended = database.number(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = '{name}' AND pid <> pg_backend_pid()"
    ));
    assert_eq!(ended, 2);
    until_ok(|| sink.deliver(&delivery(1, 2, rows.clone())));
    assert_eq!(until_ok(|| reader.series(&all_of("lost"))).0, rows);
}

#[test]
fn a_dropped_partition_is_made_again() {
    let database = postgres_database();
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(1, 1, minutes("dropped", 0..1))).unwrap();
    database.client().batch_execute("DROP TABLE aggregates_minute_p20231115").unwrap();
    let rows = minutes("dropped", 0..3);
    let ((), failures) = until_ok(|| sink.deliver(&delivery(1, 2, rows.clone())));
    assert_eq!(failures, 1);
    assert_eq!(PostgresHotStore::new(database.settings()).series(&all_of("dropped")).unwrap(), rows);
}

#[test]
fn workers_share_a_database_from_the_first_moment() {
    const WORKERS: usize = 4;
    let database = postgres_database();
    let mut rows = Vec::new();
    for device in 0..200 {
        rows.extend(minutes(&format!("shared-{device}"), (0..5).map(|day| day * 1440)));
    }
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (database, rows) = (&database, &rows);
            scope.spawn(move || {
                let mut sink = PostgresSink::new(database.settings(), Parts::of_worker(worker, WORKERS));
                let own = rows.iter().filter(|row| row.part().worker(WORKERS) == worker).cloned().collect();
                sink.deliver(&delivery(3, 7, own)).unwrap();
            });
        }
    });
    assert_eq!(database.number("SELECT count(*) FROM aggregates_minute"), 1000);
    let parts = "SELECT count(*) FROM tidewatch_progress WHERE stream = 'rows' AND generation = 3 AND epoch = 7";
    assert_eq!(database.number(parts), 64);
    let mut other = PostgresSink::new(database.settings(), Parts::of_worker(0, 64));
    let foreign = rows.iter().find(|row| row.part() != KeyGroup(0)).unwrap().clone();
    assert_eq!(other.deliver(&delivery(3, 8, vec![foreign])).unwrap_err().kind, ErrorKind::Stop);
}

#[test]
fn what_is_past_the_retention_leaves() {
    let mut database = postgres_database();
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(1, 1, minutes("old", (0..3).map(|day| day * 1440)))).unwrap();
    database.config.retention = Some(Span::from_secs(86_400));
    let mut sink = PostgresSink::new(database.settings(), Parts::all());
    sink.deliver(&delivery(1, 2, Vec::new())).unwrap();
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'aggregates_minute'::regclass";
    assert_eq!(database.number(partitions), 0);
    sink.deliver(&delivery(1, 3, minutes("old", 0..1))).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM aggregates_minute"), 1);
}

#[test]
fn tables_of_a_newer_release_are_left_alone() {
    let database = postgres_database();
    PostgresSink::new(database.settings(), Parts::all()).check().unwrap();
    database.client().batch_execute("INSERT INTO tidewatch_migrations (version) VALUES (1000)").unwrap();
    let error = PostgresSink::new(database.settings(), Parts::all()).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop);
    assert!(error.to_string().contains("written by a newer release (its migration 1000"), "{error}");
}

/// Topics of their own on the brokers.
fn kafka(brokers: &str, create_topics: bool) -> (KafkaConnection, KafkaSinkConfig) {
    let connection = KafkaConnection { brokers: brokers.to_owned(), ..Default::default() };
    let config = KafkaSinkConfig {
        topic: unique("aggregates.minute"),
        dead_letter_topic: unique("raw.events.dead"),
        create_topics,
        delivery_timeout: Span::from_secs(10),
        ..Default::default()
    };
    (connection, config)
}

fn kafka_settings(brokers: &str) -> (KafkaSinkSettings, KafkaSinkConfig) {
    let (connection, config) = kafka(brokers, true);
    (config.resolve(&connection).unwrap(), config)
}

#[test]
fn kafka_passes_the_suite() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (settings, config) = kafka_settings(&brokers);
    sink(&Subject {
        sink: &|| Box::new(KafkaSink::new(settings.clone())),
        store: &|| Box::new(Topic::read(&brokers, &config.topic)),
        fences: false,
        non_finite: false,
    });
    let names = partitions();
    dead_letter_sink(&LetterSubject {
        sink: &|| Box::new(KafkaDeadLetters::new(settings.clone(), &names)),
        letters: &|| letters(&brokers, &config.dead_letter_topic),
        fences: false,
        payload_bytes: LARGE_BYTES,
    });
}

#[test]
fn a_missing_topic_says_how_to_make_it() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (connection, config) = kafka(&brokers, false);
    let settings = config.resolve(&connection).unwrap();
    let error = KafkaSink::new(settings.clone()).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop);
    let text = error.to_string();
    assert!(text.starts_with(&format!("{brokers}, topic {}: there is no such topic", config.topic)), "{text}");
    assert!(text.contains("--create --topic") && text.contains("cleanup.policy=compact"), "{text}");
    let error = KafkaDeadLetters::new(settings, &[]).check().unwrap_err();
    assert!(error.to_string().contains("cleanup.policy=delete"), "{error}");
}

#[test]
fn a_message_that_is_too_large_is_named_and_the_next_goes_through() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (connection, mut config) = kafka(&brokers, true);
    config.message_bytes_max = 2_000;
    let mut sink = KafkaSink::new(config.resolve(&connection).unwrap());
    let long = "x".repeat(3_000);
    let error = sink.deliver(&delivery(1, 1, minutes(&long, 0..1))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop);
    assert!(error.to_string().contains("raise the topic's max.message.bytes"), "{error}");
    let rows = minutes("short", 0..1);
    sink.deliver(&delivery(1, 1, rows.clone())).unwrap();
    assert_eq!(Topic::read(&brokers, &config.topic).series(&all_of("short")).unwrap(), rows);
}

#[test]
fn kafka_is_reached_by_login_and_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, component("TIDEWATCH_TEST_KAFKA_SASL_PASSWORD")).unwrap();
    let login = |mechanism, file: &std::path::Path| KafkaConnection {
        brokers: component("TIDEWATCH_TEST_KAFKA_SASL"),
        security_protocol: SecurityProtocol::SaslPlaintext,
        sasl_mechanism: mechanism,
        username: Some(component("TIDEWATCH_TEST_KAFKA_SASL_USER")),
        password_file: Some(file.to_owned()),
        ..Default::default()
    };
    let encrypted = KafkaConnection {
        brokers: component("TIDEWATCH_TEST_KAFKA_SSL"),
        security_protocol: SecurityProtocol::Ssl,
        ca_file: Some(component("TIDEWATCH_TEST_KAFKA_SSL_CA").into()),
        ..Default::default()
    };
    let check = |connection: &KafkaConnection| {
        let config = kafka("", true).1;
        KafkaSink::new(config.resolve(connection).unwrap()).check()
    };
    check(&login(SaslMechanism::Plain, &password_file)).unwrap();
    check(&login(SaslMechanism::ScramSha256, &password_file)).unwrap();
    check(&encrypted).unwrap();
    std::fs::write(&password_file, "wrong").unwrap();
    let error = check(&login(SaslMechanism::ScramSha256, &password_file)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop, "{error}");
    assert!(error.to_string().to_lowercase().contains("authentication"), "{error}");
}

#[test]
fn brokers_that_are_not_there_are_named() {
    let (connection, config) = kafka("127.0.0.1:1", false);
    let error = KafkaSink::new(config.resolve(&connection).unwrap()).check().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(error.to_string().starts_with("127.0.0.1:1: can't be reached: "), "{error}");
}
