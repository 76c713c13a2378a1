//! Runs Tidewatch's engine over a W1 topic and prints its RESULT line.

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;
use tidewatch_bench::fetch::Client;
use tidewatch_bench::w1::spec::Spec;
use tidewatch_bench::w1::tidewatch::{Job, Log, Set, run_topic};
use tidewatch_bench::w1::topic::ReadFlags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads a W1 topic from start to end with the real engine.
#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    read: ReadFlags,
    /// Which aggregates are kept.
    #[arg(long, value_enum, default_value_t = Set::Minutes)]
    set: Set,
    /// The same as --set full: quantiles, five-minute and one-hour windows too, as the engine does by default.
    #[arg(long, conflicts_with = "set")]
    full: bool,
    /// Write the rows to this topic too.
    #[arg(long)]
    kafka_output: Option<String>,
    /// Make checkpoints in this folder too, as the server does; it must be empty.
    #[arg(long)]
    checkpoints: Option<PathBuf>,
    /// Rows are in the checkpoints too, as if no sink ever took them.
    #[arg(long, requires = "checkpoints")]
    full_outbox: bool,
    /// What reads the topic.
    #[arg(long, default_value_t = Client::Rdkafka)]
    client: Client,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let read = &flags.read;
    let job = Job {
        set: if flags.full { Set::Full } else { flags.set },
        threads: read.threads,
        spec: Spec::of_topic(&read.topic),
    };
    let log = Log {
        client: flags.client,
        output: flags.kafka_output.as_deref(),
        checkpoints: flags.checkpoints.as_deref(),
        full_outbox: flags.full_outbox,
        ..Log::of(&read.brokers, &read.topic)
    };
    println!("{}", run_topic(log, job)?);
    Ok(())
}
