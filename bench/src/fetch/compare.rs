//! Both clients in turn over the same topic, each run a process of its own.

use super::{Client, figure};
use crate::measure;
use crate::w1::contestant::Figures;
use crate::w1::report::{Entry, table};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Runs both clients so many times and gives the table; an error when they don't read the same.
///
/// # Errors
/// When a run fails, or reads something else than the first one.
pub fn run(brokers: &str, topic: &str, threads: usize, rounds: usize) -> Result<String> {
    ensure!(rounds > 0, "there is nothing to run");
    let mut entries = Client::ALL.map(|client| Entry {
        name: client.to_string(),
        runs: Vec::new(),
    });
    let mut first: Option<[String; 3]> = None;
    for round in 0..rounds {
        let mut order = [0, 1];
        if round % 2 == 1 {
            order.reverse();
        }
        for turn in order {
            let (read, figures) = once(Client::ALL[turn], brokers, topic, threads)?;
            let expected = first.get_or_insert_with(|| read.clone());
            ensure!(
                *expected == read,
                "{} read {read:?}, not {expected:?}",
                Client::ALL[turn]
            );
            eprintln!(
                "{topic} round {} {}: {:.0} msg/s, {:.3} CPU s/M, {:.0} MiB",
                round + 1,
                Client::ALL[turn],
                figures.running_msgs_per_s,
                figures.cpu_s_per_million,
                figures.rss_mib
            );
            entries[turn].runs.push(figures);
        }
    }
    let title = format!("reading alone, {threads} threads");
    Ok(table(topic, &title, &entries))
}

/// One run: what was read, as messages, bytes and their sum, and what it took.
fn once(client: Client, brokers: &str, topic: &str, threads: usize) -> Result<([String; 3], Figures)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["read", "--client", &client.to_string(), "--brokers", brokers]);
    command.args(["--topic", topic, "--threads", &threads.to_string()]);
    let run = measure::run(&mut command)?;
    let result = run.lines.iter().find(|line| line.starts_with("RESULT"));
    let result = result.with_context(|| format!("{client} printed no RESULT"))?;
    let messages: f64 = figure(result, "messages")?.parse()?;
    let run_s: f64 = figure(result, "run_s")?.parse()?;
    let mut read = [const { String::new() }; 3];
    for (place, name) in ["messages", "bytes", "sum"].iter().enumerate() {
        read[place] = figure(result, name)?.to_owned();
    }
    let figures = Figures {
        msgs_per_s: messages / run.wall_s,
        running_msgs_per_s: messages / run_s,
        cpu_s_per_million: run.cpu_s / messages * 1e6,
        rss_mib: run.rss_bytes_max as f64 / f64::from(1 << 20),
    };
    Ok((read, figures))
}
