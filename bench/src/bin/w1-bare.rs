//! Runs the bare loop over a W1 topic and prints its RESULT line.

use anyhow::Result;
use clap::Parser;
use tidewatch_bench::w1::bare::{self, Mode};
use tidewatch_bench::w1::topic::brokers_default;

/// Reads a W1 topic from start to end in a hand-written loop.
#[derive(Parser)]
struct Flags {
    /// How much of the work to do.
    #[arg(long, env = "MODE", value_enum, default_value_t = Mode::Aggregate)]
    mode: Mode,
    /// The topic.
    #[arg(long, env = "IN_TOPIC", default_value = "w1.s")]
    topic: String,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// Threads, each with its share of the partitions.
    #[arg(long, env = "THREADS", default_value_t = 2)]
    threads: usize,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    println!(
        "{}",
        bare::run(&flags.brokers, &flags.topic, flags.threads, flags.mode)?
    );
    Ok(())
}
