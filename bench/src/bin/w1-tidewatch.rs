//! Runs Tidewatch's engine over a W1 topic and prints its RESULT line.

use anyhow::Result;
use clap::Parser;
use tidewatch_bench::w1::tidewatch::{Set, run_topic};
use tidewatch_bench::w1::topic::brokers_default;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads a W1 topic from start to end with the real engine.
#[derive(Parser)]
struct Flags {
    /// The topic.
    #[arg(long, env = "IN_TOPIC", default_value = "w1.s")]
    topic: String,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// Worker threads.
    #[arg(long, env = "THREADS", default_value_t = 2)]
    threads: usize,
    /// Keep quantiles, five-minute and one-hour windows too, as the engine does by default.
    #[arg(long)]
    full: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let set = if flags.full { Set::Full } else { Set::Minutes };
    println!(
        "{}",
        run_topic(&flags.brokers, &flags.topic, set.config(flags.threads))?
    );
    Ok(())
}
