//! Latency from Kafka at an even pace.

use super::Context;
use crate::latency::Quantiles;
use crate::results::target::{Target, list};
use crate::w1::report::Spread;
use anyhow::{Result, ensure};

/// Records a second.
const PER_S: &str = "50000";

/// The longest that one record in a hundred may take, in milliseconds.
const PUSHED_P99_MS: f64 = 20.0;
const EPOCH_P99_MS: f64 = 150.0;

pub(super) fn run(context: &Context) -> Result<String> {
    let (mut pushed, mut epoch) = (Vec::new(), Vec::new());
    for round in 0..context.rounds {
        let arguments = ["--brokers", &context.brokers, "--per-s", PER_S];
        let (answer, _) = context.result("latency", &arguments)?;
        let found = (
            Quantiles::parse(&answer, "pushed")?,
            Quantiles::parse(&answer, "epoch")?,
        );
        ensure!(
            found.0.count > 0 && found.1.count > 0,
            "a latency was never measured: {answer:?}"
        );
        eprintln!(
            "latency round {}: open window p99 {:.1} ms, epoch complete p99 {:.1} ms",
            round + 1,
            found.0.p99_ms,
            found.1.p99_ms
        );
        pushed.push(found.0);
        epoch.push(found.1);
    }
    let targets = [
        Target::at_most(
            "ms until the epoch is complete, p99",
            EPOCH_P99_MS,
            spread(&epoch, |one| one.p99_ms).map(|spread| spread.median),
        ),
        Target::at_most(
            "ms until an open window that holds the record is pushed, p99",
            PUSHED_P99_MS,
            spread(&pushed, |one| one.p99_ms).map(|spread| spread.median),
        ),
    ];
    Ok(format!(
        "A process appends {PER_S} records a second, of 10,000 devices, for 20 s after 3 s that do not count; the \
         engine reads them on 2 threads, all windows on. Latency counts from the moment at which a record is due, so \
         that the producer's own delay is in it, and its linger of 2 ms. `epoch complete`: until all workers have \
         completed the epoch that holds the record; an epoch lasts 100 ms. `open window`: until its row with the \
         record has reached who listens to the open minutes of all series, pushed with every batch.\n\n\
         | ms | p50 | p99 | longest |\n|---|---|---|---|\n{}{}{}",
        row("epoch complete", &epoch),
        row("open window", &pushed),
        list(&targets)
    ))
}

fn spread(rounds: &[Quantiles], figure: fn(&Quantiles) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().map(figure))
}

fn row(name: &str, rounds: &[Quantiles]) -> String {
    let cell = |figure: fn(&Quantiles) -> f64| spread(rounds, figure).map_or(String::new(), |s| format!("{s:.1}"));
    format!(
        "| {name} | {} | {} | {} |\n",
        cell(|one| one.p50_ms),
        cell(|one| one.p99_ms),
        cell(|one| one.max_ms)
    )
}
