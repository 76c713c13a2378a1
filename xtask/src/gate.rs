//! The gate: one list of steps, run in order until one fails, with a table at the end.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;

use crate::components::{Component, Components, Environment};
use crate::contract;
use crate::install;
use crate::paths::Paths;
use crate::process::{self, Run};
use crate::steps;

/// A step's body; what it returns is a remark for the table.
type Body = fn(&mut Gate) -> Result<String>;

/// A step of the gate.
struct Step {
    name: &'static str,
    /// Needs neither a service nor an installation.
    is_quick: bool,
    body: Body,
}

/// The order is: what fails cheaply, first.
const STEPS: [Step; 13] = [
    Step {
        name: "fmt",
        is_quick: true,
        body: steps::fmt,
    },
    Step {
        name: "words",
        is_quick: true,
        body: steps::words,
    },
    Step {
        name: "install",
        is_quick: false,
        body: steps::install,
    },
    Step {
        name: "clippy",
        is_quick: true,
        body: steps::clippy,
    },
    Step {
        name: "docs",
        is_quick: true,
        body: steps::docs,
    },
    Step {
        name: "deny",
        is_quick: false,
        body: steps::deny,
    },
    Step {
        name: "build",
        is_quick: false,
        body: steps::build,
    },
    Step {
        name: "link",
        is_quick: false,
        body: steps::link,
    },
    Step {
        name: "contract",
        is_quick: false,
        body: contract::contract,
    },
    Step {
        name: "components",
        is_quick: false,
        body: steps::components,
    },
    Step {
        name: "test",
        is_quick: true,
        body: steps::test,
    },
    Step {
        name: "examples",
        is_quick: false,
        body: steps::examples,
    },
    Step {
        name: "bench",
        is_quick: false,
        body: steps::bench,
    },
];

/// What of the gate is run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only what needs no service: nothing is installed, and `tidewatch-tests` is left out
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Only these steps; components are taken from `TIDEWATCH_TEST_*` when these are set, else started
    #[arg(long, value_name = "STEP", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(STEPS.map(|step| step.name)))]
    only: Vec<String>,
}

/// What the steps share.
pub(crate) struct Gate {
    /// Where things are.
    pub(crate) paths: Paths,
    /// Whether tests with real components are left out.
    pub(crate) is_quick: bool,
    may_inherit: bool,
    components: Option<Components>,
}

/// Runs the steps; fails at the first that fails.
pub(crate) fn run(paths: Paths, options: &Options) -> Result<()> {
    let is_chosen = |step: &&Step| {
        let is_named = options.only.is_empty() || options.only.iter().any(|name| name == step.name);
        is_named && (step.is_quick || !options.quick)
    };
    env::set_current_dir(&paths.root).context("cannot enter the workspace")?;
    let may_inherit = !options.only.is_empty();
    let mut gate = Gate {
        paths,
        is_quick: options.quick,
        may_inherit,
        components: None,
    };
    run_steps(&mut gate, STEPS.iter().filter(is_chosen).collect())
}

fn run_steps(gate: &mut Gate, steps: Vec<&Step>) -> Result<()> {
    let begun = Instant::now();
    let mut table = Table::default();
    let mut failed = None;
    for step in steps {
        if failed.is_some() {
            table.row(step.name, "not run", None, "");
            continue;
        }
        println!("{}: ...", step.name);
        let _ = fs::remove_file(gate.log(step.name));
        let step_begun = Instant::now();
        let result = process::check_interrupted().and_then(|()| (step.body)(gate));
        let time = step_begun.elapsed();
        match result {
            Ok(remark) => {
                println!("{}: ok, {:.1} s", step.name, time.as_secs_f64());
                table.row(step.name, "ok", Some(time), &remark);
            }
            Err(error) => {
                println!("{}: FAILED, {:.1} s\n{error:#}", step.name, time.as_secs_f64());
                table.row(step.name, "FAILED", Some(time), "");
                failed = Some(step.name);
            }
        }
    }
    gate.components = None; // stopped before the last word is said
    table.row(
        "all",
        if failed.is_some() { "FAILED" } else { "ok" },
        Some(begun.elapsed()),
        "",
    );
    println!("\n{}", table.text());
    match failed {
        Some(name) if gate.log(name).is_file() => bail!("`{name}` failed; its log is {}", gate.log(name).display()),
        Some(name) => bail!("`{name}` failed"),
        None => Ok(()),
    }
}

impl Gate {
    /// Where a step's output goes.
    pub(crate) fn log(&self, step: &str) -> PathBuf {
        self.paths.target.join("gate").join(format!("{step}.log"))
    }

    /// How a step runs its commands: output to its log.
    pub(crate) fn logged(&self, step: &str, limit: Duration) -> Run {
        Run::logged(self.log(step), limit)
    }

    /// Starts the components unless they run, and tells what tests are given.
    pub(crate) fn test_environment(&mut self) -> Result<Environment> {
        let mut environment = if self.may_inherit && inherits_components() {
            Environment::new()
        } else {
            if self.components.is_none() {
                self.components = Some(Components::start(&self.paths, &self.paths.target.join("gate"))?);
            }
            self.components
                .as_ref()
                .map(Components::environment)
                .unwrap_or_default()
        };
        let python = install::oracle_python(&self.paths)?;
        environment.insert("TIDEWATCH_TEST_ORACLE_PYTHON".to_owned(), python.display().to_string());
        let promtool = install::promtool(&self.paths)?;
        environment.insert("TIDEWATCH_PROMTOOL".to_owned(), promtool.display().to_string());
        let playwright = install::playwright(&self.paths)?.display().to_string();
        environment.insert("TIDEWATCH_TEST_PLAYWRIGHT".to_owned(), playwright);
        let chromium = install::chromium()?.display().to_string();
        environment.insert("TIDEWATCH_TEST_CHROMIUM".to_owned(), chromium);
        environment.insert("TIDEWATCH_BIN".to_owned(), self.paths.binary().display().to_string());
        Ok(environment)
    }
}

/// Whether whoever calls us has all components already.
pub(crate) fn inherits_components() -> bool {
    Component::ALL
        .iter()
        .all(|component| env::var_os(component.main_variable()).is_some())
}

/// Rows of names, results, times and remarks, in columns.
#[derive(Debug, Default)]
pub(crate) struct Table(String);

impl Table {
    /// Adds a row.
    pub(crate) fn row(&mut self, name: &str, result: &str, time: Option<Duration>, remark: &str) {
        let time = time
            .map(|time| format!("{:.1} s", time.as_secs_f64()))
            .unwrap_or_default();
        let row = format!("{name:<12} {result:<8} {time:>9}  {remark}");
        self.0 += row.trim_end();
        self.0.push('\n');
    }

    /// The table as text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}
