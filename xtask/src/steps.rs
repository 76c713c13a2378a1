//! What each step of the gate does.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::components::Environment;
use crate::gate::Gate;
use crate::process::Run;
use crate::{checks, contract, install, paths};

/// A cold build on two cores, with room.
const BUILD_LIMIT: Duration = Duration::from_secs(35 * 60);
const TEST_LIMIT: Duration = Duration::from_secs(20 * 60);
const SHORT_LIMIT: Duration = Duration::from_secs(5 * 60);
const EXAMPLE_LIMIT: Duration = Duration::from_secs(120);

/// The package whose tests need components.
const COMPONENT_TESTS: &str = "tidewatch-tests";

/// Every file is formatted.
pub(crate) fn fmt(gate: &mut Gate) -> Result<String> {
    gate.logged("fmt", SHORT_LIMIT)
        .run(cargo(&["fmt", "--all", "--check", "--", "--color", "never"]))?;
    Ok(String::new())
}

/// No tracked file tells of one machine or one issue tracker.
pub(crate) fn words(gate: &mut Gate) -> Result<String> {
    checks::words(&gate.paths.root)
}

/// What the other steps need is there.
pub(crate) fn install(gate: &mut Gate) -> Result<String> {
    for (program, what) in [
        ("cc", "a C compiler"),
        ("make", "make"),
        ("perl", "perl"),
        ("git", "git"),
        ("curl", "curl"),
        ("kill", "kill, of procps"),
    ] {
        install::need(program, what)?;
    }
    install::ensure_postgres(&gate.paths)?;
    install::promtool(&gate.paths)?;
    install::kafka(&gate.paths)?;
    install::timescale(&gate.paths)?;
    install::playwright(&gate.paths)?;
    install::ensure_chromium(&gate.paths)?;
    install::oracle_python(&gate.paths)?;
    install::versitygw(&gate.paths)?;
    contract::ensure_tools(&gate.paths)?;
    Ok(String::new())
}

/// No lint complains.
pub(crate) fn clippy(gate: &mut Gate) -> Result<String> {
    let command = cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    gate.logged("clippy", BUILD_LIMIT).run(command)?;
    Ok(String::new())
}

/// The documentation builds, its links lead somewhere.
pub(crate) fn docs(gate: &mut Gate) -> Result<String> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    gate.logged("docs", BUILD_LIMIT).run(command)?;
    Ok(String::new())
}

/// Licences, bans and sources of all dependencies are as `deny.toml` allows; the lock file is current.
pub(crate) fn deny(gate: &mut Gate) -> Result<String> {
    let folder = install::cargo_deny(&gate.paths)?;
    let run = gate.logged("deny", SHORT_LIMIT);
    run.run(cargo(&["fetch", "--locked"]))?; // offline, cargo-deny needs the crates of every platform
    let mut command = Command::new(folder.join("cargo-deny"));
    command.args(["--offline", "check", "licenses", "bans", "sources"]);
    run.run(command)?;
    Ok(String::new())
}

/// Everything is built, with the features that the tests run with.
pub(crate) fn build(gate: &mut Gate) -> Result<String> {
    let run = gate.logged("build", BUILD_LIMIT);
    run.run(cargo(&["build", "--workspace", "--all-targets"]))?;
    run.run(cargo(&["test", "--workspace", "--no-run"]))?;
    Ok(String::new())
}

/// The binary needs nothing but the C and C++ runtime.
pub(crate) fn link(gate: &mut Gate) -> Result<String> {
    checks::link(&gate.paths.binary())
}

/// Kafka, PostgreSQL, TimescaleDB and S3 answer.
pub(crate) fn components(gate: &mut Gate) -> Result<String> {
    let environment = gate.test_environment()?;
    Ok(format!("{} variables for tests", environment.len()))
}

/// All tests pass, those with real components too unless the gate is quick.
pub(crate) fn test(gate: &mut Gate) -> Result<String> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if gate.is_quick {
        command.args(["--exclude", COMPONENT_TESTS]);
    } else {
        command.envs(gate.test_environment()?);
    }
    let run = Run {
        echo: true,
        ..gate.logged("test", TEST_LIMIT)
    };
    run.run(command)?;
    checks::test_totals(&gate.log("test"))
}

/// Each example does what it says, in time.
pub(crate) fn examples(gate: &mut Gate) -> Result<String> {
    let scripts = example_scripts(&gate.paths.root)?;
    if scripts.is_empty() {
        return Ok("there is none".to_owned());
    }
    let environment = gate.test_environment()?;
    for script in &scripts {
        println!("  {}", gate.paths.shown(script));
        gate.logged("examples", EXAMPLE_LIMIT)
            .run(example_command(script, &environment))?;
    }
    Ok(format!("{} run", scripts.len()))
}

/// The benchmarks' own code runs; no number is judged.
pub(crate) fn bench(gate: &mut Gate) -> Result<String> {
    if !gate.paths.has_binary("tidewatch-bench", "smoke") {
        return Ok("tidewatch-bench has no binary `smoke` yet".to_owned());
    }
    // As `build` made it: `cargo run -p` would choose other features and compile again.
    let mut command = Command::new(gate.paths.target.join("debug/smoke"));
    command.envs(gate.test_environment()?);
    gate.logged("bench", SHORT_LIMIT).run(command)?;
    Ok(String::new())
}

/// The command that runs an example.
pub(crate) fn example_command(script: &Path, environment: &Environment) -> Command {
    let mut command = Command::new(script);
    command.envs(environment);
    command
}

/// The `run` scripts of all examples, by name.
fn example_scripts(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("examples");
    let mut scripts = Vec::new();
    if !folder.is_dir() {
        return Ok(scripts);
    }
    for example in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let script = example?.path().join("run");
        if let Ok(file) = fs::metadata(&script) {
            ensure!(
                file.permissions().mode() & 0o111 != 0,
                "{} is not executable: chmod +x",
                script.display()
            );
            scripts.push(script);
        }
    }
    scripts.sort();
    Ok(scripts)
}

/// A cargo command without what `cargo xtask` itself was given by cargo.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(paths::cargo());
    command.args(arguments).env("CARGO_TERM_COLOR", "never");
    let is_ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for name in env::vars_os().map(|(name, _)| name).filter(is_ours) {
        command.env_remove(name);
    }
    command
}
