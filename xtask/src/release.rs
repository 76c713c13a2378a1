//! What is run before a release, and takes too long for the gate: measurements and fuzzing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::builder::PossibleValuesParser;

use crate::components::{Components, Environment};
use crate::gate::{Table, inherits_components};
use crate::paths::Paths;
use crate::process::{self, Run};
use crate::steps;

const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
const FUZZ_SECONDS: u32 = 300;

/// A step: its command, or why there is nothing to run.
struct Step {
    name: &'static str,
    command: fn(&Paths) -> Result<Command, &'static str>,
}

const STEPS: [Step; 5] = [
    Step {
        name: "build",
        command: |paths| Ok(build(paths)),
    },
    Step {
        name: "bench",
        command: |paths| Ok(bench(paths)),
    },
    Step {
        name: "soak",
        command: |paths| Ok(soak(paths)),
    },
    Step {
        name: "idle",
        command: |paths| Ok(idle(paths)),
    },
    Step {
        name: "fuzz-walk",
        command: fuzz_walk,
    },
];

/// What of it is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these steps; `build` comes with those that need it
    #[arg(long, value_name = "STEP", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(STEPS.map(|step| step.name)))]
    only: Vec<String>,
}

impl Options {
    fn has(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Whether a step is run.
    fn chooses(&self, step: &Step) -> bool {
        self.has(step.name) || step.name == "build" && (self.has("bench") || self.has("soak"))
    }
}

/// Runs the steps, also after one has failed; fails when one has.
pub(crate) fn run(paths: &Paths, options: &Options) -> Result<()> {
    let mut table = Table::default();
    let mut failed = Vec::new();
    // The others have all that they need.
    let components = match inherits_components() || !options.has("bench") {
        true => None,
        false => Some(Components::start(paths, &paths.target.join("release-components"))?),
    };
    let environment = components
        .as_ref()
        .map_or_else(Environment::new, Components::environment);
    for step in STEPS.iter().filter(|step| options.chooses(step)) {
        process::check_interrupted()?;
        let command = match (step.command)(paths) {
            Ok(mut command) => {
                command.envs(&environment);
                command
            }
            Err(reason) => {
                table.row(step.name, "not run", None, reason);
                continue;
            }
        };
        println!("{}: {}", step.name, process::shown(&command));
        let begun = Instant::now();
        let log = paths.target.join(format!("release/{}.log", step.name));
        let result = Run {
            echo: true,
            ..Run::logged(log, LIMIT)
        }
        .run(command);
        table.row(
            step.name,
            if result.is_ok() { "ok" } else { "FAILED" },
            Some(begun.elapsed()),
            "",
        );
        if let Err(error) = result {
            println!("{}: {error:#}", step.name);
            failed.push(step.name);
        }
    }
    println!("\n{}", table.text());
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn build(paths: &Paths) -> Command {
    let mut command = steps::cargo(&["build", "--release", "-p", "tidewatch-bench", "-p", "tidewatch"]);
    command.current_dir(&paths.root);
    command
}

/// All sections; their table is left in the target folder: the one in `bench/` is made on purpose.
fn bench(paths: &Paths) -> Command {
    let mut command = Command::new(paths.target.join("release/bench"));
    command.arg("--folder").arg(paths.target.join("w1"));
    command.arg("--out").arg(paths.target.join("release/RESULTS.md"));
    command.current_dir(&paths.root);
    command
}

/// The program for twenty minutes; its curve is left in the target folder.
fn soak(paths: &Paths) -> Command {
    let mut command = bench(paths);
    command.args(["--only", "soak"]);
    command
}

fn idle(paths: &Paths) -> Command {
    let package = ["test", "--release", "-p", "tidewatch-dataflow", "--test", "idle"];
    let mut command = steps::cargo(&package);
    command.args(["--", "--nocapture"]).current_dir(&paths.root);
    command
}

fn fuzz_walk(paths: &Paths) -> Result<Command, &'static str> {
    let folder = paths.root.join("proto/fuzz");
    if !folder.is_dir() {
        return Err("there is no proto/fuzz yet");
    }
    if !succeeds(&["+nightly", "fuzz", "--version"], &paths.root) {
        return Err("needs a nightly toolchain and `cargo install cargo-fuzz`");
    }
    // By name, not by the path in $CARGO: that is one toolchain's cargo and knows no `+nightly`.
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "fuzz", "run", "walk", "--"])
        .arg(format!("-max_total_time={FUZZ_SECONDS}"));
    command
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(folder);
    Ok(command)
}

fn succeeds(cargo_arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new("cargo");
    command
        .args(cargo_arguments)
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(folder);
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
