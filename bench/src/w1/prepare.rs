//! The well-known topics and their right answers, made once and kept.

use super::answer::Answer;
use super::oracle::Oracle;
use super::outputs::{ColumnsOutput, Output, create, generate};
use super::publish::KafkaOutput;
use super::spec::Spec;
use super::topic;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the files of the well-known topics are.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// A folder, created if need be.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { folder: folder.into() })
    }

    /// Where the column file of a topic is.
    pub fn columns(&self, topic: &str) -> PathBuf {
        self.folder.join(format!("{topic}.columns"))
    }

    /// Where the oracle's answer for a topic is: the stream's parameters behind a `#`, then what the oracle prints.
    pub fn oracle(&self, topic: &str) -> PathBuf {
        self.folder.join(format!("{topic}.oracle"))
    }

    /// The oracle's answer for a topic that was prepared.
    pub fn answer(&self, topic: &str, spec: &Spec) -> Result<Answer> {
        let path = self.oracle(topic);
        let text = fs::read_to_string(&path).with_context(|| format!("no {}: run w1 prepare", path.display()))?;
        let lines = text
            .strip_prefix(&head(spec))
            .with_context(|| format!("{} is of another stream", path.display()))?;
        Answer::parse(lines)
    }

    /// Are both files of a topic here, made from this stream?
    fn holds(&self, topic: &str, spec: &Spec) -> bool {
        self.columns(topic).exists() && self.answer(topic, spec).is_ok()
    }
}

/// Fills a topic unless it holds as many records as it should, and makes its files unless they are there.
pub fn prepare(brokers: &str, store: &Store, topic: &str, spec: Spec) -> Result<()> {
    let records = topic::records(brokers, topic)?;
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    if records != spec.records() {
        outputs.push(Box::new(KafkaOutput::create(brokers, topic, spec)?));
    }
    write(store, topic, spec, outputs)
}

/// Makes the files of a stream unless they are there, without Kafka.
pub fn prepare_files(store: &Store, topic: &str, spec: Spec) -> Result<()> {
    write(store, topic, spec, Vec::new())
}

/// Generates a stream into some outputs, and into the files unless they are there.
fn write(store: &Store, topic: &str, spec: Spec, mut outputs: Vec<Box<dyn Output>>) -> Result<()> {
    let held = store.holds(topic, &spec);
    if held && outputs.is_empty() {
        println!("{topic}: {} records are there", spec.records());
        return Ok(());
    }
    let columns = store.columns(topic);
    if !held {
        outputs.push(Box::new(ColumnsOutput::new(create(&columns)?)));
    }
    println!("{topic}: {}", generate(spec, &mut outputs)?);
    if !held {
        let oracle = Oracle::read(&columns, None)?;
        fs::write(store.oracle(topic), format!("{}{oracle}\n", head(&spec)))?;
        println!("{oracle}");
    }
    Ok(())
}

/// The first line of an oracle file.
fn head(spec: &Spec) -> String {
    format!("# minutes, hops and sites of {spec}\n")
}
