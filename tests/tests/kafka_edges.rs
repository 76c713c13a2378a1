//! The edges of a topic: the end to start at, partitions that are added, records that are gone, a topic that is made
//! anew. On a real broker, by both clients.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use rdkafka::producer::{BaseRecord, Producer};
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, SourceError, SourceFactory};
use tidewatch_proto::wire::Telemetry;
use tidewatch_settings::Size;
use tidewatch_sources::begin::{Before, OnGap};
use tidewatch_sources::conformance::Collected;
use tidewatch_sources::kafka::{Change, Client, KafkaSourceConfig, Start};
use tidewatch_tests::running::{LIMIT, Running};
use tidewatch_tests::sinks::component;
use tidewatch_tests::sources::Topic;

const START: i64 = 1_750_003_200_000;

/// A topic that a process reads.
struct Job {
    topic: Topic,
    client: &'static str,
    start: &'static str,
    folder: tempfile::TempDir,
    /// How many messages were sent: no two are alike.
    sent: AtomicI64,
}

impl Job {
    fn new(partitions: i32, client: &'static str, start: &'static str) -> Job {
        Job {
            topic: Topic::create(partitions, &[]),
            client,
            start,
            folder: tempfile::tempdir().unwrap(),
            sent: AtomicI64::new(0),
        }
    }

    fn variables(&self, on_gap: &str) -> Vec<(&'static str, String)> {
        vec![
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", component("TIDEWATCH_TEST_KAFKA")),
            ("KAFKA__TOPIC", self.topic.name.clone()),
            ("KAFKA__CLIENT", self.client.to_owned()),
            ("KAFKA__START", self.start.to_owned()),
            ("KAFKA__ON_GAP", on_gap.to_owned()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            ("STATE__FOLDER", self.folder.path().join("state").display().to_string()),
        ]
    }

    fn start(&self, on_gap: &str) -> Running {
        Running::start(&self.variables(on_gap), self.folder.path())
    }

    /// Starts it and waits until it refuses to: what it says.
    fn refusal(&self) -> String {
        let variables = self.variables("stop");
        let variables = variables
            .iter()
            .map(|(key, value)| (format!("TIDEWATCH__{key}"), value));
        let mut command = Command::new(component("TIDEWATCH_BIN"));
        command.current_dir(self.folder.path()).env_clear().envs(variables);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > LIMIT => {
                    child.kill().unwrap();
                    panic!("it was not refused");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    /// Sends so many messages of one device to a partition.
    fn send(&self, partition: i32, count: i64) {
        let producer = self.topic.producer(None);
        let first = self.sent.fetch_add(count, Ordering::Relaxed);
        for n in first..first + count {
            let payload = prost::Message::encode_to_vec(&Telemetry {
                device_id: format!("device-{partition}"),
                ts: START + n,
                metrics: [("temperature".to_owned(), n as f64)].into(),
                raw: Vec::new(),
            });
            let record = BaseRecord::<str, [u8]>::to(&self.topic.name)
                .partition(partition)
                .payload(&payload);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(LIMIT).unwrap();
    }
}

fn expect(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

/// It reads so many messages, and no more.
fn reads(run: Running, count: u64) {
    run.wait_for_messages(count);
    run.wait_for_checkpoints(1);
    assert_eq!(run.counter("tidewatch_messages_total"), count);
    assert_eq!(run.counter("tidewatch_duplicate_messages_total"), 0);
    run.stop();
}

#[test]
fn the_latest_record_is_settled_once() {
    let job = Job::new(2, "rdkafka", "latest");
    job.send(0, 10);
    job.start("stop").stop();
    // Neither partition had a record while it ran; what comes while it is away is read all the same.
    job.send(0, 5);
    job.send(1, 3);
    reads(job.start("stop"), 8);
}

#[test]
fn partitions_that_are_added_are_read_from_their_first_record() {
    for client in ["rdkafka", "native"] {
        let mut job = Job::new(1, client, "latest");
        let run = job.start("stop");
        job.send(0, 10);
        run.wait_for_messages(10);
        job.topic.grow(3);
        job.send(2, 7);
        job.send(1, 5);
        run.wait_until_it_says("the topic has 3 partitions now");
        run.wait_until_it_says("answers on http://");
        // It counts from its new beginning.
        run.wait_for_messages(12);
        job.send(0, 1);
        reads(run, 13);
    }
}

#[test]
fn a_topic_that_is_made_anew_is_refused_until_it_is_said_to_go_on() {
    for client in ["rdkafka", "native"] {
        let job = Job::new(1, client, "earliest");
        job.send(0, 10);
        let run = job.start("stop");
        run.wait_for_messages(10);
        run.wait_for_checkpoints(1);
        job.topic.make_anew();
        job.send(0, 10);
        run.wait_until_it_says("kafka.on_gap");
        assert_eq!(run.ended().code(), Some(1), "while it is read");

        job.send(0, 5);
        let said = job.refusal();
        expect(
            &said,
            &[
                &job.topic.name,
                "the topic was made anew: its id was ",
                "set kafka.on_gap = \"skip\"",
            ],
        );
        let run = job.start("skip");
        run.wait_for_messages(15);
        run.stop();
        reads(job.start("stop"), 0);
    }
}

#[test]
fn records_that_are_gone_are_said_and_skipped_only_when_told() {
    let job = Job::new(2, "native", "earliest");
    job.send(1, 10);
    let run = job.start("stop");
    run.wait_for_messages(10);
    run.stop();
    job.send(1, 20);
    job.topic.remove_before(1, 18);
    let said = job.refusal();
    let place = format!("{}/1 at ", job.topic.name);
    expect(
        &said,
        &[
            &place,
            "offset 10: the log begins at 18: 8 offsets are gone",
            "set kafka.on_gap = \"skip\"",
        ],
    );
    reads(job.start("skip"), 12);
}

/// Where a reader of the first partition begins.
fn begin(topic: &Topic, on_gap: OnGap, log: &str, position: Option<i64>) -> Result<Offset, SourceError> {
    let config = KafkaSourceConfig {
        on_gap,
        start: Start::Latest,
        ..topic.config()
    };
    let positions: Vec<_> = position.iter().map(|at| (Partition(0), Offset(*at))).collect();
    let before = Before {
        log,
        positions: &positions,
    };
    Ok(topic.connect(&config).begin(Some(before))?[0])
}

#[test]
fn a_position_is_held_against_what_the_log_has() {
    let topic = Topic::create(1, &[]);
    topic.fill(0, 100);
    topic.remove_before(0, 40);
    let log = topic.connect(&topic.config()).log().to_owned();
    assert!(!log.is_empty(), "the brokers tell the topic's id");
    // The text is what is said when it stops, the offset where it goes on when it is told to skip.
    let cases = [
        (&*log, Some(40), None, 40),
        (&*log, Some(100), None, 100),
        ("", Some(70), None, 70),
        (&*log, None, None, 40),
        (&*log, Some(39), Some("the log begins at 40: 1 offsets are gone"), 40),
        (
            &*log,
            Some(101),
            Some("the log ends at 100: what was read there is lost to it"),
            100,
        ),
        ("another", Some(70), Some("made anew: its id was another and is "), 40),
    ];
    for (log, position, problem, next) in cases {
        match (begin(&topic, OnGap::Stop, log, position), problem) {
            (Ok(begin), None) => assert_eq!(begin, Offset(next)),
            (Err(error), Some(problem)) => expect(&error.to_string(), &[&topic.name, problem, "kafka.on_gap"]),
            (found, _) => panic!("{position:?} of {log:?}: {found:?}"),
        }
        assert_eq!(begin(&topic, OnGap::Skip, log, position).unwrap(), Offset(next));
    }
    assert_eq!(topic.connect(&topic.config()).begin(None).unwrap(), [Offset(40)]);
}

#[test]
fn what_is_removed_before_it_is_read_ends_the_reading() {
    for client in [Client::Rdkafka, Client::Native] {
        let topic = Topic::create(1, &[]).read_by(client);
        let producer = topic.producer_with(&[("compression.type", "none")]);
        (0..40_000).for_each(|n| topic.send(&producer, 0, n));
        producer.flush(LIMIT).unwrap();
        let config = KafkaSourceConfig {
            queue_bytes_max: Size(1 << 20),
            fetch_bytes_max: Size(64 << 10),
            queue_records_min: 100,
            ..topic.config()
        };
        let assigned = [Assignment {
            partition: Partition(0),
            from: Some(Offset(0)),
        }];
        let mut source = topic.connect(&config).open(&assigned).unwrap();
        let mut intake = Collected::new(1);
        let begun = Instant::now();
        while intake.total() == 0 {
            source.poll(&mut intake, 10).unwrap();
            assert!(begun.elapsed() < LIMIT);
        }
        topic.remove_before(0, 40_000);
        let error = loop {
            match source.poll(&mut intake, 1_000) {
                Ok(_) => assert!(begun.elapsed() < LIMIT, "{} came", intake.total()),
                Err(error) => break error.to_string(),
            }
        };
        expect(
            &error,
            &["the records from there on are gone", "set kafka.on_gap = \"skip\""],
        );
        assert!(intake.total() < 40_000);
    }
}

#[test]
fn a_look_finds_what_has_changed() {
    let mut topic = Topic::create(1, &[]);
    let watch = topic.connect(&topic.config()).watch().unwrap();
    assert!(watch.look().is_none());
    topic.grow(2);
    let begun = Instant::now();
    let change = loop {
        match watch.look() {
            Some(change) => break change,
            None => assert!(begun.elapsed() < Duration::from_secs(10)),
        }
    };
    assert!(matches!(change, Change::Grown(2)), "{change:?}");
}
