//! What a sink or the store of checkpoints being away does: the source waits, memory stays bounded, and all of it is
//! caught up with.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::time::{Duration, Instant};
use tidewatch_proto::wire::Telemetry;
use tidewatch_tests::pipeline::Pipeline;
use tidewatch_tests::running::{LIMIT, Running};
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
    pipeline: Pipeline,
    way: Way,
    url: String,
}

impl Job {
    fn new() -> Job {
        let pipeline = Pipeline::new(1);
        let (way, url) = Way::to_database(&pipeline.database.config.url);
        Job { pipeline, way, url }
    }

    fn start(&self) -> Running {
        Running::start(&self.variables(), self.pipeline.folder.path())
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = self.pipeline.variables();
        // Of what is said twice the later counts.
        variables.extend([
            ("POSTGRES__URL", self.url.clone()),
            ("ENGINE__WINDOWS", "1m".to_owned()),
            ("ENGINE__QUANTILES", "false".to_owned()),
            ("ENGINE__OUTBOX_BYTES", OUTBOX_BYTES.to_string()),
        ]);
        variables
    }

    /// One message a minute of each device, in the order of time; the last closes all windows.
    fn fill(&self) {
        for n in 0..DEVICES * MINUTES {
            self.send(&format!("device-{}", n % DEVICES), START + n * MINUTE / DEVICES);
        }
        self.send("last", START + 2 * MINUTES * MINUTE);
        self.pipeline.producer.flush(LIMIT).unwrap();
    }

    fn send(&self, device: &str, ts: i64) {
        let Pipeline { topic, producer, .. } = &self.pipeline;
        let payload = prost::Message::encode_to_vec(&Telemetry {
            device_id: device.to_owned(),
            ts,
            metrics: ["temperature", "pressure", "voltage"]
                .map(|name| (name.to_owned(), 1.0))
                .into(),
            raw: Vec::new(),
        });
        loop {
            let record = BaseRecord::<str, [u8]>::to(&topic.name).partition(0).payload(&payload);
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
        let database = &self.pipeline.database;
        database.number(&format!(
            "SELECT coalesce(sum(count), 0)::bigint FROM {}.aggregates_minute WHERE device_id <> 'last'",
            database.config.schema
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
    let folder = job.pipeline.folder.path();
    let (state, away) = (folder.join("state"), folder.join("away"));
    std::fs::rename(&state, &away).unwrap();
    job.outlives(run, before, || std::fs::rename(&away, &state).unwrap());
}
