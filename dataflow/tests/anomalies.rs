//! The life of an anomaly: what readings in and out of their order make of it, and what a restart without its rule.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::Msg;
use common::script::{Growing, HandClock, Put, Run};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tidewatch_dataflow::checkpoint::file::{decode, encode};
use tidewatch_dataflow::{EngineConfig, Restored};
use tidewatch_proto::anomaly::{DeadMan, Detector, Field, Rule, Severity, Threshold};
use tidewatch_proto::ids::Epoch;

/// The beginning of an hour.
const START: i64 = 1_750_003_200_000;

fn hot(above: f64) -> Rule {
    Rule {
        name: "hot".into(),
        severity: Severity::Critical,
        detector: Detector::Threshold(Threshold {
            metric: "t".into(),
            of: Field::Mean,
            above: Some(above),
            below: None,
            hysteresis: 5.0,
            windows: 1,
        }),
    }
}

fn silent() -> Rule {
    Rule {
        name: "silent".into(),
        severity: Severity::Warning,
        detector: Detector::DeadMan(DeadMan { minutes: 3 }),
    }
}

fn config(rules: &[Rule]) -> EngineConfig {
    EngineConfig {
        journal: true,
        border_epochs: 1,
        correction_interval_ms: 100,
        rules: rules.into(),
        ..EngineConfig::default()
    }
}

fn start(log: &Arc<Growing>, epoch: u64, rules: &[Rule], restored: Option<Restored>) -> Run {
    let clock = Arc::new(HandClock::default());
    clock.epoch.store(epoch, Ordering::SeqCst);
    Run::start(log.clone(), clock, &config(rules), restored)
}

/// Reads a message at a time, given by seconds since the start, device and value; gives what each brings.
fn read(run: &mut Run, messages: &[(i64, &str, f64)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, device, value) in messages {
        let offset = run.log.records.lock().unwrap()[0].len() as i64;
        let payload = Msg::new(device, START + at * 1_000, &[("t", *value)]).bytes();
        let log = None;
        run.put(0, Put { offset, log, payload });
        run.tick(1);
        lines.extend(found(run));
    }
    lines
}

/// What was found since the last call.
fn found(run: &mut Run) -> Vec<String> {
    let shown = run.anomalies.drain(..).map(|(_, one)| {
        let seconds = |at: i64| (at - START) / 1_000;
        let ended = one.ended_at.map_or("on".to_owned(), |end| seconds(end.0).to_string());
        let observed = one.observed().map_or(String::new(), |value| format!(" {value}"));
        let (rule, device, status) = (&one.rule, &one.device, one.status.as_str());
        format!(
            "{rule} {device} {}..{ended} {status}{observed}",
            seconds(one.started_at.0)
        )
    });
    shown.collect()
}

#[test]
fn it_is_raised_grows_and_is_cleared() {
    let mut run = start(&Growing::new(1), 100, &[hot(50.0)], None);
    let brought = read(
        &mut run,
        &[
            (0, "d", 10.0),
            (60, "d", 51.0),
            (120, "d", 60.0),
            (180, "d", 55.0),
            // Not clear of the limit by five.
            (240, "d", 47.0),
            (300, "d", 44.0),
            (360, "d", 10.0),
            (420, "d", 10.0),
        ],
    );
    let expected = [
        "hot d 60..on raised 51",
        "hot d 60..on raised 60",
        "hot d 60..300 cleared 60",
    ];
    assert_eq!(brought, expected);
    run.finish();
}

#[test]
fn late_readings_withdraw_it_raise_it_afterwards_and_divide_it() {
    let mut run = start(&Growing::new(1), 100, &[hot(50.0)], None);
    let brought = read(
        &mut run,
        &[(60, "d", 60.0), (120, "d", 60.0), (180, "d", 10.0), (260, "d", 10.0)],
    );
    assert_eq!(brought, ["hot d 60..on raised 60", "hot d 60..180 cleared 60"]);
    // The mean of the second minute falls below the limit.
    assert_eq!(read(&mut run, &[(121, "d", 0.0)]), ["hot d 60..120 cleared 60"]);
    assert_eq!(read(&mut run, &[(61, "d", 0.0)]), ["hot d 60..120 withdrawn 60"]);
    // A minute in between that nobody had heard of.
    assert_eq!(read(&mut run, &[(10, "d", 90.0)]), ["hot d 0..60 cleared 90"]);
    assert_eq!(read(&mut run, &[(62, "d", 200.0)]), ["hot d 0..120 cleared 90"]);
    run.finish();
}

#[test]
fn a_device_is_silent_until_it_is_heard_also_late() {
    let mut run = start(&Growing::new(1), 100, &[silent()], None);
    let brought = read(&mut run, &[(0, "a", 1.0), (10, "b", 1.0), (270, "b", 1.0)]);
    assert_eq!(brought, ["silent a 60..on raised", "silent b 60..on raised"]);
    assert_eq!(
        read(&mut run, &[(310, "b", 1.0), (370, "b", 1.0)]),
        ["silent b 60..240 cleared"]
    );
    // It was heard in the meantime.
    assert_eq!(
        read(&mut run, &[(70, "a", 1.0)]),
        ["silent a 60..on withdrawn", "silent a 120..on raised"]
    );
    assert_eq!(read(&mut run, &[(190, "b", 1.0)]), ["silent b 60..240 withdrawn"]);
    run.finish();
}

#[test]
fn it_goes_on_over_a_restart_and_ends_with_its_rule() {
    let log = Growing::new(1);
    let mut run = start(&log, 100, &[hot(50.0), silent()], None);
    let brought = read(&mut run, &[(0, "a", 1.0), (60, "d", 60.0), (290, "d", 60.0)]);
    assert_eq!(brought, ["silent a 60..on raised", "hot d 60..on raised 60"]);
    let through = Epoch(run.through_all());
    let (manifest, segment) = encode(&run.saved(through));
    run.stop();
    let go_on = |rules: &[Rule]| {
        let saved = decode(&manifest, &segment).unwrap();
        let restored = saved.into_restored(&log.names, &config(rules)).unwrap();
        start(&log, through.0 + 1, rules, Some(restored))
    };
    let mut same = go_on(&[hot(50.0), silent()]);
    same.tick(1);
    assert_eq!(found(&mut same), [""; 0]);
    same.stop();
    // A rule that has changed is another.
    let mut other = go_on(&[hot(55.0), silent()]);
    other.tick(1);
    assert_eq!(found(&mut other), ["hot d 60..240 cleared 60"]);
    let (manifest, segment) = encode(&other.stop());
    let saved = decode(&manifest, &segment).unwrap();
    let restored = saved.into_restored(&log.names, &config(&[])).unwrap();
    let mut none = start(&log, through.0 + 100, &[], Some(restored));
    none.tick(1);
    assert_eq!(found(&mut none), ["silent a 60..240 cleared"]);
    none.stop();
}
