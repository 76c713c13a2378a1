//! Runs the bare loop over a W1 topic and prints its RESULT line.

use anyhow::Result;
use clap::Parser;
use tidewatch_bench::w1::bare::{self, Mode};
use tidewatch_bench::w1::topic::ReadFlags;

/// Reads a W1 topic from start to end in a hand-written loop.
#[derive(Parser)]
struct Flags {
    /// How much of the work to do.
    #[arg(long, env = "MODE", value_enum, default_value_t = Mode::Aggregate)]
    mode: Mode,
    #[command(flatten)]
    read: ReadFlags,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let read = &flags.read;
    println!("{}", bare::run(&read.brokers, &read.topic, read.threads, flags.mode)?);
    Ok(())
}
