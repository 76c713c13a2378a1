//! The sources against real components: the suite, and what only a real component does.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is tests, also what is made one by a macro"
)]

use rdkafka::producer::Producer;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Intake, Polled, Record, Source, SourceFactory};
use tidewatch_settings::Size;
use tidewatch_settings::kafka::{KafkaConnection, SaslMechanism, SecurityProtocol};
use tidewatch_sources::conformance::{Collected, Seen, Subject, check};
use tidewatch_sources::kafka::{Client, KafkaFactory, KafkaSourceConfig, Start, TimestampType};
use tidewatch_tests::sinks::{component, unique};
use tidewatch_tests::sources::{START, Topic, connect, payload};

const TIMEOUT: Duration = Duration::from_secs(20);
/// The broker looks every 15 seconds whether there is something to compact.
const COMPACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Polls until so many records came.
fn read(source: &mut dyn Source, partitions: usize, wanted: usize) -> Collected {
    let mut intake = Collected::new(partitions);
    read_into(source, &mut intake, wanted);
    intake
}

/// Polls until there are so many records in all.
fn read_into(source: &mut dyn Source, intake: &mut Collected, wanted: usize) {
    let begun = Instant::now();
    while intake.total() < wanted {
        assert!(begun.elapsed() < TIMEOUT, "{} of {wanted} records came", intake.total());
        if source.poll(intake, 1_000).expect("reading goes on") == Polled::Idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Polls until reading can't go on.
fn failure(source: &mut dyn Source) -> String {
    let begun = Instant::now();
    loop {
        match source.poll(&mut Collected::new(8), 1_000) {
            Err(error) => return error.to_string(),
            Ok(_) => assert!(begun.elapsed() < TIMEOUT, "reading goes on"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn assign(partition: u32, from: Option<i64>) -> Assignment {
    Assignment {
        partition: Partition(partition),
        from: from.map(Offset),
    }
}

fn refusal(connection: &KafkaConnection, config: &KafkaSourceConfig) -> String {
    let settings = config.resolve(connection).unwrap_or_else(|error| panic!("{error}"));
    KafkaFactory::connect(&settings).err().expect("a refusal").to_string()
}

/// Why a broker refuses; one that is too busy to answer in time is asked again.
fn refusal_of_a_broker(connection: &KafkaConnection, config: &KafkaSourceConfig) -> String {
    let begun = Instant::now();
    loop {
        let text = refusal(connection, config);
        if !text.contains("no broker answered") {
            return text;
        }
        assert!(begun.elapsed() < TIMEOUT, "{text}");
    }
}

fn expect(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{text}` should contain `{part}`");
    }
}

/// Makes each of these a test with either client of Kafka.
macro_rules! with_either_client {
    ($($test:ident),* $(,)?) => {
        mod kafka_by_rdkafka {
            $(#[test] fn $test() { super::$test(super::Client::Rdkafka); })*
        }
        mod kafka_by_native {
            $(#[test] fn $test() { super::$test(super::Client::Native); })*
        }
    };
}

with_either_client!(
    conforms,
    conforms_with_holes_of_transactions,
    conforms_with_every_codec,
    conforms_after_compaction,
    without_the_position_stops,
    from_the_latest_record,
    tells_whose_clock_it_is,
    positions_for_lag_tools,
    records_larger_than_a_fetch,
    survives_a_panic_of_its_intake,
);

fn conforms(client: Client) {
    let topic = Topic::create(4, &[]).read_by(client);
    for (partition, count) in [(0, 2_000), (1, 1), (3, 300)] {
        topic.fill(partition, count);
    }
    let held = topic.holds();
    assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [2_000, 1, 0, 300]);
    let seventh = &held[3][7];
    assert_eq!(
        (seventh.payload.clone(), seventh.log_time.unwrap().0),
        (payload(3, 7), START + 7_000)
    );
    check(&Subject {
        factory: &topic.connect(&topic.config()),
        expected: &held,
        ends: false,
    });
}

fn conforms_with_holes_of_transactions(client: Client) {
    let topic = Topic::create(2, &[]).read_by(client);
    let producer = topic.producer(Some(&unique("transactions")));
    producer.init_transactions(TIMEOUT).unwrap();
    for round in 0..5 {
        producer.begin_transaction().unwrap();
        for n in round * 20..(round + 1) * 20 {
            topic.send(&producer, n as i32 % 2, n);
        }
        producer.flush(TIMEOUT).unwrap();
        match round % 2 {
            0 => producer.commit_transaction(TIMEOUT).unwrap(),
            _ => producer.abort_transaction(TIMEOUT).unwrap(),
        }
    }
    let held = topic.holds();
    assert_eq!(
        held.iter().map(Vec::len).collect::<Vec<_>>(),
        [30, 30],
        "three of five rounds"
    );
    let factory = topic.connect(&topic.config());
    check(&Subject {
        factory: &factory,
        expected: &held,
        ends: false,
    });

    // Behind the last record is the mark of the last transaction, and still nothing lies ahead.
    let mut source = factory.open(&[assign(0, None)]).unwrap();
    let mut intake = read(source.as_mut(), 2, 30);
    let begun = Instant::now();
    while intake.lags[0] != Some(0) {
        source.poll(&mut intake, 10).unwrap();
        assert!(begun.elapsed() < TIMEOUT, "the lag is {:?}", intake.lags[0]);
    }
}

fn conforms_with_every_codec(client: Client) {
    let topic = Topic::create(1, &[]).read_by(client);
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (turn, codec) in (0..).zip(codecs) {
        let producer = topic.producer_with(&[("compression.type", codec)]);
        (turn * 300..(turn + 1) * 300).for_each(|n| topic.send(&producer, 0, n));
        producer.flush(TIMEOUT).unwrap();
    }
    let held = topic.holds();
    assert_eq!(held[0].len(), 1_500);
    check(&Subject {
        factory: &topic.connect(&topic.config()),
        expected: &held,
        ends: false,
    });
}

fn conforms_after_compaction(client: Client) {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    let topic = Topic::create(1, &settings).read_by(client);
    let producer = topic.producer(None);
    // In each wave some keys come again; the time between two of them closes the first one's segment.
    for n in 0..800 {
        let again = n % 3 == 0;
        let key = format!("dev-{}", if again { n % 200 } else { n });
        topic.send_keyed(&producer, &key, n);
        if n % 200 == 199 {
            producer.flush(TIMEOUT).unwrap();
        }
    }
    let begun = Instant::now();
    let mut held = topic.holds();
    while held[0].len() == 800 {
        assert!(begun.elapsed() < COMPACTION_TIMEOUT, "nothing is compacted");
        std::thread::sleep(Duration::from_millis(500));
        held = topic.holds();
    }
    check(&Subject {
        factory: &topic.connect(&topic.config()),
        expected: &held,
        ends: false,
    });
}

#[test]
fn kafka_with_a_login() {
    let topic = Topic::create(1, &[]);
    topic.fill(0, 10);
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    std::fs::write(&good, component("TIDEWATCH_TEST_KAFKA_SASL_PASSWORD")).unwrap();
    std::fs::write(&bad, "guess").unwrap();
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256] {
        let connection = |password: &PathBuf| KafkaConnection {
            brokers: component("TIDEWATCH_TEST_KAFKA_SASL"),
            security_protocol: SecurityProtocol::SaslPlaintext,
            sasl_mechanism: mechanism,
            username: Some(component("TIDEWATCH_TEST_KAFKA_SASL_USER")),
            password_file: Some(password.clone()),
            ..KafkaConnection::default()
        };
        let mut source = connect(&connection(&good), &topic.config())
            .open_with_headers(&[assign(0, None)])
            .unwrap();
        assert_eq!(read(source.as_mut(), 1, 10).partitions, topic.holds());
        let text = refusal_of_a_broker(&connection(&bad), &topic.config());
        expect(
            &text,
            &[
                &component("TIDEWATCH_TEST_KAFKA_SASL"),
                "the login was refused",
                "kafka.password_file",
            ],
        );
    }
    // A listener that wants a login, and a client that has none.
    let nameless = KafkaConnection {
        brokers: component("TIDEWATCH_TEST_KAFKA_SASL"),
        ..KafkaConnection::default()
    };
    let text = refusal(&nameless, &topic.config());
    expect(&text, &["no broker answered within 5 s", "kafka.security_protocol"]);
}

#[test]
fn kafka_over_tls() {
    let topic = Topic::create(1, &[]);
    topic.fill(0, 10);
    let connection = KafkaConnection {
        brokers: component("TIDEWATCH_TEST_KAFKA_SSL"),
        security_protocol: SecurityProtocol::Ssl,
        ca_file: Some(component("TIDEWATCH_TEST_KAFKA_SSL_CA").into()),
        ..KafkaConnection::default()
    };
    let mut source = connect(&connection, &topic.config())
        .open_with_headers(&[assign(0, None)])
        .unwrap();
    assert_eq!(read(source.as_mut(), 1, 10).partitions, topic.holds());
    let unchecked = KafkaConnection {
        ca_file: None,
        ..connection.clone()
    };
    let text = refusal_of_a_broker(&unchecked, &topic.config());
    expect(&text, &[&connection.brokers, "TLS failed", "kafka.ca_file"]);
}

#[test]
fn kafka_that_is_not_there() {
    let begun = Instant::now();
    let at = |brokers: &str| KafkaConnection {
        brokers: brokers.to_owned(),
        ..KafkaConnection::default()
    };
    let text = refusal(&at("127.0.0.1:1"), &KafkaSourceConfig::default());
    expect(
        &text,
        &[
            "kafka.brokers 127.0.0.1:1: no broker answered within 5 s",
            "Connection refused",
        ],
    );
    assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
    let brokers = component("TIDEWATCH_TEST_KAFKA");
    let nowhere = KafkaSourceConfig {
        topic: "nowhere".to_owned(),
        ..KafkaSourceConfig::default()
    };
    let text = refusal(&at(&brokers), &nowhere);
    expect(
        &text,
        &["topic nowhere at ", &brokers, "there is no such topic; create it"],
    );
}

fn without_the_position_stops(client: Client) {
    let topic = Topic::create(2, &[]).read_by(client);
    topic.fill(1, 100);
    topic.remove_before(1, 40);
    let factory = topic.connect(&topic.config());
    for lost in [10, 101] {
        let text = failure(factory.open(&[assign(1, Some(lost))]).unwrap().as_mut());
        expect(
            &text,
            &[
                &format!("{}/1 at ", topic.name),
                &format!("offset {lost}: "),
                "the records from there on are gone",
            ],
        );
    }
    // Without a position it begins with what is left; at the very end it waits.
    let first = read(factory.open(&[assign(1, None)]).unwrap().as_mut(), 2, 60).partitions[1][0].offset;
    assert_eq!(first, Offset(40));
    let mut at_end = factory.open(&[assign(1, Some(100))]).unwrap();
    topic.fill(1, 1);
    assert_eq!(read(at_end.as_mut(), 2, 1).partitions[1][0].offset, Offset(100));
    let text = factory.open(&[assign(2, None)]).err().expect("an error").to_string();
    expect(&text, &["/2 at ", "the topic has only 2 partitions"]);
}

fn from_the_latest_record(client: Client) {
    let topic = Topic::create(1, &[]).read_by(client);
    topic.fill(0, 10);
    let mut source = topic
        .connect(&KafkaSourceConfig {
            start: Start::Latest,
            ..topic.config()
        })
        .open(&[assign(0, None)])
        .unwrap();
    let mut intake = Collected::new(1);
    let begun = Instant::now();
    // The lag is told when the end was found.
    while intake.lags[0].is_none() {
        source.poll(&mut intake, 10).unwrap();
        assert!(begun.elapsed() < TIMEOUT);
    }
    assert_eq!((intake.total(), intake.lags[0]), (0, Some(0)));
    topic.fill(0, 3);
    assert_eq!(read(source.as_mut(), 1, 3).partitions[0][0].offset, Offset(10));
}

fn tells_whose_clock_it_is(client: Client) {
    for (setting, expected) in [
        ("CreateTime", TimestampType::CreateTime),
        ("LogAppendTime", TimestampType::LogAppendTime),
    ] {
        let topic = Topic::create(1, &[("message.timestamp.type", setting)]).read_by(client);
        topic.fill(0, 1);
        let factory = topic.connect(&topic.config());
        assert_eq!(factory.timestamp_type().unwrap(), expected);
        let read = read(factory.open(&[assign(0, None)]).unwrap().as_mut(), 1, 1);
        let stamped_by_producer = read.partitions[0][0].log_time.unwrap().0 == START;
        assert_eq!(stamped_by_producer, expected == TimestampType::CreateTime);
    }
}

fn positions_for_lag_tools(client: Client) {
    let topic = Topic::create(2, &[]).read_by(client);
    let config = KafkaSourceConfig {
        group_id: unique("group"),
        ..topic.config()
    };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&heard);
    let factory = topic
        .connect(&config)
        .with_events(Arc::new(move |event| hook.lock().unwrap().push(event)));
    assert_eq!(topic.committed(&config.group_id, 0), None);
    let begun = Instant::now();
    for offset in [5, 7] {
        factory.commit(&[(Partition(0), Offset(offset)), (Partition(1), Offset(1))]);
        while topic.committed(&config.group_id, 0) != Some(offset) {
            assert!(begun.elapsed() < TIMEOUT, "not committed: {:?}", heard.lock().unwrap());
        }
    }
    factory.commit(&[]);
    assert_eq!(*heard.lock().unwrap(), []);
}

fn records_larger_than_a_fetch(client: Client) {
    let topic = Topic::create(1, &[]).read_by(client);
    topic.fill(0, 500);
    let small = KafkaSourceConfig {
        fetch_bytes_max: Size(1_024),
        queue_bytes_max: Size(1 << 20),
        ..topic.config()
    };
    let mut source = topic.connect(&small).open_with_headers(&[assign(0, None)]).unwrap();
    assert_eq!(read(source.as_mut(), 1, 500).partitions, topic.holds());
}

/// An intake that gives up in the middle of a batch.
struct Panics;

impl Intake for Panics {
    fn records(&mut self, _: Partition, records: &[Record<'_>]) {
        panic!("at {}", records[0].offset);
    }

    fn unusable(&mut self, _: Partition, _: Record<'_>, _: Reason, _: String) {}

    fn lag(&mut self, _: Partition, _: u64) {}
}

fn survives_a_panic_of_its_intake(client: Client) {
    let topic = Topic::create(1, &[]).read_by(client);
    topic.fill(0, 10);
    let mut source = topic.connect(&topic.config()).open(&[assign(0, None)]).unwrap();
    let begun = Instant::now();
    while catch_unwind(AssertUnwindSafe(|| source.poll(&mut Panics, 4).unwrap())).is_ok() {
        assert!(begun.elapsed() < TIMEOUT);
        std::thread::sleep(Duration::from_millis(1));
    }
    // What was in the batch is lost to this reader, but its memory was given back and reading goes on.
    topic.fill(0, 1);
    let rest: Vec<Seen> = read(source.as_mut(), 1, 1).partitions.remove(0);
    assert!(rest[0].offset > Offset(0));
}
