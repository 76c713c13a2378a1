//! Prints the right answer to W1 for a column file.

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use tidewatch_bench::w1::oracle::Oracle;

/// Prints the right answer to W1: minutes of steady and flaky devices with late messages dropped, of flaky ones with
/// nothing dropped, and the same for 5-minute windows hopping by one.
#[derive(Parser)]
struct Flags {
    /// The file that w1-gen wrote with --columns.
    columns: PathBuf,
    /// Hopping windows count when they end by this, in milliseconds since the epoch; else by the data's last minute.
    #[arg(long)]
    hop_end_ms: Option<i64>,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    println!("{}", Oracle::read(&flags.columns, flags.hop_end_ms)?);
    Ok(())
}
