//! A dead letter goes into its log again: once, wherever the process is killed, and once more only on purpose.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use data_encoding::BASE64;
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tidewatch_failpoints::Point;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::source::{Assignment, Polled, SourceFactory};
use tidewatch_sources::conformance::{Collected, Seen};
use tidewatch_sources::event::unheard;
use tidewatch_sources::log::{self, LogConfig};
use tidewatch_tests::faults::process::Process;
use tidewatch_tests::pipeline::Pipeline;
use tidewatch_tests::running::LIMIT;

/// Starts it, killed at a place or not, and waits until it answers.
fn start(keys: &[(&'static str, String)], folder: &Path, kill: Option<Point>) -> Process {
    let orders = kill.map_or_else(String::new, |point| format!("{}=kill", point.name()));
    let faults = [("TIDEWATCH_FAILPOINT", orders)];
    let run = Process::spawn(&[], keys, &faults, &folder.join("said.txt"));
    until(&run, "it answers", || run.ask("GET", "/healthz"));
    run
}

/// Waits until something is there.
fn until<T>(run: &Process, what: &str, look: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{what}: {}", run.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn json((_, body): (u16, String)) -> Value {
    serde_json::from_str(&body).unwrap()
}

/// The letter with a number, or the first that there is.
fn letter(run: &Process, number: Option<u64>) -> Value {
    until(run, "a dead letter", || {
        let page = json(run.ask("GET", "/v1/dead-letters?limit=1000&reason=schema")?);
        let letters = page["letters"].as_array()?;
        let is_it = |letter: &&Value| number.is_none_or(|number| letter["number"] == number);
        letters.iter().rev().find(is_it).cloned()
    })
}

/// Replays a letter in runs that are killed on the way, until it is done. Gives its partition, its bytes, and where they are
/// now: as it was, replayed, and replayed once more.
fn replayed(keys: &[(&'static str, String)], folder: &Path) -> (u32, Vec<u8>, [i64; 3]) {
    let mut run = start(keys, folder, Some(Point::ReplayNoted));
    let first = letter(&run, None);
    let number = first["number"].as_u64().unwrap();
    let path = format!("/v1/dead-letters/{number}/replay");
    assert_eq!(run.ask("POST", &path), None, "it is killed");
    run.end_within(LIMIT).unwrap();
    let mut run = start(keys, folder, Some(Point::ReplayPut));
    assert_eq!(letter(&run, Some(number))["replayed"]["offset"], Value::Null);
    assert_eq!(run.ask("POST", &path), None, "it is killed");
    run.end_within(LIMIT).unwrap();
    let mut run = start(keys, folder, None);
    let done = run.ask("POST", &path).unwrap();
    assert_eq!(done.0, 200, "{done:?}");
    let done = json(done);
    let (at, partition) = (done["offset"].as_i64().unwrap(), done["partition"].as_str().unwrap());
    let now = letter(&run, Some(number));
    assert_eq!(now["replayed"], done);
    let refused = run.ask("POST", &path).unwrap();
    assert_eq!(refused.0, 409, "{refused:?}");
    let again = run.ask("POST", &format!("{path}?force=true")).unwrap();
    assert_eq!(again.0, 200, "{again:?}");
    let again = json(again)["offset"].as_i64().unwrap();
    // It can't be read any better, and is a dead letter again.
    until(&run, "a letter of each new record", || {
        let page = json(run.ask("GET", "/v1/dead-letters?limit=1000&reason=schema")?);
        let offsets = page["letters"]
            .as_array()?
            .iter()
            .map(|letter| letter["offset"].as_i64());
        let offsets: Vec<_> = offsets.collect();
        [at, again].iter().all(|at| offsets.contains(&Some(*at))).then_some(())
    });
    run.signal("TERM");
    assert!(run.end_within(LIMIT).unwrap().success(), "{}", run.said());
    let partition = partition.rsplit('/').next().unwrap().parse().unwrap();
    let payload = BASE64.decode(first["payload"].as_str().unwrap().as_bytes()).unwrap();
    (partition, payload, [first["offset"].as_i64().unwrap(), at, again])
}

fn is_where_it_says(records: &[Seen], payload: &[u8], offsets: [i64; 3]) {
    let same = records.iter().filter(|record| record.payload == payload);
    let found: Vec<Offset> = same.map(|record| record.offset).collect();
    assert_eq!(found, offsets.map(Offset), "once for each");
}

#[test]
fn a_letter_goes_into_the_embedded_log_once_across_kills() {
    let folder = tempfile::tempdir().unwrap();
    let keys = [
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("FLEET__DEVICES", "200".to_owned()),
        ("FLEET__HISTORY", "20m".to_owned()),
        ("FLEET__HISTORY_INTERVAL", "1s".to_owned()),
        ("ARCHIVE__KIND", "off".to_owned()),
    ];
    let (partition, payload, offsets) = replayed(&keys, folder.path());
    let settings = LogConfig::default()
        .resolve(&folder.path().join("tidewatch-data/log"))
        .unwrap();
    let (_writer, log) = log::open(&settings, unheard()).unwrap();
    let assignment = Assignment {
        partition: Partition(partition),
        from: None,
    };
    let mut source = log.open(&[assignment]).unwrap();
    let mut collected = Collected::new(log.partitions().len());
    while source.poll(&mut collected, 10_000).unwrap() == Polled::Some {}
    is_where_it_says(&collected.partitions[partition as usize], &payload, offsets);
}

#[test]
fn a_letter_goes_into_its_topic_once_across_kills() {
    let pipeline = Pipeline::new(2);
    let mut keys = pipeline.variables();
    keys.push(("DEAD_LETTER__KIND", "postgres".to_owned()));
    for payload in ["no telemetry", "neither is this"] {
        let record = BaseRecord::to(&pipeline.topic.name)
            .partition(1)
            .key("k")
            .payload(payload);
        pipeline.producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    pipeline.producer.flush(LIMIT).unwrap();
    let (partition, payload, offsets) = replayed(&keys, pipeline.folder.path());
    is_where_it_says(&pipeline.topic.holds()[partition as usize], &payload, offsets);
}

#[test]
fn a_file_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.csv");
    std::fs::write(&input, "device_id,ts,temperature\ndev-1,never,1.5\n").unwrap();
    let keys = [
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("SOURCE__KIND", "file".to_owned()),
        ("FILE__PATHS", input.display().to_string()),
    ];
    let run = start(&keys, folder.path(), None);
    let number = letter(&run, None)["number"].as_u64().unwrap();
    let refused = run.ask("POST", &format!("/v1/dead-letters/{number}/replay")).unwrap();
    assert_eq!(refused.0, 409, "{refused:?}");
    assert!(refused.1.contains("urn:tidewatch:problem:no-log"), "{refused:?}");
}
