//! What a sink or the store of checkpoints being away does: the source waits, memory stays bounded, and all of it is
//! caught up with.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::time::{Duration, Instant};
use tidewatch_proto::wire::Telemetry;
use tidewatch_tests::running::{LIMIT, Running};
use tidewatch_tests::sinks::component;
use tidewatch_tests::sinks::postgres::Database;
use tidewatch_tests::sources::Topic;
use tidewatch_tests::way::Way;

const START: i64 = 1_750_003_200_000;
const MINUTE: i64 = 60_000;
const DEVICES: i64 = 2_000;
const MINUTES: i64 = 60;
/// What may wait, as it is configured.
const OUTBOX_BYTES: u64 = 32 << 20;
/// How much one more checkpoint, the queue of the reader and an allocator add to what may wait.
const BESIDE_BYTES: u64 = 224 << 20;
/// How much memory may grow while nothing goes on.
const STALLED_BYTES: u64 = 16 << 20;
/// How long nothing goes on.
const STALL: Duration = Duration::from_secs(5);

/// A topic whose windows go to a database on a way of its own.
struct Job {
    topic: Topic,
    database: Database,
    way: Way,
    url: String,
    folder: tempfile::TempDir,
}

impl Job {
    fn new() -> Job {
        let database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
        let (way, url) = Way::to_database(&database.config.url);
        Job {
            topic: Topic::create(1, &[]),
            database,
            way,
            url,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn start(&self) -> Running {
        let variables = [
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", component("TIDEWATCH_TEST_KAFKA")),
            ("KAFKA__TOPIC", self.topic.name.clone()),
            ("POSTGRES__URL", self.url.clone()),
            ("POSTGRES__SCHEMA", self.database.config.schema.clone()),
            ("ENGINE__WINDOWS", "1m".to_owned()),
            ("ENGINE__QUANTILES", "false".to_owned()),
            ("ENGINE__OUTBOX_BYTES", OUTBOX_BYTES.to_string()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            ("STATE__FOLDER", self.folder.path().join("state").display().to_string()),
        ];
        Running::start(&variables, self.folder.path())
    }

    /// One message a minute of each device, in the order of time; the last closes all windows.
    fn fill(&self) {
        let producer = self.topic.producer(None);
        for n in 0..DEVICES * MINUTES {
            self.send(
                &producer,
                &format!("device-{}", n % DEVICES),
                START + n * MINUTE / DEVICES,
            );
        }
        self.send(&producer, "last", START + 2 * MINUTES * MINUTE);
        producer.flush(LIMIT).unwrap();
    }

    fn send(&self, producer: &BaseProducer, device: &str, ts: i64) {
        let payload = prost::Message::encode_to_vec(&Telemetry {
            device_id: device.to_owned(),
            ts,
            metrics: ["temperature", "pressure", "voltage"]
                .map(|name| (name.to_owned(), 1.0))
                .into(),
            raw: Vec::new(),
        });
        loop {
            let record = BaseRecord::<str, [u8]>::to(&self.topic.name)
                .partition(0)
                .payload(&payload);
            match producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    fn readings(&self) -> i64 {
        self.database.number(&format!(
            "SELECT coalesce(sum(count), 0)::bigint FROM {}.aggregates_minute WHERE device_id <> 'last'",
            self.database.config.schema
        ))
    }

    /// Something is away since before the topic was filled: reading stops, memory is bounded, and when `mend` has
    /// brought it back all is stored.
    fn outlives(&self, run: Running, before: u64, mend: impl FnOnce()) {
        self.fill();
        let all = (DEVICES * MINUTES + 1) as u64;
        let begun = Instant::now();
        while run.counter("tidewatch_outbox_bytes") < OUTBOX_BYTES {
            assert!(begun.elapsed() < LIMIT, "the outbox does not fill");
            std::thread::sleep(Duration::from_millis(20));
        }
        // What was on its way comes first; then nothing moves any more.
        let (read, settled) = stall(&run);
        let (still, after) = stall(&run);
        assert!(read == still && read < all, "the source waits");
        assert!(
            after < settled + STALLED_BYTES,
            "{settled} bytes became {after} while it waits"
        );
        assert!(
            after < before + OUTBOX_BYTES + BESIDE_BYTES,
            "{before} bytes became {after}"
        );
        mend();
        let begun = Instant::now();
        while self.readings() < DEVICES * MINUTES * 3 {
            assert!(begun.elapsed() < LIMIT, "{} readings are stored", self.readings());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.readings(), DEVICES * MINUTES * 3);
        assert_eq!(run.counter("tidewatch_messages_total"), all);
        assert_eq!(run.counter("tidewatch_duplicate_messages_total"), 0);
        run.stop();
    }
}

/// Waits until nothing has been read for a while: how many messages were, and how much memory is taken then.
fn stall(run: &Running) -> (u64, u64) {
    let begun = Instant::now();
    let mut seen = (run.counter("tidewatch_messages_total"), Instant::now());
    while seen.1.elapsed() < STALL {
        assert!(begun.elapsed() < LIMIT, "reading goes on: {}", seen.0);
        std::thread::sleep(Duration::from_millis(50));
        let now = run.counter("tidewatch_messages_total");
        if now != seen.0 {
            seen = (now, Instant::now());
        }
    }
    (seen.0, run.resident_bytes())
}

#[test]
fn a_database_that_is_away_is_caught_up_with() {
    let job = Job::new();
    let run = job.start();
    let before = run.resident_bytes();
    job.way.cut();
    job.outlives(run, before, || job.way.mend());
}

#[test]
fn a_store_that_is_away_is_caught_up_with() {
    let job = Job::new();
    let run = job.start();
    run.wait_for_checkpoints(1);
    let before = run.resident_bytes();
    let (state, away) = (job.folder.path().join("state"), job.folder.path().join("away"));
    std::fs::rename(&state, &away).unwrap();
    job.outlives(run, before, || std::fs::rename(&away, &state).unwrap());
}
