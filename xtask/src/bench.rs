//! The benchmarks: builds them, starts what they run against, and has their figures written to the one table.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::components::{Component, Components, Environment};
use crate::install;
use crate::paths::Paths;
use crate::process::Run;
use crate::steps;

/// All sections with other systems take hours.
const LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// What the benchmarks take for Kafka's address before that of the tests.
const BROKERS: &str = "KAFKA_BROKERS";

/// What the benchmarks run against.
const NEEDED: [Component; 2] = [Component::Kafka, Component::Postgres];

#[derive(Args)]
pub(crate) struct Options {
    /// Only these sections, separated by commas; the others keep their place in the table
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// How often each system runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder whose `run.sh` starts other systems: see `bench/README.md`
    #[arg(long)]
    rivals: Option<PathBuf>,
    /// How long the section `soak` is, as in 3m
    #[arg(long, value_name = "TIME")]
    soak: Option<String>,
    /// Only says which sections there are
    #[arg(long)]
    list: bool,
}

/// Runs the sections and writes `bench/RESULTS.md`.
pub(crate) fn run(paths: &Paths, options: &Options) -> Result<()> {
    let rivals = options.rivals.as_ref().map(|folder| {
        folder
            .canonicalize()
            .with_context(|| format!("no folder {}: give --rivals one with run.sh in it", folder.display()))
    });
    let rivals = rivals.transpose()?;
    env::set_current_dir(&paths.root).context("cannot enter the workspace")?;
    let logs = paths.target.join("bench");
    let run = Run {
        echo: true,
        ..Run::logged(logs.join("bench.log"), LIMIT)
    };
    // All of the package: programs start each other.
    run.run(steps::cargo(&[
        "build",
        "--release",
        "-p",
        "tidewatch-bench",
        "-p",
        "tidewatch",
    ]))?;
    let mut command = Command::new(paths.target.join("release/bench"));
    if options.list {
        command.arg("--list");
        return run.run(command);
    }
    let missing: Vec<Component> = NEEDED.into_iter().filter(|component| !is_there(*component)).collect();
    if missing.contains(&Component::Postgres) {
        install::ensure_postgres(paths)?;
    }
    let components = Components::start_these(paths, &logs, &missing)?;
    let environment: Environment = components.environment();
    command
        .args(["--rounds", &options.rounds.to_string(), "--folder"])
        .arg(paths.target.join("w1"))
        .args(["--out", "bench/RESULTS.md"])
        .envs(&environment);
    if !options.only.is_empty() {
        command.args(["--only", &options.only.join(",")]);
    }
    if let Some(soak) = &options.soak {
        command.args(["--soak", soak]);
    }
    if let Some(rivals) = rivals {
        command.arg("--rivals").arg(rivals);
    }
    run.run(command)
}

/// Whether the environment says where a component is.
fn is_there(component: Component) -> bool {
    let is_set = |variable: &str| env::var_os(variable).is_some();
    is_set(component.main_variable()) || (component == Component::Kafka && is_set(BROKERS))
}
