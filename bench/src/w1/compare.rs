//! Systems in turn over the same topics, each run's answer checked, so that noise hits all of them alike.

use super::bare::{self, Mode};
use super::contestant::{Contestant, Figures};
use super::prepare::Store;
use super::report::{Entry, table};
use super::spec::Spec;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Kafka's address.
    pub brokers: String,
    /// The files of the topics.
    pub store: Store,
    /// Well-known topics, filled by `w1 prepare`.
    pub topics: Vec<String>,
    /// The systems; ratios are to the first.
    pub contestants: Vec<Contestant>,
    /// How often each runs over each topic.
    pub rounds: usize,
}

impl Comparison {
    /// Runs everything and writes the tables to a file and to standard output; an error at the first wrong answer.
    pub fn run(&self, out: &Path) -> Result<()> {
        ensure!(
            !self.contestants.is_empty() && self.rounds > 0,
            "there is nothing to run"
        );
        let mut text = format!(
            "# W1 on this machine, {} cores\n",
            std::thread::available_parallelism()?
        );
        for topic in &self.topics {
            let spec = Spec::of_topic(topic).with_context(|| format!("topic {topic} is not a well-known one"))?;
            let entries = self.run_topic(topic, &spec)?;
            text.push('\n');
            text.push_str(&table(topic, &spec.to_string(), &entries));
        }
        fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
        println!("{text}");
        Ok(())
    }

    /// All rounds over one topic, every other one in reverse order.
    ///
    /// # Errors
    /// When the topic is not filled, a system fails or its answer is wrong.
    pub fn run_topic(&self, topic: &str, spec: &Spec) -> Result<Vec<Entry>> {
        let oracle = self.store.answer(topic, spec)?;
        let warm = bare::run(&self.brokers, topic, 2, Mode::Consume)?;
        let (seen, expected) = (warm.messages, spec.records());
        ensure!(
            seen == expected,
            "topic {topic} holds {seen} records, not {expected}: run w1 prepare"
        );
        let names: Vec<&str> = self.contestants.iter().map(|one| one.name.as_str()).collect();
        alternate(topic, &names, self.rounds, |turn| {
            self.contestants[turn].run(&self.brokers, topic, spec, &oracle)
        })
    }
}

/// Runs some systems in turn, every other round in reverse order; what is run is told by its place in the list.
///
/// # Errors
/// The first that a run gives.
pub fn alternate(
    what: &str,
    names: &[&str],
    rounds: usize,
    mut run: impl FnMut(usize) -> Result<Figures>,
) -> Result<Vec<Entry>> {
    let entry = |name: &&str| Entry {
        name: (*name).to_owned(),
        runs: Vec::new(),
    };
    let mut entries: Vec<Entry> = names.iter().map(entry).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for turn in order {
            let figures = run(turn)?;
            eprintln!(
                "{what} round {} {}: {:.0} msg/s, {:.2} CPU s/M, {:.0} MiB",
                round + 1,
                entries[turn].name,
                figures.msgs_per_s,
                figures.cpu_s_per_million,
                figures.rss_mib
            );
            entries[turn].runs.push(figures);
        }
    }
    Ok(entries)
}
