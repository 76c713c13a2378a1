//! Backups of the program on its embedded defaults: made while it runs, brought back elsewhere, and gone on from there.

use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::{Name, Partition};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::Job;
use tidewatch_proto::source::{Assignment, Polled, SourceFactory};
use tidewatch_proto::time::{EventTime, PANE_MS};
use tidewatch_proto::wire::Telemetry;
use tidewatch_sinks::hot::HotStore;
use tidewatch_sinks::sqlite::{Sqlite, SqliteConfig};
use tidewatch_sources::conformance::Collected;
use tidewatch_sources::event::unheard;
use tidewatch_sources::fleet::FaultConfig;
use tidewatch_sources::log::{self, LogConfig};
use tidewatch_tests::running::{LIMIT, Running};
use tidewatch_tests::sinks::component;

const PARTITIONS: u32 = 4;
const METRICS: [&str; 4] = ["humidity", "pressure", "temperature", "vibration"];

/// A fleet in which nothing goes wrong, whose past is played while it is backed up.
fn variables() -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("API__LISTEN", "127.0.0.1:0".to_owned()),
        ("FLEET__DEVICES", "40".to_owned()),
        ("FLEET__HISTORY", "3h".to_owned()),
        ("FLEET__HISTORY_INTERVAL", "5s".to_owned()),
        ("LOG__SEGMENT_BYTES", "256KiB".to_owned()),
        ("ARCHIVE__OBJECT_TIME", "1s".to_owned()),
    ];
    for fault in FaultConfig::names().map(str::to_uppercase) {
        variables.push((format!("FLEET__FAULTS__{fault}").leak(), "0".to_owned()));
    }
    variables
}

/// Runs a command in a folder, and gives what it says.
fn run(args: &[&str], variables: &[(&'static str, String)], folder: &Path) -> (bool, String) {
    let keys = variables
        .iter()
        .map(|(key, value)| (format!("TIDEWATCH__{key}"), value));
    let command = &mut Command::new(component("TIDEWATCH_BIN"));
    let output = command.args(args).current_dir(folder).env_clear().envs(keys).output();
    let output = output.expect("the binary starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn must(args: &[&str], variables: &[(&'static str, String)], folder: &Path) -> String {
    let (is_good, said) = run(args, variables, folder);
    assert!(is_good, "{args:?}: {said}");
    said
}

/// The messages of a log, by its partitions.
fn messages(folder: &Path) -> Vec<Vec<Telemetry>> {
    let settings = LogConfig::default()
        .resolve(&folder.join("tidewatch-data/log"))
        .expect("the defaults");
    let (_writer, log) = log::open(&settings, unheard()).expect("it is whole and free");
    let all = (0..PARTITIONS).map(|index| Assignment {
        partition: Partition(index),
        from: None,
    });
    let mut source = log.open(&all.collect::<Vec<_>>()).expect("opened");
    let mut collected = Collected::new(PARTITIONS as usize);
    while source.poll(&mut collected, 10_000).expect("it is whole") == Polled::Some {}
    let partition = |records: Vec<tidewatch_sources::conformance::Seen>| {
        for (offset, record) in records.iter().enumerate() {
            assert_eq!(
                record.offset.0, offset as i64,
                "nothing is left out, nothing is there twice"
            );
        }
        let decoded = records
            .iter()
            .map(|record| Telemetry::decode(&record.payload[..]).expect("telemetry"));
        decoded.collect()
    };
    collected.partitions.into_iter().map(partition).collect()
}

/// Count, sum, least and greatest of a minute.
type Window = (u64, f64, f64, f64);

/// The minutes of each device and metric that a log comes to.
fn recomputed(messages: &[Vec<Telemetry>]) -> BTreeMap<(String, String), BTreeMap<i64, Window>> {
    let mut series: BTreeMap<(String, String), BTreeMap<i64, Window>> = BTreeMap::new();
    for message in messages.iter().flatten() {
        let minute = message.ts.div_euclid(PANE_MS) * PANE_MS;
        for (metric, value) in &message.metrics {
            let of = series.entry((message.device_id.clone(), metric.clone())).or_default();
            let window = of.entry(minute).or_insert((0, 0.0, f64::INFINITY, f64::NEG_INFINITY));
            *window = (
                window.0 + 1,
                window.1 + value,
                window.2.min(*value),
                window.3.max(*value),
            );
        }
    }
    series
}

/// The minutes of a series in the store, and which revision is the latest.
fn stored(store: &dyn HotStore, (device, metric): &(String, String)) -> BTreeMap<i64, Window> {
    let rows = store.series(&SeriesQuery {
        job: Job::Minute,
        key: Name::from(device.as_str()),
        metric: Name::from(metric.as_str()),
        from: EventTime(0),
        to: EventTime(i64::MAX / 2),
        limit: 100_000,
        order: Order::OldestFirst,
    });
    let window = |row: &tidewatch_proto::row::Row| {
        let values = &row.values;
        let end = |end: Option<f64>| end.expect("a valid reading");
        (values.count, values.sum, end(values.min), end(values.max))
    };
    rows.expect("read")
        .iter()
        .map(|row| (row.window_start.0, window(row)))
        .collect()
}

/// The rows of a stopped run are those that its log comes to, all until its last one. Gives how many there are.
fn compare(folder: &Path, messages: &[Vec<Telemetry>]) -> usize {
    let settings = SqliteConfig::default()
        .resolve(&folder.join("tidewatch-data"))
        .expect("the defaults");
    let store = Sqlite::open(settings, std::sync::Arc::new(|_: &str| {})).expect("it is free");
    let reader = store.reader();
    let mut count = 0;
    for (series, mut expected) in recomputed(messages) {
        assert!(METRICS.contains(&&*series.1), "{series:?}");
        let found = stored(&reader, &series);
        let last = *found.keys().last().unwrap_or_else(|| panic!("no rows of {series:?}"));
        // What is still open is in the checkpoint.
        expected.retain(|minute, _| *minute <= last);
        assert_eq!(found, expected, "{series:?}");
        count += found.len();
    }
    count
}

/// The newest generation that was claimed in a folder.
fn generation(folder: &Path) -> String {
    let names = std::fs::read_dir(folder.join("tidewatch-data")).expect("it is there");
    let names = names.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("generation-"))
        .max()
        .expect("a claim")
}

/// Waits until the engine has come to where the log ends, but for what has come just now.
fn wait_until_all_is_read(run: &Running) {
    let begun = Instant::now();
    loop {
        let page = run.get("/metrics");
        let lags = page
            .lines()
            .filter(|line| line.starts_with("tidewatch_partition_lag_records"));
        let lag: u64 = lags
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        if lag < 200 {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{lag} records are not read");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_backup_of_a_run_is_gone_on_from_as_after_a_kill() {
    let (here, there) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let keys = variables();
    let original = Running::start(&keys, here.path());
    original.wait_for_messages(20_000);
    original.wait_for_checkpoints(1);
    let accepted = original.counter("tidewatch_messages_total");
    let backup = there.path().join("backup.tar.zst");
    let said = must(&["backup", &backup.display().to_string()], &keys, here.path());
    for part in [
        "checkpoint of 20",
        "store: 1 file",
        "log: ",
        "archive: ",
        "tidewatch restore brings it back",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What comes after the backup isn't in it.
    original.wait_for_messages(accepted + 5_000);
    original.wait_for_checkpoints(2);
    let before = generation(here.path());
    original.kill();

    let said = must(&["restore", &backup.display().to_string()], &keys, there.path());
    assert!(said.contains("the next start goes on from there"), "{said}");
    let (is_good, said) = run(&["restore", &backup.display().to_string()], &keys, there.path());
    assert!(!is_good && said.contains("is not empty"), "{said}");
    let held: usize = messages(there.path()).iter().map(Vec::len).sum();
    assert!(
        held as u64 >= accepted,
        "{held} of {accepted} messages that were accepted before"
    );
    let restored = Running::start(&keys, there.path());
    restored.wait_until_it_says("going on from the state");
    assert!(generation(there.path()) > before);
    restored.wait_for_messages(1);
    restored.wait_for_checkpoints(1);
    restored.kill();
    let restored = Running::start(&keys, there.path());
    restored.wait_until_it_says("is live");
    wait_until_all_is_read(&restored);
    restored.wait_for_checkpoints(2);
    assert_eq!(restored.counter("tidewatch_duplicate_messages_total"), 0);
    assert_eq!(restored.counter("tidewatch_archive_failures_total"), 0);
    restored.stop();
    let messages = messages(there.path());
    let all: usize = messages.iter().map(Vec::len).sum();
    assert!(all >= 40 * 3 * 720, "{all} messages: not all of the past");
    let rows = compare(there.path(), &messages);
    assert!(rows > 40 * 4 * 170, "{rows} rows");

    // A run that has stopped is backed up in the same way, here into a folder.
    let folder = tempfile::tempdir().expect("a folder");
    must(
        &["backup", &folder.path().display().to_string(), "--without-archive"],
        &keys,
        there.path(),
    );
    let made = std::fs::read_dir(folder.path())
        .expect("read")
        .map(|entry| entry.expect("read").path());
    let made: Vec<_> = made.collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let again = tempfile::tempdir().expect("a folder");
    must(&["restore", &made[0].display().to_string()], &keys, again.path());
    assert_eq!(self::messages(again.path()), messages);
    assert_eq!(compare(again.path(), &messages), rows);
    assert!(!again.path().join("tidewatch-data/archive").exists());
}

#[test]
fn what_is_elsewhere_is_said_and_a_restore_that_was_cut_short_is_not_begun_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = [
        ("STATE__STORE", "s3".to_owned()),
        ("STATE__S3__BUCKET", "some".to_owned()),
    ];
    let (is_good, said) = run(&["backup", "b.tar.zst"], &keys, folder.path());
    assert!(!is_good && said.contains("keep the bucket by its own means"), "{said}");
    let (is_good, said) = run(&["backup", "b.tar.zst"], &[], folder.path());
    assert!(!is_good && said.contains("there is nothing to back up"), "{said}");
    std::fs::create_dir(folder.path().join("tidewatch-data")).expect("made");
    std::fs::write(folder.path().join("tidewatch-data/restoring"), "").expect("written");
    let (is_good, said) = run(&[], &[("API__LISTEN", "127.0.0.1:0".to_owned())], folder.path());
    assert!(
        !is_good && said.contains("a restore into it was not finished"),
        "{said}"
    );
}
