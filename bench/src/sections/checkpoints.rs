//! What checkpoints cost, and how long it takes to go on from one.

use super::Context;
use crate::results::target::{Target, list};
use crate::w1::answer::Answer;
use crate::w1::contestant::Check;
use crate::w1::report::Spread;
use crate::w1::tidewatch::Set;
use anyhow::{Context as _, Result};
use std::fs;

/// The topics, and how many times as long they may take with checkpoints.
const TOPICS: [(&str, f64); 2] = [("w1.s", 1.10), ("w1.l", 1.15)];

/// Devices of a restart, of four series each.
const DEVICES: &str = "500000";

/// How checkpoints are made of a topic.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Without,
    With,
    FullOutbox,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Without, "without"),
    (Kind::With, "with checkpoints"),
    (Kind::FullOutbox, "with rows that no sink takes"),
];

/// The runs of one kind.
#[derive(Default)]
struct Runs {
    run_s: Vec<f64>,
    cpu_s: Vec<f64>,
    answers: Vec<Answer>,
}

impl Runs {
    fn median(&self, figure: impl Fn(&Answer) -> Result<f64>) -> Result<f64> {
        let figures = self.answers.iter().map(figure).collect::<Result<Vec<f64>>>()?;
        median(&figures)
    }
}

pub(super) fn run(context: &Context) -> Result<String> {
    let mut text = String::from(
        "W1 from Kafka with checkpoints in a folder and without, in turn. Seconds are from the start of the process to \
         the last row; bytes are those of the files. The interval is what the engine had chosen at the end.\n",
    );
    for (topic, bound) in TOPICS {
        let (table, cost) = costs(context, topic)?;
        text.push_str(&table);
        text.push_str(&list(&[Target::at_most(
            format!("time of {topic} with checkpoints to that without"),
            bound,
            Some(cost),
        )]));
    }
    text.push_str(&restarts(context)?);
    Ok(text)
}

/// The table of a topic, and how many times as long it takes with checkpoints.
fn costs(context: &Context, topic: &str) -> Result<(String, f64)> {
    let (store, spec) = context.prepared(topic)?;
    let oracle = store.answer(topic, &spec)?;
    let folder = context.folder.join("checkpoints");
    let place = folder.to_string_lossy().into_owned();
    let mut kinds: [Runs; KINDS.len()] = Default::default();
    for round in 0..context.rounds {
        for ((kind, name), runs) in KINDS.iter().zip(&mut kinds) {
            let mut arguments = vec!["--topic", topic, "--brokers", &context.brokers];
            if *kind != Kind::Without {
                arguments.extend(["--checkpoints", &place]);
            }
            if *kind == Kind::FullOutbox {
                arguments.push("--full-outbox");
            }
            let (answer, _) = context.result("w1-tidewatch", &arguments)?;
            Check::of_set(Set::Minutes).check(&answer, &oracle, &spec)?;
            let run_s = answer.number("run_s")?;
            eprintln!("checkpoints round {} {topic} {name}: {run_s:.2} s", round + 1);
            runs.run_s.push(run_s);
            runs.cpu_s.push(answer.number("process_cpu_s")?);
            runs.answers.push(answer);
            if *kind != Kind::Without {
                fs::remove_dir_all(&folder)?;
            }
        }
    }
    let without_s = median(&kinds[0].run_s)?;
    let mut table = format!(
        "\n### {topic}\n\n| | seconds | to that without | CPU s | checkpoints | interval s | bytes a message | MB/s |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for ((kind, name), runs) in KINDS.iter().zip(&kinds) {
        let (run_s, cpu_s) = (median(&runs.run_s)?, median(&runs.cpu_s)?);
        let ratio = run_s / without_s;
        let made = match kind {
            Kind::Without => "| | | |".to_owned(),
            _ => {
                let bytes = runs.median(|answer| answer.number("ck_bytes"))?;
                let (made, interval_s) = (
                    runs.median(|answer| answer.number("ck_made"))?,
                    runs.median(|answer| answer.number("ck_interval_s"))?,
                );
                let each = bytes / spec.messages as f64;
                format!("{made:.0} | {interval_s:.1} | {each:.0} | {:.0} |", bytes / run_s / 1e6)
            }
        };
        table.push_str(&format!("| {name} | {run_s:.2} | {ratio:.2} | {cpu_s:.2} | {made}\n"));
    }
    Ok((table, median(&kinds[1].run_s)? / without_s))
}

/// What it takes to go on from the state of many series.
fn restarts(context: &Context) -> Result<String> {
    let folder = context.folder.join("checkpoints");
    let place = folder.to_string_lossy().into_owned();
    let arguments = ["--folder", &place, "--devices", DEVICES];
    let mut stops_ms = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..context.rounds {
        let saving = [&arguments[..], &["--save"]].concat();
        context.result("restart", &saving)?;
        let (slices, _) = context.result("restart", &[&arguments[..], &["--slices"]].concat())?;
        stops_ms.push(slices.number("longest_ms")?);
        let (answer, _) = context.result("restart", &arguments)?;
        answers.push(answer);
        fs::remove_dir_all(&folder)?;
    }
    let of = |key: &str| {
        let figures = answers.iter().map(|answer| answer.number(key));
        median(&figures.collect::<Result<Vec<f64>>>()?)
    };
    let (read_s, restore_s, ready_s) = (of("read_s")?, of("restore_s")?, of("ready_s")?);
    let stop_ms = stops_ms.iter().copied().fold(0.0, f64::max);
    let table = format!(
        "\n### Going on\n\nThe state of {} series with all aggregates on two threads, saved and taken back by another \
         process. Ready is when every worker has completed an epoch. A stop is the time that a worker \
         gives to a slice of its state, the longest of all runs.\n\n\
         | files read and checked, s | state restored, s | ready after, s | most memory, MiB | longest stop, ms |\n\
         |---|---|---|---|---|\n| {read_s:.2} | {restore_s:.2} | {ready_s:.2} | {:.0} | {stop_ms:.1} |\n",
        of("series")?,
        of("rss_mib")?
    );
    let targets = [
        Target::at_most("seconds until the state is restored", 1.0, Some(read_s + restore_s)),
        Target::at_most("longest stop in ms", 20.0, Some(stop_ms)),
    ];
    Ok(table + &list(&targets))
}

fn median(figures: &[f64]) -> Result<f64> {
    let spread = Spread::of(figures.iter().copied()).context("there is nothing to run")?;
    Ok(spread.median)
}
