//! The sections of the results: each measures one thing, checks its answers and says which targets it meets.

mod checkpoints;
mod external;
mod growth;
mod in_process;
mod latency;
mod live;
mod sets;
mod soak;
mod w1;

use crate::measure;
use crate::w1::answer::Answer;
use crate::w1::compare::Comparison;
use crate::w1::contestant::Contestant;
use crate::w1::prepare::{Store, prepare};
use crate::w1::report::{Entry, table};
use crate::w1::spec::Spec;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What every section is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Folder of the benches' programs.
    pub programs: PathBuf,
    /// Kafka's address.
    pub brokers: String,
    /// Folder of the topics' column files and right answers.
    pub folder: PathBuf,
    /// How often each system runs.
    pub rounds: usize,
    /// Folder whose `run.sh` starts other systems.
    pub rivals: Option<PathBuf>,
    /// The other systems.
    pub rival_systems: Vec<String>,
    /// Folder for pictures.
    pub pictures: PathBuf,
    /// How long the soak is.
    pub soak: Duration,
}

impl Context {
    /// Fills a well-known topic unless it is full, and gives its files and stream.
    fn prepared(&self, topic: &str) -> Result<(Store, Spec)> {
        let spec = Spec::of_topic(topic).with_context(|| format!("topic {topic} is not a well-known one"))?;
        let store = Store::open(&self.folder)?;
        prepare(&self.brokers, &store, topic, spec)?;
        Ok((store, spec))
    }

    /// Runs systems in turn over a well-known topic; their runs, and the table.
    fn compare(&self, topic: &str, contestants: Vec<Contestant>) -> Result<(Vec<Entry>, String)> {
        let (store, spec) = self.prepared(topic)?;
        let comparison = Comparison {
            brokers: self.brokers.clone(),
            store,
            topics: vec![topic.to_owned()],
            contestants,
            rounds: self.rounds,
        };
        let entries = comparison.run_topic(topic, &spec)?;
        let table = table(topic, &spec.to_string(), &entries);
        Ok((entries, table))
    }

    /// The other systems, if there are any.
    fn rivals(&self, one: impl Fn(&Path, &str) -> Contestant) -> Vec<Contestant> {
        let systems = self.rivals.iter().flat_map(|folder| {
            self.rival_systems
                .iter()
                .map(|name| one(folder, name))
                .collect::<Vec<_>>()
        });
        systems.collect()
    }

    /// A command that runs one of the benches' programs.
    fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    /// Runs one of the benches' programs to its end; its RESULT line and the MiB that it held at most.
    fn result(&self, name: &str, arguments: &[&str]) -> Result<(Answer, f64)> {
        let run = measure::run(self.program(name).args(arguments))?;
        let line = run.lines.iter().find(|line| line.starts_with("RESULT"));
        let answer = Answer::parse(line.with_context(|| format!("{name} printed no RESULT"))?)?;
        Ok((answer, run.rss_bytes_max as f64 / f64::from(1 << 20)))
    }
}

/// A section: its name, and what measures it and gives its text.
pub struct Section {
    /// The name, as in `--only`.
    pub name: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// Measures; an error when something fails or an answer is wrong.
    pub run: fn(&Context) -> Result<String>,
    /// Whether it is run only when it is named.
    pub is_apart: bool,
}

/// All sections, in the order of the file.
pub const SECTIONS: [Section; 11] = [
    Section {
        name: "w1",
        about: "W1 on S and L from Kafka, beside the bare loop and other systems",
        run: w1::cold,
        is_apart: false,
    },
    Section {
        name: "warm",
        about: "W1 on three times S",
        run: w1::warm,
        is_apart: false,
    },
    Section {
        name: "sets",
        about: "What more aggregates cost: the full set, W2, a rollup by site",
        run: sets::run,
        is_apart: false,
    },
    Section {
        name: "in-process",
        about: "The engine and a bare timely chain from memory, on 1, 2 and 4 threads",
        run: in_process::run,
        is_apart: false,
    },
    Section {
        name: "growth",
        about: "CPU per message and bytes per series from 10,000 to 2 million devices",
        run: growth::run,
        is_apart: false,
    },
    Section {
        name: "latency",
        about: "From the append of a record to its open window and its complete epoch",
        run: latency::run,
        is_apart: false,
    },
    Section {
        name: "live",
        about: "From the append of a record to a WebSocket, with slow subscribers and without",
        run: live::measure,
        is_apart: false,
    },
    Section {
        name: "checkpoints",
        about: "What checkpoints cost, and how long it takes to go on from one",
        run: checkpoints::run,
        is_apart: false,
    },
    Section {
        name: "sinks",
        about: "Rows into Kafka, PostgreSQL and the embedded store, beside a bare producer, COPY and bare SQLite",
        run: external::sinks,
        is_apart: false,
    },
    Section {
        name: "memory",
        about: "Memory over hours of event time",
        run: external::memory,
        is_apart: false,
    },
    Section {
        name: "soak",
        about: "The program for twenty minutes: memory, handles and disk stay flat",
        run: soak::measure,
        is_apart: true,
    },
];
