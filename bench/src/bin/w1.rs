//! W1 from end to end: `w1 prepare` fills the topics, `w1 compare` runs systems over them.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use tidewatch_bench::w1::compare::Comparison;
use tidewatch_bench::w1::contestant::Contestant;
use tidewatch_bench::w1::prepare::{Store, prepare};
use tidewatch_bench::w1::spec::Spec;
use tidewatch_bench::w1::topic::brokers_default;

/// The W1 workload: windowed aggregates of a telemetry topic.
#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fills topics that are not filled, and keeps their column files and right answers.
    Prepare(Place),
    /// Runs systems in turn over prepared topics, checks every answer and writes a table.
    Compare(CompareFlags),
}

/// Where the topics and their files are.
#[derive(Args)]
struct Place {
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// The topics, of w1.s, w1.l and w1.p.
    #[arg(long, value_delimiter = ',', default_value = "w1.s,w1.l")]
    topics: Vec<String>,
    /// Folder of the column files and the right answers.
    #[arg(long, default_value = "target/w1")]
    folder: PathBuf,
}

#[derive(Args)]
struct CompareFlags {
    #[command(flatten)]
    place: Place,
    /// How often each system runs over each topic.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder whose run.sh starts the other systems; BUILD, HEAP and the like are passed on to it.
    #[arg(long)]
    rivals: Option<PathBuf>,
    /// The other systems.
    #[arg(long, value_delimiter = ',', default_value = "flink-device,jet", requires = "rivals")]
    rival_systems: Vec<String>,
    /// One more system, name=command for the shell, with IN_TOPIC and KAFKA_BROKERS in its environment; late messages
    /// must be counted. May be repeated.
    #[arg(long)]
    command: Vec<String>,
    /// File for the table [default: compare.md in the folder].
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Flags::parse().task {
        Task::Prepare(place) => prepare_all(&place),
        Task::Compare(flags) => compare(&flags),
    }
}

fn prepare_all(place: &Place) -> Result<()> {
    let store = Store::open(&place.folder)?;
    for topic in &place.topics {
        let spec = Spec::of_topic(topic).with_context(|| format!("topic {topic} is not a well-known one"))?;
        prepare(&place.brokers, &store, topic, spec)?;
    }
    Ok(())
}

fn compare(flags: &CompareFlags) -> Result<()> {
    let program = std::env::current_exe()?;
    let programs = program.parent().unwrap_or(Path::new("."));
    let mut contestants = vec![Contestant::bare(programs), Contestant::tidewatch(programs)];
    for definition in &flags.command {
        contestants.push(Contestant::shell(definition)?);
    }
    if let Some(rivals) = &flags.rivals {
        contestants.extend(flags.rival_systems.iter().map(|name| Contestant::rival(rivals, name)));
    }
    let comparison = Comparison {
        brokers: flags.place.brokers.clone(),
        store: Store::open(&flags.place.folder)?,
        topics: flags.place.topics.clone(),
        contestants,
        rounds: flags.rounds,
    };
    comparison.run(
        &flags
            .out
            .clone()
            .unwrap_or_else(|| flags.place.folder.join("compare.md")),
    )
}
