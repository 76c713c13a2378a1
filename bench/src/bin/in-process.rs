//! Runs the engine, or the bare chain, over a W1 stream in memory and prints its RESULT line.

use anyhow::{Context, Result};
use clap::Parser;
use tidewatch_bench::in_process::{SliceLog, chain, engine};
use tidewatch_bench::w1::spec::Spec;
use tidewatch_bench::w1::tidewatch::Set;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Generates a W1 stream into memory, then reads it with the engine. Seconds and CPU are those of the engine alone.
#[derive(Parser)]
struct Flags {
    /// The stream, by the name of its topic.
    #[arg(long, default_value = "w1.s")]
    stream: String,
    /// Which aggregates are kept.
    #[arg(long, value_enum, default_value_t = Set::Minutes)]
    set: Set,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The bare chain on timely instead of the engine.
    #[arg(long)]
    chain: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let spec = Spec::of_topic(&flags.stream).with_context(|| format!("no stream is called {}", flags.stream))?;
    let log = SliceLog::of_stream(spec)?;
    match flags.chain {
        true => println!("{}", chain::run(&log, flags.threads)?),
        false => println!("{}", engine(&log, spec, flags.set, flags.threads)?),
    }
    Ok(())
}
