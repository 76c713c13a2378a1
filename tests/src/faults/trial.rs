//! A workload, a schedule, and what came of it.

use super::Problem;
use super::feed::Feed;
use super::oracle::{Oracle, Verdict};
use super::outputs;
use super::own::Own;
use super::run::Run;
use super::schedule::{Fault, Letters, Shape, Stint, StoreKind};
use super::services::{Services, Whose};
use super::workload::{Random, Sent, Workload};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tidewatch_failpoints::Bug;

/// How long anything may take that does not depend on how much there is to do.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
pub(super) const POLL: Duration = Duration::from_millis(20);
/// A slice of a stint's messages is written in so many parts, so that checkpoints fall between them.
const PARTS: usize = 8;
/// A slice in which something is to happen amid the messages is written in so many parts.
const MANY_PARTS: usize = 100;
/// The time between two parts: messages come at a pace, as from devices.
pub(super) const PACE: Duration = Duration::from_millis(50);
pub(super) const CHECKPOINTS: &str = "tidewatch_checkpoints_total";
/// What a run says that has stopped before its sinks had taken everything.
const REST: &str = "the next start delivers the rest";
/// How often the rest is delivered at most.
const RESTS_MAX: usize = 20;

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all that is random comes from.
    pub seed: u64,
    /// Messages in all.
    pub messages: u64,
    /// How many minutes of event time they span.
    pub minutes: u64,
    /// Where checkpoints are kept.
    pub store: StoreKind,
    /// Where dead letters go.
    pub letters: Letters,
    /// Which services it works with.
    pub whose: Whose,
    /// How much may wait for sinks, if not as much as is the default.
    pub outbox_bytes: Option<u64>,
    /// The runs, one after the other; each gets as many messages as the others.
    pub stints: Vec<Stint>,
    /// In how many slices a run gets its messages: after each but the last a checkpoint of it is waited for.
    pub slices: usize,
    /// The mistake that the program makes.
    pub bug: Option<Bug>,
    /// How long a checkpoint of what was written may take.
    pub patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What the oracle says; empty when it was not asked.
    pub verdict: Verdict,
    /// The names of the failpoints that were passed.
    pub passed: BTreeSet<String>,
    /// What each run came to, for a person.
    pub lines: Vec<String>,
    /// The least that a killed run had done; nothing when none was killed.
    pub least: Option<Done>,
    /// The longest time from a start until the run had a checkpoint of what was there.
    pub recovered_within: Duration,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Checkpoints that it has made.
    pub checkpoints: u64,
    /// Windows that it has closed.
    pub closed: u64,
    /// Corrected rows that it has published.
    pub corrected: u64,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    let mut trial = Trial::new(plan);
    let mut problems: Vec<Problem> = trial.all().err().into_iter().collect();
    let mut outcome = Outcome {
        passed: trial.passed(),
        lines: std::mem::take(&mut trial.lines),
        least: trial.least,
        recovered_within: trial.recovered_within,
        ..Outcome::default()
    };
    if problems.is_empty() {
        match trial.judged() {
            Ok(verdict) => {
                problems.extend(verdict.problems.iter().cloned());
                outcome.verdict = verdict;
            }
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() && plan.bug.is_none() {
        let kept = trial.folder.keep();
        outcome
            .lines
            .push(format!("  what there was lies in {}", kept.display()));
    }
    outcome.problems = problems;
    outcome
}

/// A topic, a database, a place for checkpoints: all that a trial has.
pub struct Trial {
    pub(super) plan: Plan,
    oracle: Oracle,
    pub(super) services: Services,
    pub(super) feed: Feed,
    pub(super) own: Own,
    pub(super) folder: tempfile::TempDir,
    pub(super) random: Random,
    pub(super) runs: usize,
    pub(super) lines: Vec<String>,
    pub(super) least: Option<Done>,
    pub(super) recovered_within: Duration,
}

impl Trial {
    /// An empty topic and an empty database for a plan.
    ///
    /// # Panics
    /// When a component doesn't do its part.
    pub fn new(plan: &Plan) -> Trial {
        let oracle = Oracle::find();
        let services = Services::start(plan.whose);
        let folder = tempfile::tempdir().expect("a folder");
        let own = Own::new(folder.path(), &services.direct.postgres, plan.store, plan.letters)
            .with_outbox_bytes(plan.outbox_bytes);
        let ledger = folder.path().join("ledger.tsv");
        Trial {
            plan: plan.clone(),
            oracle,
            feed: Feed::new(&services.direct.kafka, &own.group, &ledger),
            services,
            own,
            folder,
            random: Random::new(plan.seed),
            runs: 0,
            lines: Vec::new(),
            least: None,
            recovered_within: Duration::ZERO,
        }
    }

    /// The folder of its checkpoints.
    pub fn state(&self) -> &Path {
        &self.own.state
    }

    /// Runs all stints, and one that is told to stop when all windows are closed.
    ///
    /// # Errors
    /// What doesn't go as it should.
    pub fn all(&mut self) -> Result<(), Problem> {
        let plan = self.plan.clone();
        let mut workload = Workload::new(plan.seed, plan.messages, plan.minutes);
        let share = plan.messages.div_ceil(plan.stints.len() as u64) as usize;
        for (number, stint) in plan.stints.iter().enumerate() {
            let messages: Vec<Sent> = workload.by_ref().take(share).collect();
            let about = |problem| format!("run {number} ({}, {:?}): {problem}", shown(stint.shape), stint.fault);
            self.stint(stint, &messages).map_err(about)?;
            outputs::postgres(&self.own.database, self.folder.path(), &format!("{number:03}"));
        }
        self.feed.produce(&workload.closing());
        self.finish().map_err(|problem| format!("the last run: {problem}"))
    }

    /// Asks the oracle, when all is over.
    ///
    /// # Errors
    /// When it fails.
    pub fn judged(&mut self) -> Result<Verdict, Problem> {
        self.feed.close_ledger()?;
        let (brokers, folder) = (&self.services.direct.kafka, self.folder.path());
        outputs::postgres(&self.own.database, folder, "final");
        outputs::postgres_anomalies(&self.own.database, folder);
        self.own.archive.copy(folder)?;
        outputs::kafka_rows(brokers, &self.own.rows, folder);
        match self.plan.letters {
            Letters::Kafka => outputs::kafka_letters(brokers, &self.own.letters, folder),
            Letters::Postgres => outputs::postgres_letters(&self.own.database, folder),
            Letters::Embedded => outputs::embedded_letters(&self.own.embedded, folder),
        }
        self.oracle.judge(folder)
    }

    fn stint(&mut self, stint: &Stint, messages: &[Sent]) -> Result<(), Problem> {
        let orders = match &stint.fault {
            Fault::Orders(orders) => orders.as_str(),
            Fault::Zombie(point, hung) => return self.zombie(stint, (*point, *hung), messages),
            Fault::Kill | Fault::Stop | Fault::Crashes(..) | Fault::Outage(..) | Fault::Hindered => "",
        };
        let begun = Instant::now();
        let mut run = self.start(stint.shape, |_| orders.to_owned());
        let size = messages.len().div_ceil(self.plan.slices).max(1);
        let slices: Vec<&[Sent]> = messages.chunks(size).collect();
        let (last, first) = slices.split_last().ok_or("it has no messages")?;
        for (number, slice) in first.iter().enumerate() {
            self.produce_paced(slice);
            self.wait_durable(&mut run, stint)?;
            if number == 0 {
                self.recovered_within = self.recovered_within.max(begun.elapsed());
            }
            self.feed.cut()?;
        }
        match stint.fault {
            Fault::Kill => return self.kill_amid(run, stint, last),
            Fault::Crashes(service, count) => self.crashes(&mut run, stint, (service, count), last)?,
            Fault::Outage(service, time) => self.outage(&mut run, stint, (service, time), last)?,
            Fault::Hindered => self.hindered(&mut run, stint, last)?,
            Fault::Stop | Fault::Orders(_) | Fault::Zombie(..) => {
                self.produce_paced(last);
                self.wait_durable(&mut run, stint)?;
            }
        }
        self.note(&run, stint);
        match stint.fault {
            Fault::Stop => run.stop(LIMIT),
            _ => {
                run.kill();
                Ok(())
            }
        }
    }

    /// Starts the program, with orders for the failpoints of each process.
    pub(super) fn start(&mut self, shape: Shape, orders: impl Fn(usize) -> String) -> Run {
        let seen = self.folder.path().join("passed.txt").display().to_string();
        let bug = self.plan.bug.map_or("", Bug::name);
        let mut starts = self.own.starts(shape, self.feed.topic(), &self.services);
        for (index, start) in starts.iter_mut().enumerate() {
            start.orders = orders(index);
            start.faults = vec![
                ("TIDEWATCH_FAILPOINTS_SEEN", seen.clone()),
                ("TIDEWATCH_BUG", bug.to_owned()),
            ];
        }
        self.runs += 1;
        Run::start(starts, &self.folder.path().join(format!("run-{}", self.runs)))
    }

    pub(super) fn produce_paced(&mut self, messages: &[Sent]) {
        for part in messages.chunks(messages.len().div_ceil(PARTS).max(1)) {
            self.feed.produce(part);
            std::thread::sleep(PACE);
        }
    }

    /// Writes messages at a pace until something is so: those that are left.
    pub(super) fn produce_until<'a>(
        &mut self,
        messages: &'a [Sent],
        mut is_so: impl FnMut(&mut Trial) -> bool,
    ) -> &'a [Sent] {
        let mut left = messages;
        let size = messages.len().div_ceil(MANY_PARTS).max(1);
        while !left.is_empty() && !is_so(self) {
            let (part, rest) = left.split_at(size.min(left.len()));
            self.feed.produce(part);
            left = rest;
            std::thread::sleep(PACE);
        }
        left
    }

    /// Waits until a checkpoint has all that was written. A run that ends by orders is started again without.
    pub(super) fn wait_durable(&mut self, run: &mut Run, stint: &Stint) -> Result<(), Problem> {
        let begun = Instant::now();
        while !(self.feed.is_durable() && self.own.archive.has(self.feed.written())) {
            if !run.has_orders() {
                run.check_runs()?;
            } else if let Some((index, status)) = run.ended() {
                run.end_within(LIMIT)?;
                self.lines
                    .push(format!("  process {index} ended by {:?}: {status}", stint.fault));
                *run = self.start(stint.shape, |_| String::new());
            }
            if begun.elapsed() > self.plan.patience {
                let (committed, written) = (self.feed.committed(), self.feed.written());
                let said = run.said();
                return Err(format!("a checkpoint is at {committed:?} of {written:?}: {said}"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Runs until all is in a checkpoint and stops; what sinks have not taken by then, after an outage or on a machine
    /// that is busy, the next start delivers, as the program says.
    fn finish(&mut self) -> Result<(), Problem> {
        let shapes = self.plan.store.shapes();
        let stint = Stint {
            shape: shapes[self.plan.stints.len() % shapes.len()],
            fault: Fault::Stop,
        };
        for _ in 0..RESTS_MAX {
            let mut run = self.start(stint.shape, |_| String::new());
            self.wait_durable(&mut run, &stint)?;
            run.stop(LIMIT)?;
            if !run.said().contains(REST) {
                return Ok(());
            }
        }
        Err(format!("after {RESTS_MAX} starts sinks have not taken everything"))
    }

    /// Notes what a run had done before its end.
    pub(super) fn note(&mut self, run: &Run, stint: &Stint) {
        let done = Done {
            checkpoints: run.counter(CHECKPOINTS),
            closed: run.counter("tidewatch_rows_total{status=\"final\"}"),
            corrected: run.counter("tidewatch_rows_total{status=\"corrected\"}"),
        };
        if stint.fault == Fault::Kill {
            let least = self.least.get_or_insert(done);
            *least = Done {
                checkpoints: least.checkpoints.min(done.checkpoints),
                closed: least.closed.min(done.closed),
                corrected: least.corrected.min(done.corrected),
            };
        }
        self.lines.push(format!(
            "  run {} ({}): {:?} after {} checkpoints, {} windows closed, {} corrected; {} records",
            self.runs,
            shown(stint.shape),
            stint.fault,
            done.checkpoints,
            done.closed,
            done.corrected,
            self.feed.written().iter().sum::<i64>(),
        ));
    }

    fn passed(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.folder.path().join("passed.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn shown(shape: Shape) -> String {
    format!("{} x {}", shape.processes, shape.threads)
}
