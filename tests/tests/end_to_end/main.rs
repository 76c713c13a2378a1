//! The whole way on real components: telemetry in Kafka becomes windows in PostgreSQL and in `aggregates.minute`,
//! equal to a recomputation, across a clean stop in the middle of windows and another number of threads.

mod fleet;

use fleet::{Key, MESSAGES, MINUTE, PARTITIONS, START, Sent, Values, fleet, oracle, telemetry};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tidewatch_tests::pipeline::Pipeline;
use tidewatch_tests::running::{LIMIT, Running, signal};
use tidewatch_tests::s3::Bucket;
use tidewatch_tests::sinks::postgres::Database;
use tidewatch_tests::sinks::server::Server;
use tidewatch_tests::sinks::{component, kafka, unique};
use tidewatch_tests::way::Way;

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(10);

fn send(producer: &BaseProducer, topic: &str, partition: usize, key: &str, payload: &[u8]) {
    let record = BaseRecord::to(topic)
        .partition(partition as i32)
        .key(key)
        .payload(payload);
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("the queue has room");
}

/// Has Prometheus's own tool look at the page of metrics.
fn promtool(answer: &str) {
    let (_, page) = answer.split_once("\r\n\r\n").expect("a body");
    let mut tool = Command::new(component("TIDEWATCH_PROMTOOL"));
    let mut tool = tool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    tool.stdin
        .take()
        .expect("it was piped")
        .write_all(page.as_bytes())
        .expect("promtool reads");
    let said = tool.wait_with_output().expect("promtool ends");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

/// A topic of telemetry, and where its windows go.
struct Job {
    pipeline: Pipeline,
    rows_topic: String,
    letters_topic: String,
    /// Where checkpoints are kept; without one in the folder.
    bucket: Option<Bucket>,
}

impl Job {
    fn new() -> Job {
        Job {
            pipeline: Pipeline::new(PARTITIONS),
            rows_topic: unique("rows"),
            letters_topic: unique("letters"),
            bucket: None,
        }
    }

    fn in_a_bucket() -> Job {
        let bucket = Some(Bucket::default());
        Job { bucket, ..Job::new() }
    }

    fn start(&self, threads: usize) -> Running {
        Running::start(&self.variables(threads), self.pipeline.folder.path())
    }

    fn start_cluster(&self, processes: usize, threads: usize) -> Running {
        Running::start_cluster(processes, &self.variables(threads), self.pipeline.folder.path())
    }

    fn variables(&self, threads: usize) -> Vec<(&'static str, String)> {
        let mut variables = self.pipeline.variables();
        variables.extend([
            ("OUTPUT__KAFKA__TOPIC", self.rows_topic.clone()),
            ("OUTPUT__KAFKA__CREATE_TOPICS", "true".to_owned()),
            ("DEAD_LETTER__KIND", "kafka".to_owned()),
            ("DEAD_LETTER__TOPIC", self.letters_topic.clone()),
            ("ENGINE__THREADS", threads.to_string()),
        ]);
        variables.extend(self.bucket.iter().flat_map(Bucket::variables));
        variables
    }

    fn fill(&self, messages: &[Sent]) {
        for message in messages {
            let bytes = telemetry(&message.device, message.ts, &message.values);
            self.send(message.partition, &message.device, &bytes);
        }
        self.pipeline.producer.flush(LIMIT).expect("acknowledged");
    }

    fn send(&self, partition: usize, key: &str, payload: &[u8]) {
        send(
            &self.pipeline.producer,
            &self.pipeline.topic.name,
            partition,
            key,
            payload,
        );
    }

    /// Closes all windows.
    fn flush(&self) {
        for partition in 0..PARTITIONS {
            self.send(partition, "flush", &telemetry("flush", START + 20 * MINUTE, &[]));
        }
        self.pipeline.producer.flush(LIMIT).expect("acknowledged");
    }

    fn stored(&self) -> BTreeMap<Key, (Values, i64)> {
        let found = self.pipeline.database.client().query(
            "SELECT device_id, metric, (extract(epoch FROM window_start) * 1000)::bigint, count, sum, min, max, revision
             FROM aggregates_minute",
            &[],
        );
        let rows = found.expect("the table is there").into_iter().map(|row| {
            let key: Key = (row.get(0), row.get(1), row.get(2));
            (key, ((row.get(3), row.get(4), row.get(5), row.get(6)), row.get(7)))
        });
        rows.collect()
    }

    /// Waits until all windows are there of what was sent.
    fn wait_for_windows(&self, sent: &[Sent]) {
        let (begun, want) = (Instant::now(), oracle(sent));
        loop {
            let stored = self.stored();
            let missing: Vec<_> = want.keys().filter(|key| !stored.contains_key(*key)).collect();
            if missing.is_empty() {
                return;
            }
            let letters = || self.letters().len();
            assert!(
                begun.elapsed() < LIMIT,
                "not there: {missing:?}; {} dead letters",
                letters()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All windows are right in the database, and the same in the topic.
    fn check(&self, sent: &[Sent]) {
        let (want, stored) = (oracle(sent), self.stored());
        for (key, (values, _)) in &stored {
            assert_eq!(Some(values), want.get(key), "{key:?}");
        }
        assert_eq!(stored.len(), want.len(), "every window is there");
        let last = kafka::Topic::read(&component("TIDEWATCH_TEST_KAFKA"), &self.rows_topic);
        let minutes: Vec<_> = last.rows().filter(|row| row.job.as_str() == "minute").collect();
        assert_eq!(minutes.len(), want.len(), "and in the topic");
        for row in minutes {
            let key = (row.key.to_string(), row.metric.to_string(), row.window_start.0);
            let values = (row.values.count as i64, row.values.sum);
            assert_eq!(values, (want[&key].0, want[&key].1), "{key:?}");
            assert_eq!(row.revision.0 as i64, stored[&key].1, "{key:?}: the sinks agree");
        }
    }

    /// The dead letters: where each came from, and its bytes.
    fn letters(&self) -> Vec<(Option<String>, Option<Vec<u8>>)> {
        let mut letters = Vec::new();
        kafka::each_message(&component("TIDEWATCH_TEST_KAFKA"), &self.letters_topic, |message| {
            let from = kafka::header(message, "__streams.errors.topic");
            letters.push((from, message.payload().map(<[u8]>::to_vec)));
        });
        letters
    }
}

#[test]
fn a_topic_becomes_windows_across_a_clean_stop() {
    let (job, sent) = (Job::new(), fleet(20_260_101));
    let half = MESSAGES / 2;
    job.fill(&sent[..half]);
    job.send(1, "nobody", b"\xff\xffthis is no telemetry");
    job.pipeline.producer.flush(LIMIT).expect("acknowledged");
    let first = job.start(1);
    first.wait_for_messages(half as u64);
    first.stop();

    job.fill(&sent[half..]);
    job.flush();
    let second = job.start(2);
    second.wait_for_messages((MESSAGES - half + PARTITIONS) as u64);
    let series = second.get("/v1/series/device-1/temperature?limit=1");
    assert!(series.starts_with("HTTP/1.1 200"), "{series}");
    assert_eq!(second.counter("tidewatch_duplicate_messages_total"), 0);
    promtool(&second.get("/metrics"));
    second.stop();

    job.check(&sent);
    let letter = (
        Some(job.pipeline.topic.name.clone()),
        Some(b"\xff\xffthis is no telemetry".to_vec()),
    );
    assert_eq!(job.letters(), [letter]);
}

#[test]
fn a_stop_with_a_backlog_ends_in_time_and_the_next_start_goes_on_there() {
    const COPIES: i64 = 40;
    let (job, sent) = (Job::new(), fleet(20_260_103));
    let backlog = sent.iter().flat_map(|message| {
        (0..COPIES).map(move |copy| Sent {
            partition: message.partition,
            device: format!("{}-{copy}", message.device),
            ..*message
        })
    });
    let backlog: Vec<Sent> = backlog.collect();
    backlog.chunks(MESSAGES).for_each(|part| job.fill(part));
    let first = job.start(2);
    first.wait_for_messages(1);
    let begun = Instant::now();
    first.stop();
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());

    let second = job.start(2);
    job.flush();
    job.wait_for_windows(&backlog);
    assert_eq!(second.counter("tidewatch_duplicate_messages_total"), 0);
    second.stop();
    job.check(&backlog);
}

/// Waits until so many windows are stored.
/// How a run is killed.
#[derive(Clone, Copy, PartialEq)]
enum Kill {
    /// As soon as it has read what there is.
    AtOnce,
    /// When two checkpoints have been made since.
    AfterCheckpoints,
}

#[test]
fn a_topic_becomes_windows_across_kills() {
    let kills = [
        (1, Kill::AfterCheckpoints),
        (2, Kill::AtOnce),
        (2, Kill::AfterCheckpoints),
        (1, Kill::AfterCheckpoints),
        (2, Kill::AtOnce),
    ];
    across_kills(&Job::new(), 20_260_102, &kills);
}

#[test]
fn a_topic_becomes_windows_across_kills_with_checkpoints_in_s3() {
    let kills = [(2, Kill::AfterCheckpoints), (1, Kill::AtOnce)];
    let job = Job::in_a_bucket();
    across_kills(&job, 20_260_103, &kills);
    let inside = std::fs::read_dir(job.pipeline.folder.path().join("state")).expect("a folder");
    let names: Vec<_> = inside.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["archive"], "no checkpoint is in the folder");
}

fn across_kills(job: &Job, seed: u64, kills: &[(usize, Kill)]) {
    let sent = fleet(seed);
    let part = MESSAGES / kills.len();
    for (part, &(threads, kill)) in sent.chunks(part).zip(kills) {
        job.fill(part);
        job.send(1, "nobody", b"\xff\xffthis is no telemetry");
        job.pipeline.producer.flush(LIMIT).expect("acknowledged");
        let run = job.start(threads);
        run.wait_for_messages(part.len() as u64);
        if kill == Kill::AfterCheckpoints {
            run.wait_for_checkpoints(2);
        }
        run.kill();
    }
    job.flush();
    let last = job.start(2);
    job.wait_for_windows(&sent);
    assert_eq!(last.counter("tidewatch_duplicate_messages_total"), 0);
    last.stop();
    job.check(&sent);
    let letters = job.letters();
    // A letter may be there again when the kill came before what was delivered was noted.
    assert!(
        (kills.len()..=2 * kills.len()).contains(&letters.len()),
        "{}",
        letters.len()
    );
}

#[test]
fn a_stop_in_an_outage_leaves_the_rest_to_the_next_start() {
    [1, 2].into_iter().for_each(stops_in_an_outage);
}

fn stops_in_an_outage(signals: usize) {
    let database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
    let (way, url) = Way::to_database(&database.config.url);
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let variables = [
        ("SOURCE__KIND", "fleet".to_owned()),
        ("POSTGRES__URL", url),
        ("POSTGRES__SCHEMA", database.config.schema.clone()),
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("STATE__FOLDER", state.display().to_string()),
    ];
    let run = Running::start(&variables, folder.path());
    run.wait_for_messages(1);
    way.cut();
    run.wait_until_it_says("sink postgres");
    let begun = Instant::now();
    run.terminate();
    run.wait_until_it_says("a sink can't be reached");
    (1..signals).for_each(|_| run.terminate());
    run.wait_until_it_says("sink postgres has not taken everything");
    let status = run.ended();
    assert!(status.success(), "{status}: all of it is in the checkpoint");
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
    // What was not delivered is in the checkpoint: the next run delivers it.
    let variables = variables.map(|(key, value)| match key {
        "POSTGRES__URL" => (key, database.config.url.clone()),
        _ => (key, value),
    });
    let next = Running::start(&variables, folder.path());
    next.wait_for_checkpoints(1);
    next.stop();
}

#[test]
fn a_stop_ends_in_time_while_a_database_hangs_in_a_delivery() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let variables = [
        ("POSTGRES__URL", server.url.clone()),
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("STATE__FOLDER", folder.path().join("state").display().to_string()),
    ];
    let run = Running::start(&variables, folder.path());
    run.wait_for_checkpoints(1);
    server.hang();
    // With the second of them something is given to the sink that hangs.
    run.wait_for_checkpoints(2);
    let begun = Instant::now();
    run.terminate();
    run.wait_until_it_says("sink postgres doesn't answer");
    let status = run.ended();
    assert!(status.success(), "{status}: all of it is in the checkpoint");
    assert!(begun.elapsed() < STOP_MAX, "{:?}", begun.elapsed());
}

#[test]
fn a_topic_becomes_windows_across_processes_that_die_and_other_numbers_of_them() {
    let (job, sent) = (Job::new(), fleet(20_260_103));
    // How many processes and threads, and what one of them gets before all are killed: it dies, or falls silent.
    let runs = [
        (1, 1, None),
        (2, 1, Some("KILL")),
        (4, 1, Some("STOP")),
        (2, 2, None),
        (1, 2, None),
    ];
    let part = MESSAGES / runs.len();
    for (part, (processes, threads, sent_to_one)) in sent.chunks(part).zip(runs) {
        let (first, second) = part.split_at(part.len() / 2);
        job.fill(first);
        let run = job.start_cluster(processes, threads);
        run.wait_for_messages(first.len() as u64);
        run.wait_for_checkpoints(1);
        if let Some(name) = sent_to_one {
            let last = run.processes().pop().expect("it has processes");
            signal(last, name);
            run.wait_until_it_says("starting all processes again");
        }
        job.fill(second);
        run.wait_for_checkpoints(1);
        run.kill();
    }
    job.flush();
    let last = job.start_cluster(2, 1);
    job.wait_for_windows(&sent);
    last.stop();
    job.check(&sent);
    assert_eq!(job.letters(), [], "no record is blamed for a process that was lost");
}

#[test]
fn months_late_readings_are_added_to_stored_rows_across_kills() {
    let (job, sent) = (Job::new(), fleet(20_260_103));
    let mut late = fleet(20_260_104);
    late.truncate(2_000);
    // Half of these devices were silent then.
    for message in late.iter_mut().step_by(2) {
        message.device += "-silent";
    }
    job.fill(&sent);
    for partition in 0..PARTITIONS {
        job.send(
            partition,
            "flush",
            &telemetry("flush", START + 90 * 24 * 60 * MINUTE, &[]),
        );
    }
    job.pipeline.producer.flush(LIMIT).expect("acknowledged");
    let first = job.start(1);
    first.wait_for_messages((MESSAGES + PARTITIONS) as u64);
    first.wait_for_checkpoints(2);
    first.kill();
    let part = late.len() / 4;
    for (at, part) in late.chunks(part).enumerate() {
        job.fill(part);
        let run = job.start(1 + at % 2);
        run.wait_for_messages(part.len() as u64);
        if at % 2 == 1 {
            run.wait_for_checkpoints(1);
        }
        run.kill();
    }
    let all: Vec<Sent> = sent.into_iter().chain(late).collect();
    let last = job.start(2);
    let (begun, want) = (
        Instant::now(),
        oracle(&all).values().map(|values| values.0).sum::<i64>(),
    );
    let counted = || job.stored().values().map(|(values, _)| values.0).sum::<i64>();
    while counted() < want {
        assert!(begun.elapsed() < LIMIT, "{} of {want} readings", counted());
        std::thread::sleep(Duration::from_millis(20));
    }
    last.stop();
    job.check(&all);
    assert_eq!(job.letters(), []);
    let hours = job
        .pipeline
        .database
        .number("SELECT sum(count)::bigint FROM aggregates_hour");
    let hops = job
        .pipeline
        .database
        .number("SELECT sum(count)::bigint FROM aggregates_five_minutes");
    assert_eq!((hours, hops), (want, 5 * want), "every window has every reading once");
}
