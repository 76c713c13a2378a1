//! What leaves: by age, by the size, and what stays.

use super::{DAY_MS, MINUTE_MS, all, delivery, open, settings};
use crate::conformance::{mending, row};
use crate::hot::HotStore;
use crate::parts::Parts;
use crate::sqlite::retention::used_bytes;
use crate::sqlite::tables::Table;
use crate::sqlite::{Evicted, Sqlite, SqliteSettings};
use crate::{Sink, Storing};
use std::sync::{Arc, Mutex};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::query::DeviceQuery;
use tidewatch_proto::row::{Job, Jobs, Row};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;

const DAY_MINUTES: i64 = 24 * 60;

/// After how many minutes the next window of a job begins.
fn every(job: Job) -> i64 {
    match job {
        Job::Hour => 60,
        Job::Day => DAY_MINUTES,
        _ => 1,
    }
}

/// A row of every job that ends within a minute.
fn every_job(minute: i64) -> Vec<Row> {
    let jobs = Job::ALL.into_iter().filter(|job| minute % every(*job) == 0);
    jobs.map(|job| row(job, "dev", minute, minute as u64 + 1)).collect()
}

fn starts(store: &Sqlite, job: Job) -> Vec<i64> {
    let rows = store.reader().series(&all(job, "dev")).unwrap();
    let minute = |row: &Row| (row.window_start.0 - DAY_MS) / MINUTE_MS;
    rows.iter().map(minute).collect()
}

fn days(kept: [i64; Table::COUNT]) -> [i64; Table::COUNT] {
    kept.map(|days| days * DAY_MINUTES * MINUTE_MS)
}

#[test]
fn each_job_keeps_to_its_own_retention() {
    for alone_ms in [0, 3_600_000] {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings {
            kept_ms: days([1, 2, 4, 3, 50]),
            ..settings(folder.path(), alone_ms)
        };
        let minutes: Vec<i64> = (0..6 * DAY_MINUTES).step_by(20).collect();
        for some in minutes.chunks(60) {
            let mut sink = open(&settings).sink(Parts::all());
            let rows = some.iter().flat_map(|minute| every_job(*minute)).collect();
            sink.deliver(&delivery(1, 1, rows)).unwrap();
        }
        // The retention goes by the newest window when a store is opened and something comes.
        let mut sink = open(&settings).sink(Parts::all());
        sink.deliver(&delivery(1, 2, vec![])).unwrap();
        drop(sink);
        let store = open(&settings);
        let newest = *minutes.last().unwrap();
        for (job, kept_days) in [
            (Job::Minute, 1),
            (Job::FiveMinutes, 2),
            (Job::Hour, 4),
            (Job::Day, 50),
            (Job::SiteMinute, 3),
            (Job::FleetMinute, 3),
        ] {
            let period = Table::of(job).period();
            let offset = DAY_MS / MINUTE_MS;
            let from = (offset + newest - kept_days * DAY_MINUTES).div_euclid(period) * period - offset;
            let left: Vec<i64> = minutes
                .iter()
                .copied()
                .filter(|minute| *minute >= from && minute % every(job) == 0)
                .collect();
            assert_eq!(starts(&store, job), left, "{job:?}");
        }
        // What has left isn't made again, by a row or a reading; what is kept longer takes the reading.
        let mut sink = store.sink(Parts::all()).mending(mending());
        let late = Straggler {
            partition: Partition(0),
            offset: Offset(1),
            device: "dev".into(),
            at: EventTime(DAY_MS + (newest - 2 * DAY_MINUTES - 300) * MINUTE_MS),
            readings: vec![("temperature".into(), 1.0)],
            taken: Jobs::default(),
        };
        let mended = sink
            .mend(&delivery(1, 3, every_job(newest - 5 * DAY_MINUTES)), &[late])
            .unwrap();
        let jobs: Vec<Job> = mended.iter().map(|row| row.job).collect();
        assert_eq!(jobs, [Job::Hour, Job::Day]);
        assert!(starts(&store, Job::Minute)[0] >= newest - DAY_MINUTES - 60);
        let gone = Straggler {
            partition: Partition(0),
            offset: Offset(2),
            device: "dev".into(),
            at: EventTime(DAY_MS - 400 * DAY_MINUTES * MINUTE_MS),
            readings: vec![("temperature".into(), 1.0)],
            taken: Jobs::default(),
        };
        assert_eq!(sink.mend(&delivery(1, 4, vec![]), &[gone]).unwrap(), []);
        let told = store.write(|session, _, _| Ok(session.gone)).unwrap();
        assert_eq!(told.0, 1, "it is counted, to be told of");
    }
}

#[test]
fn a_device_whose_rows_have_left_is_listed_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        kept_ms: days([1, 1, 1, 1, 1]),
        ..settings(folder.path(), 0)
    };
    let listed = || {
        let query = DeviceQuery {
            search: String::new(),
            after: None,
            among: None,
            limit: 10,
        };
        let found = open(&settings).reader().devices(&query).unwrap();
        found.iter().map(|device| device.device.to_string()).collect::<Vec<_>>()
    };
    let deliver = |key: &str, minute: i64| {
        let mut sink = open(&settings).sink(Parts::all());
        let rows = vec![row(Job::Minute, key, minute, 1)];
        sink.deliver(&delivery(1, 1, rows)).unwrap();
    };
    deliver("silent", 0);
    deliver("alive", 210 * DAY_MINUTES);
    assert_eq!(listed(), ["alive"]);
    let connection = rusqlite::Connection::open(open(&settings).file()).unwrap();
    let count = |table: &str| {
        connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!((count("names"), count("series")), (1, 1), "it is forgotten");
    deliver("silent", 210 * DAY_MINUTES + 1);
    assert_eq!(listed(), ["alive", "silent"]);
}

#[test]
fn a_clock_that_runs_ahead_makes_nothing_leave() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteSettings {
        kept_ms: days([1, 1, 1, 1, 1]),
        ..settings(folder.path(), 0)
    };
    let now = crate::sqlite::retention::wall_ms() / MINUTE_MS - DAY_MS / MINUTE_MS;
    for minutes in [vec![now - 5, now], vec![now + 300 * DAY_MINUTES], vec![]] {
        let mut sink = open(&settings).sink(Parts::all());
        let rows = minutes
            .iter()
            .map(|minute| row(Job::Minute, "dev", *minute, 1))
            .collect();
        sink.deliver(&delivery(1, 1, rows)).unwrap();
    }
    assert_eq!(
        starts(&open(&settings), Job::Minute),
        [now - 5, now, now + 300 * DAY_MINUTES]
    );
}

#[test]
fn at_the_bound_of_the_size_the_oldest_leave_and_it_is_said() {
    for alone_ms in [0, 3_600_000] {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings {
            bytes_max: 2 << 20,
            ..settings(folder.path(), alone_ms)
        };
        let news = Arc::new(Mutex::new(Vec::new()));
        let told = news.clone();
        let tell = Arc::new(move |line: &str| told.lock().unwrap().push(line.to_owned()));
        let store = Sqlite::open(settings, tell).unwrap();
        let mut sink = store.sink(Parts::all()).mending(mending());
        let minutes = 40 * 60;
        for minute in 0..minutes {
            let mut rows: Vec<Row> = (0..50)
                .map(|device| row(Job::Minute, &format!("dev-{device}"), minute, minute as u64 + 1))
                .collect();
            rows.extend(every_job(minute));
            sink.deliver(&delivery(1, minute as u64, rows)).unwrap();
        }
        let used = store.write(|session, _, _| used_bytes(&session.connection)).unwrap();
        assert!(used <= 2 << 20, "{used}");
        let usage = store.usage();
        assert_eq!((usage.bytes(), usage.evicted(Evicted::Hours)), (used, 0));
        assert!(usage.evicted(Evicted::Minutes) > 3, "{usage:?}");
        let left = starts(&store, Job::Minute);
        assert!(left[0] > 60 && left.last() == Some(&(minutes - 1)), "{left:?}");
        assert!(left.len() as i64 == minutes - left[0], "the newest are whole");
        assert_eq!(starts(&store, Job::Hour).len(), 40, "hours stay");
        let news = news.lock().unwrap();
        assert!(
            news[0].contains("2MiB: one-minute and five-minute windows and rollups before 2023-11-1"),
            "{news:?}"
        );
        assert!(news.len() <= 3, "once a day: {news:?}");
        // A reading for a window that left early doesn't make a row of itself.
        let late = Straggler {
            partition: Partition(0),
            offset: Offset(1),
            device: "dev".into(),
            at: EventTime(DAY_MS),
            readings: vec![("temperature".into(), 1.0)],
            taken: Jobs::default(),
        };
        let mended = sink.mend(&delivery(1, 10_000, vec![]), &[late]).unwrap();
        assert_eq!(
            mended.iter().map(|row| row.job).collect::<Vec<_>>(),
            [Job::Hour, Job::Day]
        );
    }
}
