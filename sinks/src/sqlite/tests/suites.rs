//! The conformance suites, whether rows are fresh or packed; one process; dead letters and devices.

use super::{FOR_EVER, all, delivery, open, settings};
use crate::conformance::{
    LARGE_BYTES, LetterSubject, StoringSubject, Subject, dead_letter_sink, letter_store, mending, row, sink,
    storing_sink,
};
use crate::hot::{HotStore, LetterStore};
use crate::parts::Parts;
use crate::sqlite::{Sqlite, SqliteSettings};
use crate::{ErrorKind, Sink};
use std::sync::Arc;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::query::{DeviceQuery, LetterQuery};
use tidewatch_proto::reject::{Reason, Reject};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::LogTime;

/// Everything at once, and nothing within the test.
const ALONE_MS: [u64; 2] = [0, 3_600_000];

fn letters_of(settings: &SqliteSettings) -> Vec<Reject> {
    let query = LetterQuery {
        reason: None,
        before: None,
        limit: usize::MAX,
    };
    let letters = open(settings).letters().letters(&query).unwrap();
    let reject = |letter: tidewatch_proto::query::Letter| Reject {
        partition: Partition(letter.partition.strip_prefix("log/").unwrap().parse().unwrap()),
        offset: letter.offset,
        log_time: letter.log_time_ms.map(LogTime),
        reason: letter.reason,
        detail: letter.detail,
        key: letter.key,
        payload: letter.payload,
    };
    letters.into_iter().map(reject).collect()
}

#[test]
fn sqlite_passes_the_suites() {
    for alone_ms in ALONE_MS {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), alone_ms);
        sink(&Subject {
            sink: &|| Box::new(open(&settings).sink(Parts::all())),
            store: &|| Box::new(open(&settings).reader()),
            fences: true,
            non_finite: true,
        });
        let names = ["log/0".to_owned(), "log/1".to_owned()];
        dead_letter_sink(&LetterSubject {
            sink: &|| Box::new(open(&settings).dead_letters(Parts::all(), &names)),
            letters: &|| letters_of(&settings),
            fences: true,
            payload_bytes: LARGE_BYTES,
        });
    }
}

#[test]
fn sqlite_gives_dead_letters_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&settings(folder.path(), 0));
    let mut sink = store.dead_letters(Parts::all(), &["log/0".to_owned(), "log/1".to_owned()]);
    letter_store(&mut sink, &store.letters(), "log/0");
}

#[test]
fn sqlite_adds_each_reading_once() {
    for alone_ms in ALONE_MS {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), alone_ms);
        storing_sink(&StoringSubject {
            sink: &|| Box::new(open(&settings).sink(Parts::all()).mending(mending())),
            store: &|| Box::new(open(&settings).reader()),
        });
    }
}

#[test]
fn a_folder_is_one_processs() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 0);
    let first = open(&settings);
    let Err(error) = Sqlite::open(settings.clone(), Arc::new(|_| ())) else {
        panic!("two have it")
    };
    assert!(error.to_string().contains("another tidewatch runs on it"), "{error}");
    // Who reads doesn't keep it.
    let reader = first.reader();
    drop(first);
    let mut sink = open(&settings).sink(Parts::all());
    let rows = vec![row(Job::Minute, "dev", 0, 1)];
    sink.deliver(&delivery(1, 1, rows.clone())).unwrap();
    assert_eq!(reader.series(&all(Job::Minute, "dev")).unwrap(), rows);
    let log = sink.store.file().with_extension("sqlite-wal");
    drop(sink);
    assert_eq!(std::fs::metadata(log).unwrap().len(), 0, "all is in the file");
    assert_eq!(reader.series(&all(Job::Minute, "dev")).unwrap(), rows);
}

#[test]
fn what_is_no_store_of_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), 0);
    let file = open(&settings).file().to_owned();
    for (content, wanted) in [(
        &b"SQLite it is not, but a text that is longer than a header of a hundred bytes is, which is looked at"[..],
        "damaged",
    )] {
        for name in ["store.sqlite-wal", "store.sqlite-shm"] {
            let _ = std::fs::remove_file(file.with_file_name(name));
        }
        std::fs::write(&file, content).unwrap();
        let Err(error) = Sqlite::open(settings.clone(), Arc::new(|_| ())) else {
            panic!("it is opened")
        };
        assert_eq!(error.kind, ErrorKind::Stop);
        assert!(
            error.to_string().contains("store.sqlite") && error.to_string().contains(wanted),
            "{error}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), content);
    }
    std::fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs (id)").unwrap();
    drop(other);
    let Err(error) = Sqlite::open(settings.clone(), Arc::new(|_| ())) else {
        panic!("it is opened")
    };
    assert!(error.to_string().contains("another program"), "{error}");
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer
        .execute_batch("DROP TABLE theirs; PRAGMA application_id = 0x74696465; PRAGMA user_version = 99")
        .unwrap();
    drop(newer);
    let Err(error) = Sqlite::open(settings, Arc::new(|_| ())) else {
        panic!("it is opened")
    };
    assert!(error.to_string().contains("newer release"), "{error}");
}

#[test]
fn a_sink_takes_its_own_parts_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&settings(folder.path(), 0));
    let given = row(Job::Minute, "dev", 0, 1);
    let owner = given.part().worker(2);
    let mut wrong = store.sink(Parts::of_workers(1 - owner..2 - owner, 2));
    let error = wrong.deliver(&delivery(1, 1, vec![given.clone()])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stop);
    let mut right = store.sink(Parts::of_workers(owner..owner + 1, 2));
    right.deliver(&delivery(1, 1, vec![given])).unwrap();
}

#[test]
fn devices_are_listed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&settings(folder.path(), 0));
    let of = |key: &str, metric: &str, minute| Row {
        metric: metric.into(),
        ..row(Job::Minute, key, minute, 1)
    };
    let rows = vec![
        of("dev-2", "b", 3),
        of("dev-2", "a", 7),
        of("Dev-10", "a", 5),
        of("é-DEV", "a", 1),
        row(Job::Hour, "hours-only", 0, 1),
        row(Job::SiteMinute, "site", 0, 1),
    ];
    let mut sink = store.sink(Parts::all());
    sink.deliver(&delivery(1, 1, rows.clone())).unwrap();
    sink.deliver(&delivery(1, 2, vec![of("dev-2", "b", 2)])).unwrap();
    let asked = |search: &str, after: Option<&str>, limit| {
        let query = DeviceQuery {
            search: search.into(),
            after: after.map(Into::into),
            among: None,
            limit,
        };
        store.reader().devices(&query).unwrap()
    };
    let names = |search: &str, after, limit| -> Vec<String> {
        let found = asked(search, after, limit);
        found.iter().map(|device| device.device.to_string()).collect()
    };
    assert_eq!(names("", None, 10), ["Dev-10", "dev-2", "é-DEV"]);
    assert_eq!(names("dEv-", None, 10), ["Dev-10", "dev-2"]);
    assert_eq!(names("", Some("Dev-10"), 1), ["dev-2"]);
    assert_eq!(names("%", None, 10), [""; 0]);
    let second = &asked("dev-2", None, 1)[0];
    assert_eq!(second.metrics, ["a".into(), "b".into()]);
    assert_eq!(second.latest, rows[1].window_start);
}

#[test]
fn dead_letters_are_read_the_latest_first_and_the_oldest_leave() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = SqliteSettings {
        letters_ms: FOR_EVER.as_millis(),
        letter_bytes_max: 250_000,
        ..settings(folder.path(), 0)
    };
    let letter = |offset: i64| Reject {
        partition: Partition(7),
        offset: Offset(offset),
        log_time: None,
        reason: if offset % 2 == 0 {
            Reason::Schema
        } else {
            Reason::Future
        },
        detail: String::new(),
        key: None,
        payload: vec![0; 10_000],
    };
    let some = |settings: &SqliteSettings, from: i64| {
        let mut sink = open(settings).dead_letters(Parts::all(), &[]);
        sink.deliver(&delivery(1, 1, (from..from + 10).map(letter).collect()))
            .unwrap();
    };
    some(&settings, 0);
    some(&settings, 5);
    let asked = |settings: &SqliteSettings, reason, before, limit| {
        let query = LetterQuery { reason, before, limit };
        open(settings).letters().letters(&query).unwrap()
    };
    let found = asked(&settings, None, None, 3);
    let offsets: Vec<i64> = found.iter().map(|letter| letter.offset.0).collect();
    assert_eq!(offsets, [14, 13, 12]);
    assert_eq!(found[0].partition, "7");
    assert_eq!(asked(&settings, None, Some(found[2].number), 1)[0].offset, Offset(11));
    assert_eq!(
        asked(&settings, Some(Reason::Schema), Some(found[0].number), 1)[0].offset,
        Offset(12)
    );
    assert_eq!(asked(&settings, None, None, 100).len(), 15, "each record once");
    for from in [20, 40, 60] {
        some(&settings, from);
    }
    let left = asked(&settings, None, None, 100);
    assert!(
        (20..=24).contains(&left.len()) && left[0].offset.0 == 69,
        "{}",
        left.len()
    );
    settings.letters_ms = -1;
    some(&settings, 60);
    assert_eq!(asked(&settings, None, None, 100), []);
}
