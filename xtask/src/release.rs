//! What is run before a release, and takes too long for the gate: measurements and fuzzing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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

const STEPS: [Step; 4] = [
    Step {
        name: "build",
        command: |paths| Ok(build(paths)),
    },
    Step {
        name: "bench",
        command: |paths| Ok(bench(paths)),
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

/// Runs all steps, also after one has failed; fails when one has.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let mut table = Table::default();
    let mut failed = Vec::new();
    let components = match inherits_components() {
        true => None,
        false => Some(Components::start(paths, &paths.target.join("release-components"))?),
    };
    let environment = components
        .as_ref()
        .map_or_else(Environment::new, Components::environment);
    for step in &STEPS {
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
    let mut command = steps::cargo(&["build", "--release", "-p", "tidewatch-bench"]);
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
