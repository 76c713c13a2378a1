//! The long form of the fault harness.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::components::{Components, Environment};
use crate::gate::inherits_components;
use crate::install;
use crate::paths::Paths;
use crate::process::Run;
use crate::steps;

const BUILD_LIMIT: Duration = Duration::from_secs(35 * 60);
const LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// How much is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often the program is killed
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Messages over all kills
    #[arg(long, default_value_t = 10_000_000)]
    messages: u64,
    /// What all that is random comes from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these parts, of kills, failpoints, fence, hashes, services, outages, network, flips, log, embedded, bugs and recovery;
    /// names of stores (folder, shared, bucket) and of seeded mistakes choose among what a part runs
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
}

/// Builds the binary with failpoints and runs the harness; fails when anything is not as it must be.
pub(crate) fn run(paths: &Paths, options: &Options) -> Result<()> {
    let mut build = steps::cargo(&["build", "-p", "tidewatch-tests", "-p", "tidewatch", "--bins"]);
    build.current_dir(&paths.root);
    let log = paths.target.join("faults/build.log");
    Run::logged(log, BUILD_LIMIT).run(build)?;
    let components = match inherits_components() {
        true => None,
        false => Some(Components::start(paths, &paths.target.join("faults"))?),
    };
    let environment = components
        .as_ref()
        .map_or_else(Environment::new, Components::environment);
    let mut command = Command::new(paths.target.join("debug/faults"));
    command.arg(options.kills.to_string()).arg(options.messages.to_string());
    command.arg(options.seed.to_string()).args(&options.only);
    command.current_dir(&paths.root).envs(environment);
    command.env("TIDEWATCH_BIN", paths.binary());
    command.env("TIDEWATCH_TEST_ORACLE_PYTHON", install::oracle_python(paths)?);
    command.env("TIDEWATCH_TEST_TOXIPROXY", install::toxiproxy(paths)?);
    let run = Run {
        echo: true,
        ..Run::logged(paths.target.join("faults/faults.log"), LIMIT)
    };
    run.run(command)
}
