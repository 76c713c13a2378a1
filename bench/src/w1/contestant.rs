//! The systems that are compared: how each is started, how its figures are read, which answer is right for it.

use super::answer::Answer;
use super::spec::Spec;
use super::tally::Tally;
use super::tidewatch::Set;
use crate::measure;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a system makes of late messages, and so which rows of flaky devices are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    /// Dropped when their own partition's watermark has passed: the rows are the oracle's.
    PerPartition,
    /// Dropped when a slower watermark has passed: at least the readings on time are counted.
    Slowest,
    /// Never dropped: every reading is counted.
    Kept,
}

impl Lateness {
    /// Is an answer the oracle's?
    pub fn check(self, answer: &Answer, oracle: &Answer) -> Result<()> {
        same(answer, "steady", oracle, "steady")?;
        match self {
            Self::PerPartition => same(answer, "flaky", oracle, "flaky"),
            Self::Kept => same(answer, "flaky", oracle, "all flaky"),
            Self::Slowest => {
                let (seen, least, most) = (
                    answer.tally("flaky")?,
                    oracle.tally("flaky")?,
                    oracle.tally("all flaky")?,
                );
                let between = (least.count..=most.count).contains(&seen.count);
                ensure!(
                    between,
                    "flaky has {} readings, not {} to {}",
                    seen.count,
                    least.count,
                    most.count
                );
                Ok(())
            }
        }
    }
}

/// What of an answer must be the oracle's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// All messages were read; nothing is aggregated.
    Messages,
    /// Minutes.
    Minutes(Lateness),
    /// Minutes, and five-minute windows that end within the stream: of steady devices, of flaky ones too where
    /// late messages are kept.
    Hops(Lateness),
    /// Minutes, and those of sites.
    Sites,
}

impl Check {
    /// What is right for Tidewatch with a set.
    pub fn of_set(set: Set) -> Self {
        match set {
            Set::Sites => Self::Sites,
            _ if set.has_hops() => Self::Hops(Lateness::Kept),
            _ => Self::Minutes(Lateness::Kept),
        }
    }

    /// Is an answer about a stream the oracle's?
    ///
    /// # Errors
    /// When it is not, or lacks something.
    pub fn check(self, answer: &Answer, oracle: &Answer, spec: &Spec) -> Result<()> {
        match self {
            Self::Messages => {
                let (seen, expected) = (answer.number("messages")?, spec.records() as f64);
                ensure!(seen == expected, "{seen} messages, not {expected}");
                Ok(())
            }
            Self::Minutes(lateness) => lateness.check(answer, oracle),
            Self::Hops(lateness) => {
                lateness.check(answer, oracle)?;
                if lateness == Lateness::Kept {
                    same(answer, "hop flaky", oracle, "all hop flaky")?;
                }
                same(answer, "hop", oracle, "hop")
            }
            Self::Sites => {
                Lateness::Kept.check(answer, oracle)?;
                same(answer, "site", oracle, "site")
            }
        }
    }
}

/// How a system is started.
#[derive(Clone, Debug)]
pub enum Start {
    /// A program that takes `--topic` and `--brokers`.
    Program(PathBuf),
    /// A script that takes a system's name, the topic and the number of messages, and prints its own measurements.
    Rival {
        /// The script.
        script: PathBuf,
        /// What it calls the system.
        system: String,
    },
    /// A line for the shell.
    Shell(String),
}

/// One system.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// Its name in the table.
    pub name: String,
    /// How it is started.
    pub start: Start,
    /// What is right.
    pub check: Check,
    /// What the program is told beside the topic.
    pub arguments: Vec<String>,
    /// What is in its environment beside Kafka's address.
    pub environment: Vec<(&'static str, String)>,
}

/// The figures of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Messages a second, from the start of the process to its end.
    pub msgs_per_s: f64,
    /// Messages a second by the system's own clock, from its first message to its last row.
    pub running_msgs_per_s: f64,
    /// CPU seconds per million messages.
    pub cpu_s_per_million: f64,
    /// Peak resident memory in MiB.
    pub rss_mib: f64,
}

/// The line that the rivals' script ends with.
#[derive(Deserialize)]
struct Measured {
    wall_s: f64,
    cpu_s: f64,
    rss_mib: f64,
}

impl Contestant {
    fn new(name: impl Into<String>, start: Start, check: Check) -> Self {
        Self {
            name: name.into(),
            start,
            check,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The bare loop, from the folder of this program.
    pub fn bare(folder: &Path) -> Self {
        let start = Start::Program(folder.join("w1-bare"));
        Self::new("bare", start, Check::Minutes(Lateness::PerPartition))
    }

    /// The bare loop without decoding and aggregating: raw consumption, from the folder of this program.
    pub fn consume(folder: &Path) -> Self {
        let start = Start::Program(folder.join("w1-bare"));
        Self {
            environment: vec![("MODE", "consume".into())],
            ..Self::new("consume alone", start, Check::Messages)
        }
    }

    /// Tidewatch itself, from the folder of this program.
    pub fn tidewatch(folder: &Path) -> Self {
        Self::tidewatch_set(folder, "tidewatch", Set::Minutes)
    }

    /// Tidewatch with its own reader of Kafka.
    pub fn tidewatch_native(folder: &Path) -> Self {
        let mut native = Self::tidewatch_set(folder, "tidewatch, native client", Set::Minutes);
        native.arguments.extend(["--client".into(), "native".into()]);
        native
    }

    /// Tidewatch with a set, under a name for the table.
    pub fn tidewatch_set(folder: &Path, name: &str, set: Set) -> Self {
        let start = Start::Program(folder.join("w1-tidewatch"));
        let set_name = set.to_possible_value().map(|value| value.get_name().to_owned());
        Self {
            arguments: set_name
                .into_iter()
                .flat_map(|name| ["--set".to_owned(), name])
                .collect(),
            ..Self::new(name, start, Check::of_set(set))
        }
    }

    /// A system that the `run.sh` of a folder knows.
    pub fn rival(folder: &Path, name: &str) -> Self {
        let start = Start::Rival {
            script: folder.join("run.sh"),
            system: name.into(),
        };
        Self::new(name, start, Check::Minutes(Lateness::Slowest))
    }

    /// The same with W2's windows.
    pub fn rival_w2(folder: &Path, name: &str) -> Self {
        let one = Self::rival(folder, name);
        Self {
            name: format!("{name}, W2"),
            check: Check::Hops(Lateness::Slowest),
            environment: vec![("W2", "on".into())],
            ..one
        }
    }

    /// `name=line`: a line for the shell that finds IN_TOPIC and KAFKA_BROKERS in its environment.
    pub fn shell(definition: &str) -> Result<Self> {
        let (name, line) = definition
            .split_once('=')
            .with_context(|| format!("not name=command: {definition}"))?;
        Ok(Self::new(
            name,
            Start::Shell(line.into()),
            Check::Minutes(Lateness::Kept),
        ))
    }

    /// Runs the system once over a topic; an error when it fails or its answer is wrong.
    pub fn run(&self, brokers: &str, topic: &str, spec: &Spec, oracle: &Answer) -> Result<Figures> {
        let run = measure::run(&mut self.command(brokers, topic, spec))?;
        let result = run.lines.iter().find(|line| line.starts_with("RESULT"));
        let answer = Answer::parse(result.with_context(|| format!("{} printed no RESULT", self.name))?)?;
        self.check
            .check(&answer, oracle, spec)
            .with_context(|| format!("{} is wrong on {topic}", self.name))?;
        let mut measured = Measured {
            wall_s: run.wall_s,
            cpu_s: run.cpu_s,
            rss_mib: run.rss_bytes_max as f64 / f64::from(1 << 20),
        };
        if matches!(self.start, Start::Rival { .. }) {
            let line = run.lines.last().context("no line at all")?;
            measured = serde_json::from_str(line).with_context(|| format!("not measurements: {line}"))?;
        }
        let messages = spec.messages as f64;
        Ok(Figures {
            msgs_per_s: messages / measured.wall_s,
            running_msgs_per_s: messages / answer.number("run_s").unwrap_or(measured.wall_s),
            cpu_s_per_million: measured.cpu_s / messages * 1e6,
            rss_mib: measured.rss_mib,
        })
    }

    fn command(&self, brokers: &str, topic: &str, spec: &Spec) -> Command {
        let mut command = match &self.start {
            Start::Program(program) => {
                let mut command = Command::new(program);
                command.args(["--topic", topic, "--brokers", brokers]);
                command
            }
            Start::Rival { script, system } => {
                let mut command = Command::new(script);
                command.args([system, topic, &spec.messages.to_string()]);
                command.env("HOP_END", spec.end_ms().to_string());
                command
            }
            Start::Shell(line) => {
                let mut command = Command::new("sh");
                command.args(["-c", line]).env("IN_TOPIC", topic);
                command
            }
        };
        command.args(&self.arguments).env("KAFKA_BROKERS", brokers);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// Are the tallies of two labels equal?
fn same(answer: &Answer, seen_label: &str, oracle: &Answer, right_label: &str) -> Result<()> {
    let (seen, right): (Tally, Tally) = (answer.tally(seen_label)?, oracle.tally(right_label)?);
    ensure!(
        seen == right,
        "{seen_label} {seen}, but the oracle has {right_label} {right}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lateness: Lateness, flaky_count: u64) -> bool {
        let answer = format!("steady rows=1 count=2 hash=3 flaky rows=4 count={flaky_count} hash={flaky_count}");
        let oracle = "steady rows=1 count=2 hash=3\nflaky rows=4 count=5 hash=5\nall flaky rows=4 count=7 hash=7";
        lateness
            .check(&Answer::parse(&answer).unwrap(), &Answer::parse(oracle).unwrap())
            .is_ok()
    }

    #[test]
    fn the_right_flaky_rows_depend_on_what_becomes_of_late_messages() {
        let cases = [
            (Lateness::PerPartition, [false, true, false, false, false]),
            (Lateness::Slowest, [false, true, true, true, false]),
            (Lateness::Kept, [false, false, false, true, false]),
        ];
        for (lateness, expected) in cases {
            assert_eq!(
                [4, 5, 6, 7, 8].map(|count| check(lateness, count)),
                expected,
                "{lateness:?}"
            );
        }
    }
}
