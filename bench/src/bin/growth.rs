//! Runs the engine over a number of devices and prints its RESULT line.

use anyhow::Result;
use clap::Parser;
use tidewatch_bench::growth;
use tidewatch_bench::w1::tidewatch::Set;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads messages of a number of devices from memory, on one thread.
#[derive(Parser)]
struct Flags {
    /// Devices, of four series each; a product of twos and fives.
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Messages of all devices together.
    #[arg(long, default_value_t = 8_000_000)]
    messages: u64,
    /// Which aggregates are kept.
    #[arg(long, value_enum, default_value_t = Set::Minutes)]
    set: Set,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    println!("{}", growth::run(flags.devices, flags.messages, flags.set)?);
    Ok(())
}
