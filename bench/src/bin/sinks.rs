//! Measures what the sinks for rows take a second, beside the same bytes sent without them.

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use tidewatch_bench::sinks::{embedded, kafka, postgres, workload};
use tidewatch_bench::w1::topic::brokers_default;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Delivers rows through the real sinks and, in turn, sends the same bytes without them; prints a markdown table.
#[derive(Parser)]
struct Flags {
    /// How often each system runs.
    #[arg(long, default_value_t = 5, value_parser = rounds)]
    rounds: usize,
    /// Distinct devices, of four series each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    devices: u32,
    /// Minutes of each series: a row for each, and a delivery for each.
    #[arg(long, default_value_t = 13, value_parser = clap::value_parser!(u32).range(1..=i64::from(workload::MINUTES_MAX)))]
    minutes: u32,
    /// Which sinks.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "kafka,postgres,embedded")]
    sinks: Vec<Which>,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// The database; its user must be allowed to make schemas.
    #[arg(long, env = "TIDEWATCH_TEST_POSTGRES")]
    postgres: Option<String>,
    /// File for the tables.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A sink for rows.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Kafka,
    Postgres,
    Embedded,
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds) if rounds > 0 => Ok(rounds),
        _ => Err("must be a number from 1 on".to_owned()),
    }
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let deliveries = workload::first_rows(flags.devices, flags.minutes);
    let mut tables = vec![format!(
        "# Sinks on this machine, {} cores\n",
        std::thread::available_parallelism()?
    )];
    if flags.sinks.contains(&Which::Kafka) {
        tables.push(kafka::compare(&flags.brokers, flags.rounds, &deliveries)?);
    }
    if flags.sinks.contains(&Which::Postgres) {
        let url = flags.postgres.as_deref().unwrap_or_default();
        ensure!(
            !url.is_empty(),
            "no database: set --postgres or TIDEWATCH_TEST_POSTGRES, or leave it out with --sinks kafka"
        );
        tables.push(postgres::compare(url, flags.rounds, &deliveries)?);
    }
    if flags.sinks.contains(&Which::Embedded) {
        tables.push(embedded::compare(flags.rounds, &deliveries)?);
    }
    let text = tables.join("\n");
    print!("{text}");
    if let Some(path) = &flags.out {
        std::fs::write(path, &text)?;
    }
    Ok(())
}
