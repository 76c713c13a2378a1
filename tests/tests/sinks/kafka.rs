//! Kafka.

use super::{all_of, delivery, minutes, partitions};
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::row::Delivery;
use tidewatch_settings::Span;
use tidewatch_settings::kafka::{KafkaConnection, SaslMechanism, SecurityProtocol};
use tidewatch_sinks::conformance::{LARGE_BYTES, LetterSubject, Subject, dead_letter_sink, sink};
use tidewatch_sinks::hot::HotStore;
use tidewatch_sinks::kafka::{KafkaDeadLetters, KafkaSink, KafkaSinkConfig, KafkaSinkSettings};
use tidewatch_sinks::{ErrorKind, Sink};
use tidewatch_tests::sinks::kafka::{Topic, letters};
use tidewatch_tests::sinks::{component, unique};

/// Topics of their own on the brokers.
fn kafka(brokers: &str, create_topics: bool) -> (KafkaConnection, KafkaSinkConfig) {
    let connection = KafkaConnection {
        brokers: brokers.to_owned(),
        ..Default::default()
    };
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
    (config.resolve(&connection).expect("the configuration is right"), config)
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
    assert!(
        text.starts_with(&format!("{brokers}, topic {}: there is no such topic", config.topic)),
        "{text}"
    );
    assert!(
        text.contains("--create --topic") && text.contains("cleanup.policy=compact"),
        "{text}"
    );
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
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(
        error.to_string().contains("raise the topic's max.message.bytes"),
        "{error}"
    );
    let rows = minutes("short", 0..1);
    sink.deliver(&delivery(1, 1, rows.clone())).unwrap();
    assert_eq!(
        Topic::read(&brokers, &config.topic).series(&all_of("short")).unwrap(),
        rows
    );
}

#[test]
fn a_dead_letter_that_is_too_large_is_cut_and_says_so() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (connection, mut config) = kafka(&brokers, true);
    config.message_bytes_max = 4_000;
    let mut sink = KafkaDeadLetters::new(config.resolve(&connection).unwrap(), &partitions());
    let reject = |offset: i64, bytes: usize| Reject {
        partition: Partition(0),
        offset: Offset(offset),
        log_time: None,
        reason: Reason::Schema,
        detail: "no telemetry".into(),
        key: None,
        payload: vec![7; bytes],
    };
    let delivery = Delivery {
        generation: Generation(1),
        through: Epoch(1),
        items: vec![reject(0, 100_000), reject(1, 10)],
    };
    sink.deliver(&delivery).unwrap();
    let lengths = |letters: Vec<Reject>| letters.iter().map(|letter| letter.payload.len()).collect::<Vec<_>>();
    assert_eq!(lengths(letters(&brokers, &config.dead_letter_topic)), [3_125, 10]);
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
    let error = KafkaSink::new(config.resolve(&connection).unwrap())
        .check()
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(
        error.to_string().starts_with("127.0.0.1:1: can't be reached: "),
        "{error}"
    );
}
