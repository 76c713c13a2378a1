//! Runs Tidewatch's engine over a W1 topic and prints its RESULT line.

use anyhow::Result;
use clap::Parser;
use tidewatch_bench::w1::tidewatch::{Set, run_topic};
use tidewatch_bench::w1::topic::ReadFlags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads a W1 topic from start to end with the real engine.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    read: ReadFlags,
    /// Keep quantiles, five-minute and one-hour windows too, as the engine does by default.
    #[arg(long)]
    full: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let read = &flags.read;
    let set = if flags.full { Set::Full } else { Set::Minutes };
    println!("{}", run_topic(&read.brokers, &read.topic, set.config(read.threads))?);
    Ok(())
}
