//! Writes a W1 telemetry stream to a Kafka topic, a file of delimited protobuf, and a file of columns.

use anyhow::{Context, Result};
use clap::Parser;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidewatch_bench::w1::outputs::{ColumnsOutput, DelimitedOutput, Output, create, generate};
use tidewatch_bench::w1::publish::KafkaOutput;
use tidewatch_bench::w1::spec::Spec;
use tidewatch_bench::w1::topic::brokers_default;

/// Writes a W1 telemetry stream: the same bytes for the same parameters.
#[derive(Parser)]
struct Flags {
    /// Messages to write.
    #[arg(long, default_value_t = Spec::S.messages)]
    messages: u64,
    /// Distinct devices.
    #[arg(long, default_value_t = Spec::S.devices, value_parser = clap::value_parser!(u32).range(1..))]
    devices: u32,
    /// Event time covered, as in 1h or 10m.
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    span: Duration,
    /// Seed of all that is random.
    #[arg(long, default_value_t = Spec::S.seed)]
    seed: u64,
    /// Partitions of the topic.
    #[arg(long, default_value_t = Spec::S.partitions, value_parser = clap::value_parser!(u32).range(1..1000))]
    partitions: u32,
    /// Topic to delete, create again and fill.
    #[arg(long)]
    topic: Option<String>,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// File for the protobuf values, each after its length.
    #[arg(long)]
    file: Option<PathBuf>,
    /// File for the rows of 48 bytes that the oracle reads.
    #[arg(long)]
    columns: Option<PathBuf>,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let spec = Spec {
        messages: flags.messages,
        devices: flags.devices,
        span_ms: i64::try_from(flags.span.as_millis()).context("the span is too long")?,
        seed: flags.seed,
        partitions: flags.partitions,
    };
    let start = Instant::now();
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    if let Some(topic) = &flags.topic {
        outputs.push(Box::new(KafkaOutput::create(&flags.brokers, topic, spec)?));
    }
    if let Some(path) = &flags.file {
        outputs.push(Box::new(DelimitedOutput::new(create(path)?)));
    }
    if let Some(path) = &flags.columns {
        outputs.push(Box::new(ColumnsOutput::new(create(path)?)));
    }
    let summary = generate(spec, &mut outputs)?;
    println!("{summary} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
