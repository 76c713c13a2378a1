//! From the append of a record to a WebSocket.

use super::Context;
use crate::latency::Quantiles;
use crate::results::target::{Target, list};
use crate::w1::report::Spread;
use anyhow::{Context as _, Result};

/// Messages a second.
const PER_S: &str = "50000";
/// Subscribers that read at once, and that hardly do.
const FAST: &str = "300";
const SLOW: &str = "200";
/// What is asked for.
const P99_MS: f64 = 50.0;
const RATIO: f64 = 1.2;
/// A run into the log waits for the next minute: more rounds of it take too long.
const ROUNDS_MAX: usize = 3;

pub(super) fn measure(context: &Context) -> Result<String> {
    let mut text = format!(
        "The program with its defaults reads {PER_S} messages a second of four metrics; a process of its own holds {FAST} \
         WebSockets, each with the open minutes of a device, `throttle_ms` 0. Latency counts from the moment at which a record is due \
         to be appended. The slow ones are {SLOW} more that want 20 devices each and read a message in two seconds. Into the \
         embedded log the simulated fleet writes, of 50,000 devices, with `log.sync_interval` 5ms: what is not durable is not read.\n\n\
         | | | p50 ms | p99 ms | longest |\n|---|---|---|---|---|\n"
    );
    let mut targets = Vec::new();
    for into in ["kafka", "log"] {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for round in 0..context.rounds.min(ROUNDS_MAX) {
            for turn in 0..2 {
                let is_slow = (round + turn) % 2 == 1;
                let quantiles = one(context, into, if is_slow { SLOW } else { "0" })?;
                eprintln!("live round {} {into}, slow ones: {is_slow}: {quantiles:?}", round + 1);
                if is_slow { &mut beside } else { &mut alone }.push(quantiles);
            }
        }
        text += &row(into, "alone", &alone)?;
        text += &row(into, &format!("beside {SLOW} slow ones"), &beside)?;
        let p99 = |rounds: &[Quantiles]| Spread::of(rounds.iter().map(|one| one.p99_ms)).map(|spread| spread.median);
        targets.push(Target::at_most(format!("{into}: ms, p99"), P99_MS, p99(&alone)));
        let ratio = p99(&beside).zip(p99(&alone)).map(|(beside, alone)| beside / alone);
        targets.push(Target::at_most(
            format!("{into}: p99 beside slow ones to alone"),
            RATIO,
            ratio,
        ));
    }
    Ok(text + &list(&targets))
}

fn one(context: &Context, into: &str, slow: &str) -> Result<Quantiles> {
    let arguments = [
        "--into",
        into,
        "--per-s",
        PER_S,
        "--fast",
        FAST,
        "--slow",
        slow,
        "--brokers",
        &context.brokers,
    ];
    let (answer, _) = context.result("live", &arguments)?;
    Quantiles::parse(&answer, "live")
}

fn row(into: &str, name: &str, rounds: &[Quantiles]) -> Result<String> {
    let cell = |figure: fn(&Quantiles) -> f64| {
        let spread = Spread::of(rounds.iter().map(figure)).context("there is nothing to run")?;
        Ok::<_, anyhow::Error>(format!("{spread:.1}"))
    };
    let (p50, p99, max) = (
        cell(|one| one.p50_ms)?,
        cell(|one| one.p99_ms)?,
        cell(|one| one.max_ms)?,
    );
    Ok(format!("| {into} | {name} | {p50} | {p99} | {max} |\n"))
}
