//! The program without a source of its own: the simulated fleet writes to the embedded log, the engine reads that, and
//! both go on where they were, whatever ended them and wherever.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidewatch_failpoints::Point;
use tidewatch_proto::ids::Partition;
use tidewatch_proto::source::{Assignment, Polled, SourceFactory};
use tidewatch_sources::conformance::{Collected, Seen};
use tidewatch_sources::event::unheard;
use tidewatch_sources::fleet::FaultConfig;
use tidewatch_sources::log::{self, LogConfig};
use tidewatch_tests::faults::process::Process;
use tidewatch_tests::running::{LIMIT, Running};
use tidewatch_tests::sinks::component;
use tidewatch_tests::sinks::postgres::Database;

const PARTITIONS: u32 = 4;
/// The places of the log.
const POINTS: [Point; 7] = [
    Point::LogWrite,
    Point::LogWritten,
    Point::LogSynced,
    Point::LogRoll,
    Point::LogRolled,
    Point::LogRemove,
    Point::LogRemoved,
];

/// The keys of a run with a fleet in which nothing goes wrong.
fn variables(devices: u32, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("FLEET__DEVICES", devices.to_string()),
    ];
    for fault in FaultConfig::names().map(str::to_uppercase) {
        variables.push((format!("FLEET__FAULTS__{fault}").leak(), "0".to_owned()));
    }
    variables.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    variables
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("tidewatch-data/log")
}

/// All that a log has, by its partitions.
fn read(folder: &Path) -> Vec<Vec<Seen>> {
    let settings = LogConfig::default().resolve(&log_in(folder)).expect("the defaults");
    let (_writer, log) = log::open(&settings, unheard()).expect("it is whole and free");
    let all = (0..PARTITIONS).map(|index| Assignment {
        partition: Partition(index),
        from: None,
    });
    let mut source = log.open(&all.collect::<Vec<_>>()).expect("opened");
    let mut collected = Collected::new(PARTITIONS as usize);
    while source.poll(&mut collected, 10_000).expect("it is whole") == Polled::Some {}
    collected.partitions
}

/// The times at which each device's records came into the log, in its order.
fn times(records: &[Vec<Seen>]) -> BTreeMap<Vec<u8>, Vec<i64>> {
    let mut times: BTreeMap<Vec<u8>, Vec<i64>> = BTreeMap::new();
    for record in records.iter().flatten() {
        let key = record.key.clone().expect("a record has its device's name");
        times
            .entry(key)
            .or_default()
            .push(record.log_time.expect("and a time").0);
    }
    times
}

fn steps(times: &[i64]) -> Vec<i64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn the_first_start_plays_a_past_and_every_other_one_goes_on_across_kills() {
    let database = Database::new(&component("TIDEWATCH_TEST_POSTGRES"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut keys = variables(40, &[("FLEET__HISTORY", "2h"), ("FLEET__HISTORY_INTERVAL", "10s")]);
    keys.push(("POSTGRES__URL", database.config.url.clone()));
    keys.push(("POSTGRES__SCHEMA", database.config.schema.clone()));
    // The first kills come while the past is played.
    for (messages, checkpoints) in [(1, 0), (2_000, 0), (1, 1), (1, 2), (1, 0), (1, 1)] {
        let run = Running::start(&keys, folder.path());
        run.wait_for_messages(messages);
        run.wait_for_checkpoints(checkpoints);
        run.kill();
    }
    let run = Running::start(&keys, folder.path());
    run.wait_until_it_says("is live");
    run.wait_for_checkpoints(2);
    run.stop();

    let records = read(folder.path());
    let times = times(&records);
    assert_eq!(times.len(), 40);
    for (device, times) in &times {
        let steps = steps(times);
        let live = steps
            .iter()
            .position(|step| *step != 10_000)
            .expect("it is live at last");
        assert!(live >= 719, "{device:?}: {live} steps of the past");
        assert!(
            steps[live] <= 11_000,
            "{device:?}: {} between the past and now",
            steps[live]
        );
        assert!(
            steps[live + 1..].iter().all(|step| *step == 1_000),
            "{device:?}: {:?}",
            &steps[live..]
        );
    }
    // Nothing is written any more, and all windows are published.
    keys.extend([("LOG__FEED", "none".to_owned()), ("ENGINE__IDLE", "1s".to_owned())]);
    let run = Running::start(&keys, folder.path());
    let count = records.iter().map(Vec::len).sum::<usize>() as i64;
    let counted =
        || database.number("SELECT coalesce(sum(count), 0)::bigint FROM aggregates_minute WHERE metric = 'humidity'");
    let begun = Instant::now();
    while counted() != count {
        assert!(begun.elapsed() < LIMIT, "{} of {count}", counted());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.counter("tidewatch_duplicate_messages_total"), 0);
    run.stop();
}

/// A run on a small log that changes files all the time, with orders for its failpoints.
fn start(folder: &Path, orders: &str, seen: &Path) -> Process {
    let more = [
        ("FLEET__INTERVAL", "10ms"),
        ("FLEET__HISTORY", "0s"),
        ("LOG__SEGMENT_BYTES", "16KiB"),
        ("LOG__RETENTION", "2s"),
        ("LOG__SYNC_INTERVAL", "20ms"),
    ];
    let faults = [
        ("TIDEWATCH_FAILPOINT", orders.to_owned()),
        ("TIDEWATCH_FAILPOINTS_SEEN", seen.display().to_string()),
    ];
    Process::spawn(&[], &variables(20, &more), &faults, &folder.join("said.txt"))
}

/// Waits until the engine has taken in more than before so many times.
fn wait_for_more(run: &Process, times: usize) {
    let begun = Instant::now();
    let mut last = 0;
    for _ in 0..times {
        while run.counter("tidewatch_messages_total").is_none_or(|now| now <= last) {
            assert!(begun.elapsed() < LIMIT, "{last} messages: {}", run.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        last = run.counter("tidewatch_messages_total").unwrap_or(last);
    }
}

fn stop(mut run: Process) {
    run.signal("TERM");
    let status = run.end_within(LIMIT).expect("it stops");
    assert!(status.success(), "{status}: {}", run.said());
}

#[test]
fn every_place_of_the_log_may_kill_fail_and_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let seen = folder.path().join("seen.txt");
    for point in POINTS {
        for action in ["kill", "error*3", "delay:300"] {
            let mut run = start(folder.path(), &format!("{}={action}@9", point.name()), &seen);
            match action {
                "kill" => drop(run.end_within(LIMIT).expect("it is killed")),
                _ => {
                    wait_for_more(&run, 8);
                    let begun = Instant::now();
                    while action == "error*3" && !run.said().contains("it can be written again") {
                        assert!(begun.elapsed() < LIMIT, "{}: {}", point.name(), run.said());
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    stop(run);
                }
            }
        }
    }
    let run = start(folder.path(), "", &seen);
    wait_for_more(&run, 3);
    stop(run);
    let seen = std::fs::read_to_string(seen).expect("places were passed");
    let seen: BTreeSet<&str> = seen.lines().collect();
    assert!(POINTS.iter().all(|point| seen.contains(point.name())), "{seen:?}");
    for (device, times) in times(&read(folder.path())) {
        assert!(times.len() > 100, "{device:?}: {} records are left", times.len());
        assert!(
            steps(&times).iter().all(|step| *step == 10),
            "{device:?}: {:?}",
            steps(&times)
        );
    }
}

#[test]
fn a_log_that_can_not_be_written_is_told_and_the_fleet_goes_on_when_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = start(folder.path(), "log-write=error*24@20", &folder.path().join("seen.txt"));
    let begun = Instant::now();
    let mut told = false;
    while !run.said().contains("it can be written again") {
        told |= run.get("/readyz").is_some_and(|page| {
            page.starts_with("HTTP/1.1 503") && page.contains("the embedded log can't be written since 20")
        });
        assert!(begun.elapsed() < LIMIT, "{}", run.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(told, "/readyz says so too");
    assert!(run.counter("tidewatch_log_write_failures_total") >= Some(6));
    assert!(
        run.said()
            .contains("nothing is lost, what writes to it waits; trying again"),
        "{}",
        run.said()
    );
    wait_for_more(&run, 3);
    stop(run);
    for (device, times) in times(&read(folder.path())) {
        assert!(
            steps(&times).iter().all(|step| *step == 10),
            "{device:?}: {:?}",
            steps(&times)
        );
    }
}

/// What a run says that can't begin.
fn refused(args: &[&str], keys: &[(&'static str, String)], folder: &Path) -> String {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let mut run = Process::spawn(&args, keys, &[], &folder.join("refused.txt"));
    let status = run.end_within(LIMIT).expect("it is refused");
    assert_eq!(status.code(), Some(78), "{}", run.said());
    run.said()
}

#[test]
fn a_log_is_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = variables(10, &[("FLEET__HISTORY", "0s")]);
    let run = Running::start(&keys, folder.path());
    let elsewhere = [
        ("STATE__FOLDER", "elsewhere".to_owned()),
        ("LOG__FOLDER", log_in(folder.path()).display().to_string()),
    ];
    let second: Vec<_> = keys.iter().cloned().chain(elsewhere).collect();
    let said = refused(&[], &second, folder.path());
    assert!(said.contains("another tidewatch writes to it"), "{said}");
    run.stop();
    let said = refused(
        &["run", "--processes", "2"],
        &[("OUTPUT__STORE", "discard".to_owned())],
        folder.path(),
    );
    assert!(said.contains("the embedded log is one process's"), "{said}");
}

#[test]
fn a_log_that_was_made_anew_is_not_taken_for_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut keys = variables(10, &[("FLEET__HISTORY", "1h")]);
    let run = Running::start(&keys, folder.path());
    run.wait_for_messages(1);
    run.wait_for_checkpoints(1);
    run.stop();
    std::fs::remove_dir_all(log_in(folder.path())).expect("removed");
    let mut run = Process::spawn(&[], &keys, &[], &folder.path().join("said.txt"));
    assert_eq!(run.end_within(LIMIT).expect("it ends").code(), Some(1));
    assert!(run.said().contains("the log was made anew"), "{}", run.said());
    keys.push(("LOG__ON_GAP", "skip".to_owned()));
    let run = Running::start(&keys, folder.path());
    run.wait_until_it_says("it is read from its first record");
    run.wait_for_messages(1);
    run.stop();
}

/// What the engine has read is durable.
#[test]
fn what_was_read_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = start(folder.path(), "", &folder.path().join("seen.txt"));
    wait_for_more(&run, 5);
    let acknowledged = run.counter("tidewatch_messages_total").expect("it answers");
    drop(run);
    let ends = read(folder.path()).into_iter();
    let ends = ends.map(|records| records.last().map_or(0, |last| last.offset.next().0));
    let there = ends.sum::<i64>() as u64;
    assert!(there >= acknowledged, "{there} of {acknowledged}");
}
