//! Reads a topic by either client of Kafka and does nothing else: `fetch read` once, `fetch compare` both in turn.

use anyhow::Result;
use clap::{Parser, Subcommand};
use tidewatch_bench::fetch::{Client, compare, run};
use tidewatch_bench::w1::topic::ReadFlags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What reading a topic costs, without decoding anything.
#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Reads a topic to its present end and prints a RESULT line.
    Read {
        #[command(flatten)]
        read: ReadFlags,
        /// What reads it.
        #[arg(long, default_value_t = Client::Rdkafka)]
        client: Client,
    },
    /// Runs both clients in turn, each run a process of its own, and prints a table.
    Compare {
        #[command(flatten)]
        read: ReadFlags,
        /// How often each runs.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

fn main() -> Result<()> {
    match Flags::parse().task {
        Task::Read { read, client } => println!("{}", run(client, &read.brokers, &read.topic, read.threads)?),
        Task::Compare { read, rounds } => {
            print!("{}", compare::run(&read.brokers, &read.topic, read.threads, rounds)?);
        }
    }
    Ok(())
}
