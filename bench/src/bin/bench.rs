//! Runs sections of the benchmarks and writes their figures to the one table.

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tidewatch_bench::results::machine::{Machine, commit};
use tidewatch_bench::results::{Results, stamp};
use tidewatch_bench::sections::{Context, SECTIONS, Section};
use tidewatch_bench::w1::topic::brokers_default;

/// Runs sections of the benchmarks, one after the other, and writes each to the results file as soon as it is done.
#[derive(Parser)]
struct Flags {
    /// The sections; all but those that take long (`soak`) unless given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each system runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder whose run.sh starts other systems; BUILD, HEAP and the like are passed on to it.
    #[arg(long)]
    rivals: Option<PathBuf>,
    /// The other systems.
    #[arg(long, value_delimiter = ',', default_value = "flink-device,jet", requires = "rivals")]
    rival_systems: Vec<String>,
    /// Kafka's address.
    #[arg(long, env = "KAFKA_BROKERS", default_value_t = brokers_default())]
    brokers: String,
    /// Kafka's version, for the table; the broker of the tests is known.
    #[arg(long)]
    broker_version: Option<String>,
    /// Folder of the topics' column files and right answers.
    #[arg(long, default_value = "target/w1")]
    folder: PathBuf,
    /// The results file, beside which pictures are put.
    #[arg(long, default_value = "bench/RESULTS.md")]
    out: PathBuf,
    /// How long the soak is, as in 20m.
    #[arg(long, default_value = "20m", value_parser = humantime::parse_duration)]
    soak: Duration,
    /// Only says which sections there are.
    #[arg(long)]
    list: bool,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    if flags.list {
        SECTIONS
            .iter()
            .for_each(|section| println!("{:<12} {}", section.name, section.about));
        return Ok(());
    }
    ensure!(flags.rounds > 0, "--rounds 0 measures nothing");
    let chosen = chosen(&flags.only)?;
    let program = std::env::current_exe()?;
    let machine = Machine::look(flags.broker_version.as_deref())?;
    let context = Context {
        programs: program.parent().unwrap_or(Path::new(".")).to_owned(),
        brokers: flags.brokers,
        folder: flags.folder,
        rounds: flags.rounds,
        rivals: flags.rivals,
        rival_systems: flags.rival_systems,
        pictures: flags.out.parent().unwrap_or(Path::new(".")).to_owned(),
        soak: flags.soak,
    };
    fs::create_dir_all(&context.folder).with_context(|| format!("cannot create {}", context.folder.display()))?;
    println!("{}", machine.table());
    let mut failed = Vec::new();
    for section in chosen {
        if let Err(error) = measure(section, &context, &machine, &flags.out) {
            eprintln!("{}: {error:#}", section.name);
            failed.push(section.name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    println!("written to {}", flags.out.display());
    Ok(())
}

/// The sections of these names, in their own order; of none all that are not apart.
fn chosen(names: &[String]) -> Result<Vec<&'static Section>> {
    let known = |name: &String| SECTIONS.iter().any(|section| section.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        bail!("there is no section {name}: see --list");
    }
    let is_chosen = |section: &&Section| match names.is_empty() {
        true => !section.is_apart,
        false => names.iter().any(|name| name == section.name),
    };
    Ok(SECTIONS.iter().filter(is_chosen).collect())
}

/// Runs one section and puts it into the file.
fn measure(section: &Section, context: &Context, machine: &Machine, out: &Path) -> Result<()> {
    println!("## {}: {}", section.name, section.about);
    let begun = Instant::now();
    // Of the time when it began: what was built may be committed meanwhile.
    let stamp = stamp(&commit(), &machine.short());
    let text = (section.run)(context)?;
    println!("{text}\n{} took {:.0} s", section.name, begun.elapsed().as_secs_f64());
    let order: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
    let mut results = Results::read(out)?;
    results.put(section.name, &(stamp + &text), &order);
    fs::write(out, results.text(&machine.table())).with_context(|| format!("cannot write {}", out.display()))
}
