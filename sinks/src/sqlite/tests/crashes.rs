//! `kill -9` at any moment, and a full disk.

use super::{all, delivery, open, settings};
use crate::conformance::{mending, row};
use crate::hot::HotStore;
use crate::parts::Parts;
use crate::sqlite::SqliteSettings;
use crate::{ErrorKind, Sink, Storing};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::row::{Job, Jobs, Row};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;

/// Where the child finds its store.
const FOLDER: &str = "TIDEWATCH_TEST_EMBEDDED";
/// The test that starts itself again as the child.
const OWN_NAME: &str = "sqlite::tests::crashes::what_is_confirmed_survives_kills";
/// What the child says before the number of a delivery that was confirmed.
const CONFIRMED: &str = "confirmed ";
const DEVICES: usize = 40;
/// Deliveries a child makes at most.
const DELIVERIES: u64 = 100_000;

/// The rows of a delivery: a minute of each device, and the same minute of a day before again.
fn rows(number: u64) -> Vec<Row> {
    let minute = number as i64;
    let of = |device: usize| row(Job::Minute, &format!("dev-{device}"), minute, 10 * number + 10);
    (0..DEVICES).map(of).collect()
}

/// A reading for the first minute of a device.
fn straggler(number: u64) -> Straggler {
    Straggler {
        partition: Partition(1),
        offset: Offset(number as i64),
        device: "late".into(),
        at: EventTime(super::DAY_MS + 1_000),
        readings: vec![("temperature".into(), 1.0)],
        taken: Jobs::default(),
    }
}

/// What the process does that is killed.
fn write_on(folder: &Path) {
    let settings = settings(folder, 1);
    let begun = stored(&settings) as u64;
    let mut sink = open(&settings).sink(Parts::all()).mending(mending());
    for number in begun..DELIVERIES {
        sink.mend(&delivery(1, number, rows(number)), &[straggler(number)])
            .unwrap();
        println!("{CONFIRMED}{number}");
    }
}

/// Checks that whole deliveries are there, and tells how many.
fn stored(settings: &SqliteSettings) -> usize {
    let reader = open(settings).reader();
    let first = reader.series(&all(Job::Minute, "dev-0")).unwrap();
    for (number, found) in first.iter().enumerate() {
        assert_eq!(*found, rows(number as u64)[0]);
    }
    for device in 1..DEVICES {
        let other = reader.series(&all(Job::Minute, &format!("dev-{device}"))).unwrap();
        assert_eq!(other.len(), first.len(), "dev-{device}");
    }
    for job in [Job::Minute, Job::Hour] {
        let late = reader.series(&all(job, "late")).unwrap();
        let added = late.first().map_or(0, |row| row.values.count);
        assert_eq!(added, first.len() as u64, "readings of {job:?} that were added");
    }
    first.len()
}

#[test]
fn what_is_confirmed_survives_kills() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_on(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 1);
    let mut before = 0;
    for deliveries in [3, 70, 1, 40, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", OWN_NAME, "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut confirmed = lines.filter_map(|line| line.split_once(CONFIRMED)?.1.parse::<usize>().ok());
        let mut last = before;
        for _ in 0..deliveries {
            last = confirmed.next().expect("it goes on");
        }
        child.kill().unwrap();
        last = confirmed.last().unwrap_or(last);
        child.wait().unwrap();
        let there = stored(&settings);
        assert!(
            (last + 1..=last + 2).contains(&there),
            "{there} after {last} was confirmed"
        );
        before = there;
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let folder = tempfile::tempdir().unwrap();
    let roomy = settings(folder.path(), 1);
    let small = SqliteSettings {
        pages_max: Some(60),
        ..roomy.clone()
    };
    let mut sink = open(&small).sink(Parts::all());
    let mut taken = 0;
    let error = loop {
        match sink.deliver(&delivery(1, taken, rows(taken))) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(taken > 10, "{taken}");
    assert_eq!(error.kind, ErrorKind::Retry, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    let again = sink.deliver(&delivery(1, taken, rows(taken))).unwrap_err();
    assert_eq!(again.kind, ErrorKind::Retry, "{again}");
    drop(sink);
    let count = |settings: &SqliteSettings| {
        let found = open(settings).reader().series(&all(Job::Minute, "dev-7")).unwrap();
        found.len() as u64
    };
    assert_eq!(count(&small), taken, "what was taken can be read");
    let mut sink = open(&roomy).sink(Parts::all());
    sink.deliver(&delivery(1, taken, rows(taken))).unwrap();
    drop(sink);
    assert_eq!(count(&roomy), taken + 1);
}
