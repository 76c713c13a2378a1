//! One example, as a person wants to see it: output on the screen, components started when there are none.

use std::env;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::components::{Components, Environment};
use crate::gate::inherits_components;
use crate::install;
use crate::paths::Paths;
use crate::process::Run;
use crate::steps;

/// Somebody looks at it, perhaps all day.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How the script of an example names a component that it needs.
const COMPONENT: &str = "TIDEWATCH_TEST_";

/// Builds the binary and runs `examples/NAME/run`.
pub(crate) fn run(paths: &Paths, name: &str) -> Result<()> {
    env::set_current_dir(&paths.root).context("cannot enter the workspace")?;
    let script = paths.root.join("examples").join(name).join("run");
    ensure!(
        script.is_file(),
        "there is no {}: see the folders in examples/",
        paths.shown(&script)
    );
    let logs = paths.target.join("examples");
    let run = Run {
        echo: true,
        ..Run::logged(logs.join(format!("{name}.log")), LIMIT)
    };
    run.run(steps::cargo(&[
        "build",
        "--workspace",
        "--bin",
        "tidewatch",
        "--bin",
        "w1-gen",
    ]))?;
    let text = fs::read_to_string(&script).with_context(|| format!("cannot read {}", paths.shown(&script)))?;
    let components = if inherits_components() || !text.contains(COMPONENT) {
        None
    } else {
        install::ensure_postgres(paths)?;
        Some(Components::start(paths, &logs)?)
    };
    let mut environment = components
        .as_ref()
        .map_or_else(Environment::new, Components::environment);
    environment.insert("TIDEWATCH_BIN".to_owned(), paths.binary().display().to_string());
    run.run(steps::example_command(&script, &environment))
}
