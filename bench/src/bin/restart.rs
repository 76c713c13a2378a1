//! Saves the state of many series in a folder, or goes on from there, and prints a RESULT line.

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use tidewatch_bench::restart;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Saves state, or goes on from it.
#[derive(Parser)]
struct Flags {
    /// The folder of the checkpoints; empty when state is saved.
    #[arg(long)]
    folder: PathBuf,
    /// Devices, of four series each; a product of twos and fives.
    #[arg(long, default_value_t = 500_000)]
    devices: u32,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Save it, instead of going on from it.
    #[arg(long)]
    save: bool,
    /// Only says how long a worker takes for a slice of its state.
    #[arg(long, conflicts_with = "save")]
    slices: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let line = match (flags.save, flags.slices) {
        (true, _) => restart::save(&flags.folder, flags.devices, flags.threads)?,
        (_, true) => restart::slices(&flags.folder)?,
        _ => restart::go_on(&flags.folder, flags.devices, flags.threads)?.to_string(),
    };
    println!("{line}");
    Ok(())
}
