//! Measures latency from Kafka, with a producer that is a process of its own.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use std::process::{Command, Stdio};
use tidewatch_bench::latency::{PARTITIONS, Pace, Sample, Trial, now_us, produce, run};
use tidewatch_bench::w1::tidewatch::Set;
use tidewatch_bench::w1::topic::{self, brokers_default};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long after the start of the program the first record is due, in microseconds: the engine starts meanwhile.
const START_AFTER_US: u64 = 2_000_000;

/// Appends records at an even pace and measures how soon the engine has them.
#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    task: Option<Task>,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default(), global = true)]
    brokers: String,
    /// Records a second.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..), global = true)]
    per_s: u64,
    /// Seconds of records that count; three more come before them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..), global = true)]
    seconds: u64,
    /// Devices.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..), global = true)]
    devices: u32,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Which aggregates are kept.
    #[arg(long, value_enum, default_value_t = Set::Full)]
    set: Set,
}

#[derive(Subcommand)]
enum Task {
    /// Only appends, and prints where a sample of the records went.
    Produce {
        /// The topic, which is there.
        topic: String,
        /// When the first record is due, in microseconds since 1970.
        start_us: u64,
    },
}

/// Seconds of records before those that count.
const WARM_S: u64 = 3;

impl Flags {
    fn pace(&self, topic: &str, start_us: u64) -> Pace {
        Pace {
            brokers: self.brokers.clone(),
            topic: topic.into(),
            partitions: PARTITIONS,
            devices: self.devices,
            per_s: self.per_s,
            records: self.per_s * (WARM_S + self.seconds),
            start_us,
        }
    }

    fn measure(&self) -> Result<()> {
        let topic = format!("bench.latency.{}", std::process::id());
        topic::recreate(&self.brokers, &topic, PARTITIONS)?;
        let pace = self.pace(&topic, now_us() + START_AFTER_US);
        let trial = Trial {
            threads: self.threads,
            set: self.set,
            warm: self.per_s * WARM_S,
        };
        let outcome = run(&pace, trial, || self.append_elsewhere(&pace));
        // Also when it failed; that error says more than one about the topic.
        let removed = topic::remove(&self.brokers, &topic);
        println!("{}", outcome?);
        removed
    }

    /// Has another process append.
    fn append_elsewhere(&self, pace: &Pace) -> Result<Vec<Sample>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["produce", &pace.topic, &pace.start_us.to_string()]);
        command.args(["--brokers", &self.brokers, "--per-s", &self.per_s.to_string()]);
        command.args(["--seconds", &self.seconds.to_string()]);
        command.args(["--devices", &self.devices.to_string()]);
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start the producer")?;
        ensure!(output.status.success(), "the producer ended with {}", output.status);
        String::from_utf8(output.stdout)?.lines().map(str::parse).collect()
    }
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    match &flags.task {
        None => flags.measure(),
        Some(Task::Produce { topic, start_us }) => {
            for sample in produce(&flags.pace(topic, *start_us))? {
                println!("{sample}");
            }
            Ok(())
        }
    }
}
