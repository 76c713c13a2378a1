//! Tables: each file in `flows/` is a script with what it yields. `TIDEWATCH_UPDATE=1` writes what it yields now.
//!
//! Times are `[h:]mm:ss[.mmm]` after 2025-06-15 16:00 UTC. A line that begins with `|` is output. Commands:
//!
//! * `config key=value ...`, `partitions n`: before the first other command
//! * `put PARTITION DEVICE TIME [log=TIME] [offset=N] [raw=BYTES] [many=N:PREFIX] [METRIC=VALUE ...]`; a name
//!   `x*20` is twenty times x
//! * `bytes PARTITION HEX`: a record of just these bytes
//! * `tick N`: so many epochs go by; `wall TIME`: the wall clock now
//! * `place|unplace DEVICE SITE FLEET FROM [TO]`, `rollup LEVEL`, `unrollup LEVEL`
//! * `peek DEVICE METRIC`, `show`: rows, dead letters and counters since the last time; `idle`: the partitions
//!   whose gauge says so
//! * `watch EVERY_MS JOB ...`, `pushed`: the last of each open window that was pushed since the last time
//! * `finish`: the input ends, and so does the run; `stop`, then `restart THREADS`
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use common::script::{HandClock, Put, Run};
use common::{Msg, script::Growing};
use prost::Message as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidewatch_dataflow::rollup::Level;
use tidewatch_dataflow::{EngineConfig, Live, Saved, Watch};
use tidewatch_proto::calendar::Calendar;
use tidewatch_proto::ids::Name;
use tidewatch_proto::registry::{Placement, RegistryChange};
use tidewatch_proto::row::{Job, Row};
use tidewatch_proto::time::EventTime;
use tidewatch_proto::wire::Telemetry;

const START: i64 = 1_750_003_200_000;

/// One script at work.
struct Flow {
    config: EngineConfig,
    partitions: usize,
    run: Option<Run>,
    saved: Option<Saved>,
    payloads: Vec<(usize, i64, Vec<u8>)>,
    counters: Vec<(&'static str, u64)>,
    shown: (usize, usize),
    live: Option<Live>,
}

#[test]
fn every_flow_yields_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let update = std::env::var_os("TIDEWATCH_UPDATE").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let script = std::fs::read_to_string(&file).unwrap();
        println!("{}", file.display());
        let yields = check(&script);
        if update {
            std::fs::write(&file, yields).unwrap();
        } else if yields != script {
            wrong.push(format!("{}:\n{}", file.display(), difference(&script, &yields)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(want: &str, got: &str) -> String {
    let missing = want
        .lines()
        .filter(|l| !got.lines().any(|g| g == *l))
        .map(|l| format!("- {l}\n"));
    let more = got
        .lines()
        .filter(|l| !want.lines().any(|w| w == *l))
        .map(|l| format!("+ {l}\n"));
    missing.chain(more).collect()
}

/// Runs a script and gives it back with what it yields now.
fn check(script: &str) -> String {
    let config = EngineConfig {
        five_minutes: false,
        hour: false,
        day: false,
        // A tick may be of many epochs without holding the source back.
        epochs_ahead_max: 1_000,
        ..EngineConfig::default()
    };
    let mut flow = Flow {
        config,
        partitions: 1,
        run: None,
        saved: None,
        payloads: Vec::new(),
        counters: Vec::new(),
        shown: (0, 0),
        live: None,
    };
    let mut text = String::new();
    for line in script.lines().filter(|line| !line.starts_with('|')) {
        text.push_str(line);
        text.push('\n');
        let words: Vec<&str> = line.split('#').next().unwrap_or("").split_whitespace().collect();
        if let Some((command, arguments)) = words.split_first() {
            text.push_str(&flow.obey(command, arguments));
        }
    }
    if let Some(run) = flow.run.as_mut().filter(|run| !run.log.finished.load(Ordering::SeqCst)) {
        run.finish();
        assert_eq!(run.errors, Vec::<String>::new(), "{script}");
    }
    text
}

impl Flow {
    fn obey(&mut self, command: &str, arguments: &[&str]) -> String {
        match (command, arguments) {
            ("config", list) => list.iter().for_each(|item| set(&mut self.config, item)),
            ("partitions", [n]) => self.partitions = n.parse().unwrap(),
            ("put", [partition, device, at, more @ ..]) => self.put(partition.parse().unwrap(), device, at, more),
            ("bytes", [partition, hex]) => {
                let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                let payload = (0..hex.len()).step_by(2).map(byte).collect();
                self.record(partition.parse().unwrap(), None, None, payload);
            }
            ("tick", [n]) => self.run().tick(n.parse().unwrap()),
            ("wall", [at]) => self.run().clock.wall_ms.store(time(at), Ordering::SeqCst),
            ("place", list) => self.run().handle.change_registry(RegistryChange {
                added: vec![placement(list)],
                removed: Vec::new(),
            }),
            ("unplace", list) => self.run().handle.change_registry(RegistryChange {
                removed: vec![placement(list)],
                added: Vec::new(),
            }),
            ("rollup", [name]) => self.run().handle.start_rollup(level(name)),
            ("unrollup", [name]) => self.run().handle.stop_rollup(level(name)),
            ("peek", [device, metric]) => {
                let rows = self.run().handle.peek(device, metric, Duration::from_secs(10)).unwrap();
                return rows.iter().map(show).collect();
            }
            ("watch", [every, jobs @ ..]) => {
                let watch = Watch {
                    jobs: jobs.iter().map(|name| job(name)).collect(),
                    every_ms: every.parse().unwrap(),
                    ..Watch::default()
                };
                self.live = Some(self.run().handle.watch(watch));
                self.run().tick(1);
            }
            ("watch_only", [devices, every, jobs @ ..]) => {
                let watch = Watch {
                    jobs: jobs.iter().map(|name| job(name)).collect(),
                    devices: Some(Arc::new(devices.split(',').map(Name::from).collect())),
                    every_ms: every.parse().unwrap(),
                    ..Watch::default()
                };
                self.live = Some(self.run().handle.watch(watch));
                self.run().tick(1);
            }
            ("pushed", []) => return self.pushed(),
            ("show", []) => return self.show(),
            ("idle", []) => {
                let stats = self.run().handle.stats.clone();
                let partitions = stats.partitions.iter().enumerate();
                let idle: String = partitions
                    .filter(|(_, partition)| partition.idle.get() == 1)
                    .map(|(number, _)| format!(" {number}"))
                    .collect();
                return format!("| idle{idle}\n");
            }
            ("finish", []) => {
                self.run().finish();
                assert_eq!(self.run().errors, Vec::<String>::new());
                return self.show();
            }
            ("stop", []) => {
                self.saved = Some(self.run().stop());
                return self.show();
            }
            ("restart", [threads]) => self.restart(threads.parse().unwrap()),
            _ => panic!("what is {command} {arguments:?}?"),
        }
        String::new()
    }

    fn run(&mut self) -> &mut Run {
        let (config, partitions) = (&self.config, self.partitions);
        self.run.get_or_insert_with(|| {
            let clock = HandClock::default();
            clock.epoch.store(100, Ordering::SeqCst);
            clock.wall_ms.store(START, Ordering::SeqCst);
            let mut run = Run::start(Growing::new(partitions), Arc::new(clock), config, None);
            run.tick(1);
            run
        })
    }

    fn restart(&mut self, threads: usize) {
        let before = self.run.take().unwrap();
        self.config.threads = threads;
        let restored = self
            .saved
            .take()
            .unwrap()
            .into_restored(&before.log.names, &self.config)
            .unwrap();
        before.clock.epoch.fetch_add(10, Ordering::SeqCst);
        let mut run = Run::start(before.log.clone(), before.clock.clone(), &self.config, Some(restored));
        run.tick(1);
        self.run = Some(run);
        (self.counters, self.shown) = (Vec::new(), (0, 0));
    }

    fn put(&mut self, partition: usize, device: &str, at: &str, more: &[&str]) {
        let (mut log, mut offset, mut raw) = (None, None, Vec::new());
        let mut msg = Msg {
            device: name(device),
            ts: time(at),
            log: None,
            metrics: Vec::new(),
        };
        for (key, value) in more.iter().map(|item| item.rsplit_once('=').unwrap()) {
            match key {
                "log" => log = Some(time(value)),
                "offset" => offset = Some(value.parse().unwrap()),
                "raw" => raw = vec![7; value.parse().unwrap()],
                "many" => {
                    let (count, prefix) = value.split_once(':').unwrap();
                    let count: usize = count.parse().unwrap();
                    msg.metrics
                        .extend((0..count).map(|n| (format!("{prefix}{n}"), n as f64)));
                }
                metric => msg.metrics.push((name(metric), value.parse().unwrap())),
            }
        }
        let mut telemetry = Telemetry::decode(msg.bytes().as_slice()).unwrap();
        telemetry.raw = raw;
        self.record(partition, log, offset, telemetry.encode_to_vec());
    }

    fn record(&mut self, partition: usize, log: Option<i64>, offset: Option<i64>, payload: Vec<u8>) {
        let next = self.payloads.iter().filter(|p| p.0 == partition).map(|p| p.1 + 1).max();
        let offset = offset.unwrap_or(next.unwrap_or(0));
        self.payloads.push((partition, offset, payload.clone()));
        self.run().put(partition, Put { offset, log, payload });
    }

    fn pushed(&mut self) -> String {
        let live = self.live.as_ref().unwrap();
        let mut last = BTreeMap::new();
        while let Ok(list) = live.recv_timeout(Duration::ZERO) {
            for row in list.into_rows() {
                last.insert((row.job, row.key.clone(), row.metric.clone(), row.window_start), row);
            }
        }
        if last.is_empty() {
            return "| nothing\n".into();
        }
        last.values().map(show).collect()
    }

    fn show(&mut self) -> String {
        let counters = self.counters();
        let before = std::mem::replace(&mut self.counters, counters.clone());
        let run = self.run.as_mut().unwrap();
        let mut rows: Vec<&Row> = run.rows[self.shown.0..].iter().map(|(_, row)| row).collect();
        rows.sort_by_key(|row| {
            (
                row.job,
                row.key.clone(),
                row.metric.clone(),
                row.window_start,
                row.revision,
            )
        });
        let mut text: String = rows.into_iter().map(show).collect();
        let mut dead: Vec<_> = run.rejects[self.shown.1..].iter().map(|(_, reject)| reject).collect();
        dead.sort_by_key(|reject| (reject.partition, reject.offset));
        for reject in dead {
            let same = |p: &&(usize, i64, Vec<u8>)| (p.0, p.1) == (reject.partition.index(), reject.offset.0);
            let payload = self.payloads.iter().find(same).is_some_and(|p| p.2 == reject.payload);
            let bytes = if payload { "with its bytes" } else { "re-encoded" };
            let (reason, detail) = (reject.reason.as_str(), &reject.detail);
            writeln!(
                text,
                "| dead {}@{} {reason} {bytes}: {detail}",
                reject.partition, reject.offset
            )
            .unwrap();
        }
        self.shown = (run.rows.len(), run.rejects.len());
        let moved = |(at, (name, value)): (usize, &(&str, u64))| {
            let by = value - before.get(at).map_or(0, |b| b.1);
            (by > 0).then(|| format!(" {name}+{by}"))
        };
        let moved: String = counters.iter().enumerate().filter_map(moved).collect();
        writeln!(text, "| counters{moved}").unwrap();
        text
    }

    fn counters(&mut self) -> Vec<(&'static str, u64)> {
        let stats = &self.run().handle.stats;
        vec![
            ("messages", stats.messages.get()),
            ("readings", stats.readings.get()),
            ("late", stats.late.get()),
            ("duplicates", stats.duplicates.get()),
            ("dead", stats.dead_letters_total()),
            ("final", stats.rows_final.get()),
            ("corrected", stats.rows_corrected.get()),
            ("missed", stats.rollup_panes_missed.get()),
        ]
    }
}

fn set(config: &mut EngineConfig, item: &str) {
    let (key, value) = item.split_once('=').unwrap();
    let number = || value.parse::<i64>().unwrap();
    match key {
        "threads" => config.threads = number() as usize,
        "lateness_ms" => config.lateness_ms = number(),
        "horizon_ms" => config.correction_horizon_ms = number(),
        "age_max_ms" => config.age_max_ms = Some(number()),
        "epochs_ahead_max" => config.epochs_ahead_max = number() as u64,
        "drop_duplicates" => config.drop_duplicates = value == "true",
        "five_minutes" => config.five_minutes = value == "true",
        "hour" => config.hour = value == "true",
        "day" => config.day = value == "true",
        "ahead" => config.calendar = Arc::new(Calendar::new(number() as i32, [])),
        "stored" => config.stored_ms = (value == "true").then_some(i64::MAX),
        "series_per_worker_max" => config.limits.series_per_worker_max = number() as usize,
        "correction_bytes_max" => config.correction_bytes_max = number() as usize,
        _ => panic!("no setting {key}"),
    }
}

fn name(word: &str) -> String {
    match word.split_once('*') {
        Some((part, times)) => part.repeat(times.parse().unwrap()),
        None => word.replace("\\n", "\n"),
    }
}

fn job(name: &str) -> Job {
    let all = [Job::Minute, Job::FiveMinutes, Job::Hour, Job::Day];
    all.into_iter().find(|job| job.as_str() == name).unwrap()
}

fn level(name: &str) -> Level {
    if name == "site" { Level::Site } else { Level::Fleet }
}

fn placement(words: &[&str]) -> Placement {
    Placement {
        device: words[0].into(),
        site: words[1].into(),
        fleet: words[2].into(),
        from: EventTime(time(words[3])),
        to: words.get(4).map(|to| EventTime(time(to))),
    }
}

fn time(word: &str) -> i64 {
    let (sign, word) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    let (whole, ms) = word.split_once('.').unwrap_or((word, "0"));
    let seconds = whole
        .split(':')
        .fold(0, |total, part| total * 60 + part.parse::<i64>().unwrap());
    START + sign * (seconds * 1_000 + ms.parse::<i64>().unwrap())
}

fn clock(at: EventTime) -> String {
    let minutes = (at.0 - START).div_euclid(60_000);
    let sign = if minutes < 0 { "-" } else { "" };
    format!("{sign}{}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

fn show(row: &Row) -> String {
    let Row {
        job,
        key,
        metric,
        values: v,
        ..
    } = row;
    let (job, status, start) = (job.as_str(), row.status.as_str(), clock(row.window_start));
    let short = |name: &str| {
        if name.len() > 20 {
            format!("{}..{}", &name[..4], name.len())
        } else {
            name.into()
        }
    };
    let mut text = format!(
        "| {job} {} {} {start} {status} n={} sum={}",
        short(key),
        short(metric),
        v.count,
        v.sum
    );
    for (name, value) in [("min", v.min), ("max", v.max), ("first", v.first), ("last", v.last)] {
        value
            .into_iter()
            .for_each(|value| write!(text, " {name}={value}").unwrap());
    }
    for (name, count) in [("invalid", v.invalid_count), ("devices", v.devices)] {
        if count != u64::from(name == "devices") {
            write!(text, " {name}={count}").unwrap();
        }
    }
    text + "\n"
}
