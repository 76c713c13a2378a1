//! Prints the memory curve: hours of event time through the engine with everything on.

use anyhow::{Result, ensure};
use clap::Parser;
use std::path::PathBuf;
use std::time::Duration;
use tidewatch_bench::curve::{self, Shape};
use tidewatch_dataflow::EngineConfig;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs hours of event time through the engine, every window and both rollups on, and prints what it holds in memory;
/// an error when that grows without end.
#[derive(Parser)]
struct Flags {
    /// Event time covered.
    #[arg(long, default_value = "12h", value_parser = humantime::parse_duration)]
    span: Duration,
    /// Distinct devices, of four series each.
    #[arg(long, default_value_t = 1_000)]
    devices: u32,
    /// Event time between two messages of a device.
    #[arg(long, default_value = "15s", value_parser = humantime::parse_duration)]
    every: Duration,
    /// Event time between two samples.
    #[arg(long, default_value = "20m", value_parser = humantime::parse_duration)]
    sample: Duration,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// File for the table.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let shape = Shape {
        devices: flags.devices,
        every_ms: flags.every.as_millis() as i64,
        span_ms: flags.span.as_millis() as i64,
    };
    let config = EngineConfig {
        threads: flags.threads,
        ..EngineConfig::default()
    };
    let samples = curve::run(shape, config, flags.sample.as_millis() as i64, |sample| {
        eprint!(".");
        let _ = sample;
    })?;
    eprintln!();
    let text = curve::table(&samples);
    print!("{text}");
    if let Some(path) = &flags.out {
        std::fs::write(path, &text)?;
    }
    ensure!(curve::is_flat(&samples), "memory is not flat");
    println!("flat");
    Ok(())
}
