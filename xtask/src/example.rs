//! One example, as a person wants to see it: output on the screen, components started when there are none.

use std::env;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::components::{Component, Components, Environment};
use crate::install;
use crate::paths::Paths;
use crate::process::Run;
use crate::steps;

/// Somebody looks at it, perhaps all day.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How the script of an example names the Python with DuckDB and pyarrow, when it needs that.
const PYTHON: &str = "TIDEWATCH_TEST_ORACLE_PYTHON";

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
        "--example",
        "producer",
    ]))?;
    let text = fs::read_to_string(&script).with_context(|| format!("cannot read {}", paths.shown(&script)))?;
    let names = |variable: &str| text.contains(variable);
    // Those that it names, and whoever calls us has not.
    let needed = Component::ALL
        .map(Component::main_variable)
        .map(|name| names(name) && env::var_os(name).is_none());
    let needed = Component::ALL.into_iter().zip(needed);
    let needed: Vec<Component> = needed.filter_map(|(component, is)| is.then_some(component)).collect();
    if needed.contains(&Component::Postgres) {
        install::ensure_postgres(paths)?;
    }
    let components = Components::start_these(paths, &logs, &needed)?;
    let mut environment: Environment = components.environment();
    if names(PYTHON) && env::var_os(PYTHON).is_none() {
        environment.insert(PYTHON.to_owned(), install::oracle_python(paths)?.display().to_string());
    }
    environment.insert("TIDEWATCH_BIN".to_owned(), paths.binary().display().to_string());
    run.run(steps::example_command(&script, &environment))
}
