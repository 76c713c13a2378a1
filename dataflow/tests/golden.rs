//! A checkpoint that was written once and is kept: it is restored for ever, and what comes of it is known row by row.
//!
//! `tests/golden/format-N` is of format N and is never written again. `TIDEWATCH_UPDATE=1 cargo test -p
//! tidewatch-dataflow --test golden` makes the one of a new format, and `rows.txt` anew: read the difference.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::Msg;
use common::script::{Growing, HandClock, Put, Run};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_dataflow::checkpoint::file::{decode, encode};
use tidewatch_dataflow::checkpoint::{FORMAT_VERSION, Part};
use tidewatch_dataflow::{EngineConfig, Saved};
use tidewatch_proto::anomaly::{Anomaly, DeadMan, Detector, Field, Rule, Severity, Threshold};
use tidewatch_proto::ids::Epoch;
use tidewatch_proto::row::Row;

const UPDATE: &str = "TIDEWATCH_UPDATE";
/// The beginning of an hour.
const START: i64 = 1_750_003_200_000;
/// How many records of each partition the checkpoint has behind it.
const BEHIND: [i64; 2] = [41, 5];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn config(threads: usize) -> EngineConfig {
    EngineConfig {
        threads,
        journal: true,
        border_epochs: 1,
        // A correction waits until somebody stops it.
        correction_interval_ms: 600_000,
        rules: rules(),
        ..EngineConfig::default()
    }
}

/// One of them has found something when the checkpoint is made, which a late reading then takes back.
fn rules() -> Arc<[Rule]> {
    let hot = Detector::Threshold(Threshold {
        metric: "temperature".into(),
        of: Field::Mean,
        above: Some(29.0),
        below: None,
        hysteresis: 1.0,
        windows: 1,
    });
    let rule = |name: &str, detector| Rule {
        name: name.into(),
        severity: Severity::Critical,
        detector,
    };
    let silent = Detector::DeadMan(DeadMan { minutes: 10 });
    Arc::new([rule("hot", hot), rule("silent", silent)])
}

fn at(ms: i64, device: &str, metrics: &[(&str, f64)]) -> Vec<u8> {
    Msg::new(device, START + ms, metrics).bytes()
}

/// A kiln, read every two seconds.
fn kiln(n: i64) -> Vec<u8> {
    at(
        n * 2_000,
        "kiln",
        &[("pressure", n as f64), ("temperature", 20.0 + n as f64 / 2.0)],
    )
}

/// What the checkpoint has seen: a closed minute, an open one and a late reading of a kiln; an hour of a pump that is
/// over and one that isn't; a record that is no telemetry.
fn behind() -> [Vec<Vec<u8>>; 2] {
    let mut first: Vec<Vec<u8>> = (0..40).map(kiln).collect();
    first.push(at(10_500, "kiln", &[("temperature", 99.0)]));
    let second = vec![
        at(-120_000, "pump", &[("flow", 1.0)]),
        at(-60_000, "pump", &[("flow", 2.0)]),
        at(0, "pump", &[("flow", 3.0)]),
        b"\xff\xffthis is no telemetry".to_vec(),
        at(30_000, "pump", &[("flow", 4.0)]),
    ];
    [first, second]
}

/// What comes then: a message again, the rest of the open minute, another late reading, the end of the pump's hour.
fn ahead() -> [Vec<Vec<u8>>; 2] {
    let first = vec![
        kiln(39),
        kiln(40),
        at(20_500, "kiln", &[("temperature", -1.0)]),
        at(131_000, "kiln", &[("temperature", 50.0)]),
    ];
    [first, vec![at(3_700_000, "pump", &[("flow", 5.0)])]]
}

/// Reads records, an epoch each.
fn read(run: &mut Run, records: [Vec<Vec<u8>>; 2], from: [i64; 2]) {
    for (partition, (list, from)) in records.into_iter().zip(from).enumerate() {
        for (offset, payload) in (from..).zip(list) {
            run.put(
                partition,
                Put {
                    offset,
                    log: None,
                    payload,
                },
            );
            run.tick(1);
        }
    }
    run.tick(1);
}

fn start(epoch: u64, threads: usize, restored: Option<tidewatch_dataflow::Restored>) -> Run {
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(epoch, Ordering::SeqCst);
    Run::start(Growing::new(2), clock, &config(threads), restored)
}

/// The checkpoint, with all that sinks were to get still to deliver.
fn make() -> Saved {
    let mut run = start(100, 2, None);
    read(&mut run, behind(), [0, 0]);
    let mut saved = run.saved(Epoch(run.through_all()));
    saved.meta.delivered = Epoch(0);
    let rows = run.rows.drain(..).map(|(epoch, row)| Part::Rows(epoch, vec![row]));
    saved.parts.extend(rows);
    let rejects = run
        .rejects
        .drain(..)
        .map(|(epoch, reject)| Part::Rejects(epoch, vec![reject]));
    saved.parts.extend(rejects);
    let anomalies = run
        .anomalies
        .drain(..)
        .map(|(epoch, anomaly)| Part::Anomalies(epoch, vec![anomaly]));
    saved.parts.extend(anomalies);
    run.stop();
    saved
}

fn show<'a>(title: &str, rows: impl Iterator<Item = &'a Row>) -> String {
    let shown = rows.map(|row| {
        let (from, to) = ((row.window_start.0 - START) / 1_000, (row.window_end.0 - START) / 1_000);
        let head = format!(
            "{} {} {} {from}s..{to}s {:?}",
            row.job.as_str(),
            row.key,
            row.metric,
            row.status
        );
        format!("{head} {:?}\n", row.values)
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort_unstable();
    format!("{title}\n{}\n", shown.concat())
}

fn show_anomalies<'a>(anomalies: impl Iterator<Item = &'a Anomaly>) -> String {
    let shown = anomalies.map(|one| {
        let ended = one.ended_at.map(|end| (end.0 - START) / 1_000);
        let started = (one.started_at.0 - START) / 1_000;
        let (rule, device, metric) = (&one.rule, &one.device, &one.metric);
        format!(
            "{rule} {device} {metric:?} {started}s..{ended:?} {:?} {:?}\n",
            one.status, one.evidence
        )
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort_unstable();
    format!("anomalies:\n{}\n", shown.concat())
}

/// What comes of a checkpoint: what it had still to deliver, then the rows of what is read next.
fn comes_of(saved: Saved, threads: usize) -> String {
    let names = saved.meta.partition_names.clone();
    let epoch = saved.meta.epoch;
    let mut restored = saved.into_restored(&names, &config(threads)).unwrap();
    let outbox = std::mem::take(&mut restored.outbox);
    let next: Vec<i64> = restored.positions.iter().map(|position| position.next.0).collect();
    assert_eq!(next, BEHIND);
    let mut text = show("to deliver:", outbox.rows.values().flatten());
    text += "dead letters:\n";
    for reject in outbox.rejects.values().flatten() {
        let bytes = String::from_utf8_lossy(&reject.payload);
        let _ = writeln!(
            text,
            "{}@{} {:?} {bytes:?}",
            reject.partition.0, reject.offset.0, reject.reason
        );
    }
    text += &show_anomalies(outbox.anomalies.values().flatten());
    let mut run = start(epoch.0 + 1, threads, Some(restored));
    read(&mut run, ahead(), BEHIND);
    run.stop();
    assert_eq!(run.errors, Vec::<String>::new());
    assert_eq!(run.handle.stats.duplicates.get(), 1, "the message that came again");
    assert!(run.rows.iter().all(|(_, row)| row.revision > epoch), "revisions grow");
    let rows = show("then:", run.rows.iter().map(|(_, row)| row));
    text + &rows + &show_anomalies(run.anomalies.iter().map(|(_, anomaly)| anomaly))
}

#[test]
fn a_checkpoint_of_each_format_is_gone_on_from() {
    let current = folder().join(format!("format-{FORMAT_VERSION}"));
    if std::env::var_os(UPDATE).is_some() && !current.is_dir() {
        let (manifest, segment) = encode(&make());
        std::fs::create_dir(&current).unwrap();
        std::fs::write(current.join("manifest"), manifest).unwrap();
        std::fs::write(current.join("segment"), segment).unwrap();
    }
    let hint = format!("there is no checkpoint of format {FORMAT_VERSION}: run this with {UPDATE}=1");
    assert!(current.is_dir(), "{hint}");
    let expected = folder().join("rows.txt");
    let mut formats = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let format = entry.unwrap().path();
        if !format.is_dir() {
            continue;
        }
        formats += 1;
        let [manifest, segment] = ["manifest", "segment"].map(|name| std::fs::read(format.join(name)).unwrap());
        assert!(manifest.len() + segment.len() < 100_000, "it is small");
        for threads in [1, 2] {
            let found = comes_of(decode(&manifest, &segment).unwrap(), threads);
            if std::env::var_os(UPDATE).is_some() {
                std::fs::write(&expected, &found).unwrap();
            }
            let expected = std::fs::read_to_string(&expected).unwrap();
            assert_eq!(found, expected, "{}, {threads} threads", format.display());
        }
    }
    assert!(formats > 0);
}
