//! `cargo xtask`: the gate and its helpers, the same for a person and for CI.

mod bench;
mod checks;
mod components;
mod contract;
mod daemon;
mod deadline;
mod example;
mod faults;
mod gate;
mod install;
mod kafka_wire;
mod paths;
mod process;
mod release;
mod steps;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use components::Component;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The gate of this workspace and its helpers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The gate: everything that must pass, with real components
    Test(gate::Options),
    /// Kafka, PostgreSQL, TimescaleDB and S3 in the background, for a developer
    Components {
        #[command(subcommand)]
        action: Action,
    },
    /// What takes longer than the gate: measurements, a soak of twenty minutes, fuzzing
    Release(release::Options),
    /// The benchmarks, whose figures go to bench/RESULTS.md
    Bench(bench::Options),
    /// The fault harness in its long form: kills, every failpoint, damaged checkpoints, seeded mistakes
    Faults(faults::Options),
    /// Runs `examples/NAME/run`, with components started for it when none are given
    Example {
        /// A folder in `examples/`
        name: String,
    },
}

#[derive(Subcommand)]
enum Action {
    /// Starts those named, or all, and prints their `export` lines; does nothing to what already runs
    Up { which: Vec<Component> },
    /// Stops what `up` started
    Down,
    /// Prints the `export` lines again
    Env,
}

fn main() -> ExitCode {
    process::catch_signals();
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let paths = paths::Paths::find()?;
    match command {
        Command::Test(options) => gate::run(paths, &options),
        Command::Components {
            action: Action::Up { which },
        } => components::background::up(&paths, &which),
        Command::Components { action: Action::Down } => components::background::down(&paths),
        Command::Components { action: Action::Env } => components::background::env(&paths),
        Command::Release(options) => release::run(&paths, &options),
        Command::Bench(options) => bench::run(&paths, &options),
        Command::Faults(options) => faults::run(&paths, &options),
        Command::Example { name } => example::run(&paths, &name),
    }
}
