//! Kafka.

use super::{all_of, delivery, minutes, partitions};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidewatch_proto::ids::{Epoch, Generation, Offset, Partition};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::row::Delivery;
use tidewatch_settings::Span;
use tidewatch_settings::kafka::{KafkaConnection, SaslMechanism, SecurityProtocol};
use tidewatch_sinks::conformance::{LARGE_BYTES, LetterSubject, Subject, dead_letter_sink, sink};
use tidewatch_sinks::fence::Fence;
use tidewatch_sinks::hot::HotStore;
use tidewatch_sinks::kafka::{KafkaDeadLetters, KafkaSink, KafkaSinkConfig, KafkaSinkSettings};
use tidewatch_sinks::{ErrorKind, Sink, SinkError};
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
        sink: &|| Box::new(KafkaSink::new(settings.clone(), Fence::alone())),
        store: &|| Box::new(Topic::read(&brokers, &config.topic)),
        fences: false,
        non_finite: false,
    });
    let names = partitions();
    dead_letter_sink(&LetterSubject {
        sink: &|| Box::new(KafkaDeadLetters::new(settings.clone(), &names, Fence::alone())),
        letters: &|| letters(&brokers, &config.dead_letter_topic),
        fences: false,
        payload_bytes: LARGE_BYTES,
    });
}

/// A run's process as `newest` knows runs.
fn process(run: u64, slot: usize, former: Range<usize>, newest: &Arc<AtomicU64>) -> Fence {
    let newest = newest.clone();
    let is_newest = move || match newest.load(Ordering::SeqCst) {
        by if by > run => Err(SinkError::stop("the run", format!("replaced by {by}"))),
        _ => Ok(()),
    };
    Fence {
        slot,
        former,
        newest: Arc::new(is_newest),
    }
}

#[test]
fn who_was_replaced_writes_no_more_and_does_not_disturb_its_successor() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (settings, config) = kafka_settings(&brokers);
    let newest = Arc::new(AtomicU64::new(1));
    let began = |fence: Fence, run: u64| {
        let mut sink = KafkaSink::new(settings.clone(), fence);
        sink.deliver(&Delivery::nothing(Generation(run))).unwrap();
        sink
    };
    // The older run has two processes, the newer one.
    let mut older: Vec<KafkaSink> = (0..2).map(|slot| began(process(1, slot, 0..0, &newest), 1)).collect();
    for (slot, sink) in older.iter_mut().enumerate() {
        let rows = minutes(&format!("device-{slot}"), 0..10);
        sink.deliver(&delivery(1, 1, rows)).unwrap();
    }
    newest.store(2, Ordering::SeqCst);
    let mut newer = began(process(2, 0, 1..2, &newest), 2);
    for sink in &mut older {
        let stale = delivery(1, 2, minutes("stale", 0..10));
        // What it had begun is refused by the brokers, and it may not begin again.
        let error = sink.deliver(&stale).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Retry, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("another writes under the transactional id tidewatch-"),
            "{text}"
        );
        let error = sink.deliver(&stale).unwrap_err();
        assert_eq!((error.kind, error.problem.as_str()), (ErrorKind::Stop, "replaced by 2"));
    }
    let rows = minutes("newer", 0..10);
    newer.deliver(&delivery(2, 3, rows.clone())).unwrap();
    let topic = Topic::read(&brokers, &config.topic);
    assert_eq!(topic.series(&all_of("newer")).unwrap(), rows);
    assert_eq!(topic.rows().count(), 30, "nothing stale");
}

#[test]
fn who_begins_while_it_is_replaced_writes_nothing() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (settings, config) = kafka_settings(&brokers);
    // The newer run claims its generation between the two questions.
    let asked = AtomicU64::new(0);
    let fence = Fence {
        newest: Arc::new(move || match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(()),
            _ => Err(SinkError::stop("the run", "replaced")),
        }),
        ..Fence::alone()
    };
    let error = KafkaSink::new(settings, fence)
        .deliver(&delivery(1, 1, minutes("stale", 0..1)))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop, "{error}");
    assert_eq!(Topic::read(&brokers, &config.topic).rows().count(), 0);
}

#[test]
fn a_missing_topic_says_how_to_make_it() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (connection, config) = kafka(&brokers, false);
    let settings = config.resolve(&connection).unwrap();
    let error = KafkaSink::check(&settings).unwrap_err();
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
    let error = KafkaDeadLetters::check(&settings).unwrap_err();
    assert!(error.to_string().contains("cleanup.policy=delete"), "{error}");
}

#[test]
fn a_message_that_is_too_large_is_named_and_the_next_goes_through() {
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let (connection, mut config) = kafka(&brokers, true);
    config.message_bytes_max = 2_000;
    let mut sink = KafkaSink::new(config.resolve(&connection).unwrap(), Fence::alone());
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
    let mut sink = KafkaDeadLetters::new(config.resolve(&connection).unwrap(), &partitions(), Fence::alone());
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
        KafkaSink::check(&config.resolve(connection).unwrap())
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
    let error = KafkaSink::check(&config.resolve(&connection).unwrap()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Retry);
    assert!(
        error.to_string().starts_with("127.0.0.1:1: can't be reached: "),
        "{error}"
    );
}
