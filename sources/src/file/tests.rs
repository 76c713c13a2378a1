//! The files as a source: the conformance suite over all formats, and what is special about them.

use super::FileFactory;
use crate::conformance::{Collected, Seen, Subject, check};
use crate::encode;
use crate::file::{FileConfig, FileFormat};
use prost::encoding::encode_varint;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::reject::Reason;
use tidewatch_proto::source::{Assignment, Polled, SourceFactory};
use tidewatch_proto::time::EventTime;

fn message(n: i64) -> Vec<u8> {
    let mut payload = Vec::new();
    encode::head(&mut payload, &format!("dev-{}", n % 7), EventTime(1_000 * n));
    encode::metric(&mut payload, "t", n as f64 / 8.0);
    payload
}

fn seen(offset: i64, payload: Vec<u8>, unusable: Option<Reason>) -> Seen {
    Seen {
        offset: Offset(offset),
        log_time: None,
        key: None,
        payload,
        headers: Vec::new(),
        unusable,
    }
}

fn csv_line(n: i64) -> String {
    format!("dev-{},{},t,{}", n % 7, 1_000 * n, n as f64 / 8.0)
}

fn json_line(n: i64) -> String {
    format!(
        r#"{{"device_id":"dev-{}","ts":{},"metrics":{{"t":{}}}}}"#,
        n % 7,
        1_000 * n,
        n as f64 / 8.0
    )
}

/// A text of `count` lines with some blank and some broken ones, and what must be read from it.
fn text(count: i64, header: Option<&str>, line: fn(i64) -> String) -> (String, Vec<Seen>) {
    let mut text = header.map_or(String::new(), |header| format!("{header}\n"));
    let first = i64::from(header.is_some());
    let mut expected = Vec::new();
    for n in 0..count {
        match n % 11 {
            3 => text.push('\n'),
            6 => {
                text.push_str("{broken\n");
                expected.push(seen(first + n, b"{broken".to_vec(), Some(Reason::Schema)));
            }
            _ => {
                text.push_str(&line(n));
                text.push('\n');
                expected.push(seen(first + n, message(n), None));
            }
        }
    }
    (text, expected)
}

fn delimited(count: i64) -> (Vec<u8>, Vec<Seen>) {
    let mut bytes = Vec::new();
    for n in 0..count {
        encode_varint(message(n).len() as u64, &mut bytes);
        bytes.extend(message(n));
    }
    (bytes, (0..count).map(|n| seen(n, message(n), None)).collect())
}

fn factory(paths: &[PathBuf]) -> FileFactory {
    FileFactory::new(
        FileConfig {
            paths: paths.to_vec(),
            ..FileConfig::default()
        }
        .resolve()
        .unwrap(),
    )
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn conforms() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, csv_expected) = text(100, Some("device_id,ts,metric,value"), csv_line);
    let (json, json_expected) = text(70, None, json_line);
    let (protobuf, protobuf_expected) = delimited(40);
    let paths = [
        write(folder.path(), "a.csv", csv),
        write(folder.path(), "b.jsonl", json),
        write(folder.path(), "c.pb", protobuf),
        write(folder.path(), "d.json", ""),
    ];
    let expected = [csv_expected, json_expected, protobuf_expected, Vec::new()];
    check(&Subject {
        factory: &factory(&paths),
        expected: &expected,
        ends: true,
    });
}

#[test]
fn a_pipe_is_read_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.jsonl");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Opened for both ends, so that opening it doesn't wait for the other one.
    let mut writer = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut source = factory(&[path])
        .open(&[Assignment {
            partition: Partition(0),
            from: None,
        }])
        .unwrap();
    let mut intake = Collected::new(1);
    assert_eq!(source.poll(&mut intake, 10).unwrap(), Polled::Idle);
    std::io::Write::write_all(
        &mut writer,
        format!("{}\n{}", json_line(1), &json_line(2)[..9]).as_bytes(),
    )
    .unwrap();
    while intake.total() == 0 {
        source.poll(&mut intake, 10).unwrap();
    }
    assert_eq!(
        source.poll(&mut intake, 10).unwrap(),
        Polled::Idle,
        "half a line is none"
    );
    std::io::Write::write_all(&mut writer, &json_line(2).as_bytes()[9..]).unwrap();
    drop(writer);
    while source.poll(&mut intake, 10).unwrap() != Polled::Finished {}
    assert_eq!(
        intake.partitions[0],
        [seen(0, message(1), None), seen(1, message(2), None)]
    );
}

#[test]
fn the_detail_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        folder.path(),
        "a.csv",
        format!("device_id,ts,metric,value\n{}\na,b,c,d\n", csv_line(1)),
    );
    let mut source = factory(&[path])
        .open(&[Assignment {
            partition: Partition(0),
            from: None,
        }])
        .unwrap();
    let mut intake = Collected::new(1);
    while source.poll(&mut intake, 10).unwrap() != Polled::Finished {}
    assert_eq!(intake.details, ["line 3: `b` is no time"]);
    assert_eq!(intake.lags, [Some(0)]);
}

#[test]
fn a_file_that_became_shorter_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.jsonl", format!("{}\n", json_line(1)));
    let from = Some(Offset(5));
    let mut source = factory(std::slice::from_ref(&path))
        .open(&[Assignment {
            partition: Partition(0),
            from,
        }])
        .unwrap();
    let error = source.poll(&mut Collected::new(1), 10).unwrap_err().to_string();
    let expected = "line 2: the file ends here, but reading was to go on at 6; was it replaced?";
    assert_eq!(error, format!("{}, {expected}", path.display()));
}

#[test]
fn records_wait_until_they_are_due() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, expected) = delimited(30);
    let path = write(folder.path(), "a", bytes);
    for (rate, speed) in [(Some(10.0), None), (None, Some(10.0))] {
        let format = Some(FileFormat::Delimited);
        let config = FileConfig {
            paths: vec![path.clone()],
            format,
            rate,
            speed,
            ..FileConfig::default()
        };
        let now = Arc::new(AtomicI64::new(1_000_000));
        let clock = {
            let now = Arc::clone(&now);
            Arc::new(move || now.load(Ordering::Relaxed))
        };
        let factory = FileFactory::with_clock(config.resolve().unwrap(), clock);
        let mut source = factory
            .open(&[Assignment {
                partition: Partition(0),
                from: None,
            }])
            .unwrap();
        let mut intake = Collected::new(1);
        let mut due = |now_ms: i64| {
            now.store(now_ms, Ordering::Relaxed);
            while source.poll(&mut intake, 4).unwrap() == Polled::Some {}
            intake.total()
        };
        // The records are a second of event time apart, so ten times as fast is ten a second, too.
        assert_eq!(
            [
                due(1_000_000),
                due(1_000_099),
                due(1_000_100),
                due(1_001_000),
                due(1_009_000)
            ],
            [1, 1, 2, 11, 30]
        );
        assert_eq!(intake.partitions[0], expected);
    }
}
