//! Measures the latency from an append to a WebSocket of the program.

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidewatch_bench::live::{From, Kafka, Log, Trial, run};
use tidewatch_bench::w1::topic::brokers_default;

/// Starts the program, subscribes to it, and measures how soon what is appended is heard of.
#[derive(Parser)]
struct Flags {
    /// What records are appended to.
    #[arg(long, value_enum, default_value_t = Into::Kafka)]
    into: Into,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// Messages a second; with the log of as many devices.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    per_s: u32,
    /// Devices, with Kafka.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// How long the log collects what it makes durable together; by default it is 100ms.
    #[arg(long, default_value = "5ms", value_parser = humantime::parse_duration)]
    sync: Duration,
    /// Subscribers that read at once.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    fast: u32,
    /// Subscribers that hardly read.
    #[arg(long, default_value_t = 0)]
    slow: u32,
    /// For how long latencies count.
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// An empty folder for the program's data, or one to be made.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Into {
    /// A topic of Kafka.
    Kafka,
    /// The embedded log.
    Log,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let own = std::env::current_exe()?;
    let programs = own.parent().unwrap_or(Path::new("."));
    let temporary = std::env::temp_dir().join(format!("tidewatch-live-{}", std::process::id()));
    let trial = Trial {
        program: programs.join("tidewatch"),
        folder: flags.folder.unwrap_or(temporary),
        fast: flags.fast,
        slow: flags.slow,
        time: flags.time,
    };
    let mut from: Box<dyn From> = match flags.into {
        Into::Kafka => {
            let rate = (u64::from(flags.per_s), flags.devices);
            Box::new(Kafka::new(programs.join("latency"), &flags.brokers, rate))
        }
        Into::Log => Box::new(Log::new(flags.per_s, flags.sync)?),
    };
    println!(
        "{}",
        run(&trial, &mut *from).with_context(|| format!("see {}", trial.folder.display()))?
    );
    Ok(())
}
