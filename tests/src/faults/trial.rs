//! A workload, a schedule, and what came of it.

use super::Problem;
use super::ledger::Ledger;
use super::oracle::{self, Verdict};
use super::outputs;
use super::process::Process;
use super::schedule::{Fault, SHAPES, Shape, Stint};
use super::workload::{PARTITIONS, Random, Sent, Workload};
use crate::sinks::postgres::Database;
use crate::sinks::{component, unique};
use crate::sources::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset as At, TopicPartitionList};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidewatch_failpoints::Bug;

/// How long anything may take that does not depend on how much there is to do.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// A slice of a stint's messages is written in so many parts, so that checkpoints fall between them.
const PARTS: usize = 8;
/// The time between two of them: messages come at a pace, as from devices.
const PACE: Duration = Duration::from_millis(50);

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all that is random comes from.
    pub seed: u64,
    /// Messages in all.
    pub messages: u64,
    /// How many minutes of event time they span.
    pub minutes: u64,
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
    /// The fewest checkpoints that a killed run had made.
    pub checkpoints_least: u64,
    /// The fewest corrected rows that a killed run had published.
    pub corrections_least: u64,
    /// The longest time from a start until the run had a checkpoint of what was there.
    pub recovered_within: Duration,
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    let mut trial = Trial::new(plan);
    let mut problems: Vec<Problem> = trial.all().err().into_iter().collect();
    let mut outcome = Outcome {
        passed: trial.passed(),
        lines: std::mem::take(&mut trial.lines),
        checkpoints_least: trial.checkpoints_least,
        corrections_least: trial.corrections_least,
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
    outcome.problems = problems;
    outcome
}

/// A topic, a database, a folder: all that a trial has.
pub struct Trial {
    plan: Plan,
    topic: Topic,
    producer: BaseProducer,
    group: BaseConsumer,
    database: Database,
    names: Names,
    folder: tempfile::TempDir,
    state: PathBuf,
    ledger: Option<Ledger>,
    random: Random,
    written: [i64; PARTITIONS],
    cut: [i64; PARTITIONS],
    runs: usize,
    lines: Vec<String>,
    checkpoints_least: u64,
    corrections_least: u64,
    recovered_within: Duration,
}

/// What the trial calls its own.
struct Names {
    group: String,
    rows: String,
    letters: String,
}

impl Trial {
    /// An empty topic and an empty database for a plan.
    ///
    /// # Panics
    /// When a component doesn't do its part.
    pub fn new(plan: &Plan) -> Trial {
        let topic = Topic::create(
            PARTITIONS as i32,
            &[("message.timestamp.type", "CreateTime"), ("retention.ms", "-1")],
        );
        let folder = tempfile::tempdir().expect("a folder");
        let names = Names {
            group: unique("faults"),
            rows: unique("rows"),
            letters: unique("letters"),
        };
        let group = ClientConfig::new()
            .set("bootstrap.servers", component("TIDEWATCH_TEST_KAFKA"))
            .set("group.id", &names.group)
            .create()
            .expect("a consumer");
        Trial {
            plan: plan.clone(),
            producer: topic.producer_with(&[("compression.type", "lz4")]),
            group,
            database: Database::new(&component("TIDEWATCH_TEST_POSTGRES")),
            names,
            ledger: Some(Ledger::follow(&topic.name, &folder.path().join("ledger.tsv"))),
            topic,
            state: folder.path().join("state"),
            folder,
            random: Random::new(plan.seed),
            written: [0; PARTITIONS],
            cut: [0; PARTITIONS],
            runs: 0,
            lines: Vec::new(),
            checkpoints_least: u64::MAX,
            corrections_least: u64::MAX,
            recovered_within: Duration::ZERO,
        }
    }

    /// Where the last run has its state.
    pub fn state(&self) -> &std::path::Path {
        &self.state
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
            outputs::postgres(&self.database, self.folder.path(), &format!("{number:03}"));
        }
        let closing = workload.closing();
        self.produce(&closing);
        self.finish().map_err(|problem| format!("the last run: {problem}"))
    }

    /// Asks the oracle, when all is over.
    ///
    /// # Errors
    /// When it fails.
    pub fn judged(&mut self) -> Result<Verdict, Problem> {
        self.wait_for_ledger(self.written)?;
        self.ledger.take().into_iter().for_each(Ledger::close);
        let (brokers, folder) = (component("TIDEWATCH_TEST_KAFKA"), self.folder.path());
        outputs::postgres(&self.database, folder, "final");
        outputs::kafka_rows(&brokers, &self.names.rows, folder);
        outputs::kafka_letters(&brokers, &self.names.letters, folder);
        oracle::judge(folder)
    }

    fn stint(&mut self, stint: &Stint, messages: &[Sent]) -> Result<(), Problem> {
        let orders = match &stint.fault {
            Fault::Orders(orders) => orders.as_str(),
            Fault::Kill | Fault::Stop | Fault::Zombie => "",
        };
        let begun = Instant::now();
        let mut process = self.start(stint.shape, orders);
        let size = messages.len().div_ceil(self.plan.slices).max(1);
        let slices: Vec<&[Sent]> = messages.chunks(size).collect();
        let (last, first) = slices.split_last().ok_or("it has no messages")?;
        for (number, slice) in first.iter().enumerate() {
            self.produce_paced(slice);
            self.wait_durable(&mut process, stint)?;
            if number == 0 {
                self.recovered_within = self.recovered_within.max(begun.elapsed());
            }
            self.cut()?;
        }
        match stint.fault {
            Fault::Kill => self.kill_amid(process, last),
            Fault::Stop => {
                self.produce_paced(last);
                self.wait_durable(&mut process, stint)?;
                self.stop(process)
            }
            Fault::Orders(_) => {
                self.produce_paced(last);
                self.wait_durable(&mut process, stint)?;
                self.note(&process, stint);
                process.kill();
                Ok(())
            }
            Fault::Zombie => self.zombie(process, stint, last),
        }
    }

    /// Starts the program, with orders for its failpoints.
    fn start(&mut self, shape: Shape, orders: &str) -> Process {
        let brokers = component("TIDEWATCH_TEST_KAFKA");
        let keys = [
            ("SOURCE__KIND", "kafka".to_owned()),
            ("KAFKA__BROKERS", brokers),
            ("KAFKA__TOPIC", self.topic.name.clone()),
            ("KAFKA__GROUP_ID", self.names.group.clone()),
            ("KAFKA__START", "earliest".to_owned()),
            ("POSTGRES__URL", self.database.config.url.clone()),
            ("POSTGRES__SCHEMA", self.database.config.schema.clone()),
            ("OUTPUT__KAFKA__TOPIC", self.names.rows.clone()),
            ("OUTPUT__KAFKA__CREATE_TOPICS", "true".to_owned()),
            ("DEAD_LETTER__KIND", "kafka".to_owned()),
            ("DEAD_LETTER__TOPIC", self.names.letters.clone()),
            ("ENGINE__THREADS", shape.threads.to_string()),
            ("API__LISTEN", "127.0.0.1:0".to_owned()),
            ("STATE__FOLDER", self.state.display().to_string()),
        ];
        let seen = self.folder.path().join("passed.txt").display().to_string();
        let bug = self.plan.bug.map_or("", Bug::name);
        let faults = [
            ("TIDEWATCH_FAILPOINT", orders.to_owned()),
            ("TIDEWATCH_FAILPOINTS_SEEN", seen),
            ("TIDEWATCH_BUG", bug.to_owned()),
        ];
        self.runs += 1;
        Process::spawn(
            &keys,
            &faults,
            &self.folder.path().join(format!("run-{}.log", self.runs)),
        )
    }

    fn produce_paced(&mut self, messages: &[Sent]) {
        for part in messages.chunks(messages.len().div_ceil(PARTS).max(1)) {
            self.produce(part);
            std::thread::sleep(PACE);
        }
    }

    fn produce(&mut self, messages: &[Sent]) {
        for sent in messages {
            let mut record = BaseRecord::to(&self.topic.name)
                .partition(sent.partition)
                .timestamp(sent.log_ms)
                .key(&sent.key)
                .payload(&sent.payload);
            while let Err((_, back)) = self.producer.send(record) {
                self.producer.poll(POLL);
                record = back;
            }
            self.written[sent.partition as usize] += 1;
        }
        self.producer.flush(LIMIT).expect("acknowledged");
    }

    /// Waits until a checkpoint has all that was written. A run that ends by orders is started again without.
    fn wait_durable(&mut self, process: &mut Process, stint: &Stint) -> Result<(), Problem> {
        let begun = Instant::now();
        while self.committed() < self.written {
            if let Some(status) = process.ended() {
                if !matches!(stint.fault, Fault::Orders(_)) || !process.has_orders() {
                    return Err(format!("it ended by itself, {status}: {}", process.said()));
                }
                self.lines.push(format!("  ended by {:?}: {status}", stint.fault));
                *process = self.start(stint.shape, "");
            }
            if begun.elapsed() > self.plan.patience {
                let (committed, written) = (self.committed(), self.written);
                let said = process.said();
                return Err(format!("a checkpoint is at {committed:?} of {written:?}: {said}"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Where the consumer group stands, which follows checkpoints.
    fn committed(&self) -> [i64; PARTITIONS] {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS as i32 {
            list.add_partition(&self.topic.name, partition);
        }
        let mut committed = self.cut;
        // A broker that doesn't answer in time is asked again.
        let Ok(list) = self.group.committed_offsets(list, LIMIT) else {
            return committed;
        };
        for element in list.elements() {
            if let At::Offset(offset) = element.offset() {
                committed[element.partition() as usize] = offset;
            }
        }
        committed
    }

    /// Takes away what checkpoints have, when the ledger has it too.
    fn cut(&mut self) -> Result<(), Problem> {
        let committed = self.committed();
        self.wait_for_ledger(committed)?;
        for (partition, offset) in committed.into_iter().enumerate() {
            if offset > self.cut[partition] {
                self.topic.remove_before(partition as i32, offset);
                self.cut[partition] = offset;
            }
        }
        Ok(())
    }

    fn wait_for_ledger(&self, offsets: [i64; PARTITIONS]) -> Result<(), Problem> {
        let begun = Instant::now();
        let has_all = |ledger: &Ledger| (0..PARTITIONS).all(|partition| ledger.has(partition, offsets[partition]));
        while !self.ledger.as_ref().is_none_or(has_all) {
            if begun.elapsed() > LIMIT {
                return Err(format!("the ledger has not come to {offsets:?} after {LIMIT:?}"));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Kills a run at a random time while messages come.
    fn kill_amid(&mut self, mut process: Process, messages: &[Sent]) -> Result<(), Problem> {
        let doomed = self.random.below(messages.len() as u64) as usize;
        self.produce_paced(&messages[..doomed]);
        self.note(
            &process,
            &Stint {
                shape: SHAPES[0],
                fault: Fault::Kill,
            },
        );
        // The moment is the nemesis' choice: nothing is waited for.
        std::thread::sleep(Duration::from_millis(self.random.below(700)));
        if let Some(status) = process.ended() {
            return Err(format!("it ended by itself, {status}: {}", process.said()));
        }
        process.kill();
        self.produce(&messages[doomed..]);
        Ok(())
    }

    fn stop(&mut self, mut process: Process) -> Result<(), Problem> {
        process.signal("TERM");
        let status = process.end_within(LIMIT)?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("it stopped with {status}: {}", process.said())),
        }
    }

    /// The run hangs, another replaces it, and it wakes up: it must end and say why.
    fn zombie(&mut self, mut process: Process, stint: &Stint, messages: &[Sent]) -> Result<(), Problem> {
        self.note(&process, stint);
        process.signal("STOP");
        let copy = self.folder.path().join(format!("state-{}", self.runs));
        std::fs::create_dir(&copy).map_err(|error| error.to_string())?;
        for entry in std::fs::read_dir(&self.state)
            .map_err(|error| error.to_string())?
            .flatten()
        {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).map_err(|error| error.to_string())?;
        }
        self.state = copy;
        let (first, second) = messages.split_at(messages.len() / 2);
        let mut next = self.start(stint.shape, "");
        self.produce_paced(first);
        self.wait_durable(&mut next, stint)?;
        process.signal("CONT");
        self.produce_paced(second);
        process.end_within(LIMIT)?;
        if !process.said().contains("replaced by generation") {
            return Err(format!("the replaced run does not say so: {}", process.said()));
        }
        self.wait_durable(&mut next, stint)?;
        self.cut()?;
        next.kill();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Problem> {
        let stint = Stint {
            shape: SHAPES[SHAPES.len() - 1],
            fault: Fault::Stop,
        };
        let mut process = self.start(stint.shape, "");
        self.wait_durable(&mut process, &stint)?;
        self.stop(process)
    }

    /// Notes what a run had done before its end.
    fn note(&mut self, process: &Process, stint: &Stint) {
        let counter = |name| process.counter(name).unwrap_or(0);
        let checkpoints = counter("tidewatch_checkpoints_total");
        let closed = counter("tidewatch_rows_total{status=\"final\"}");
        let corrected = counter("tidewatch_rows_total{status=\"corrected\"}");
        if stint.fault == Fault::Kill {
            self.checkpoints_least = self.checkpoints_least.min(checkpoints);
            self.corrections_least = self.corrections_least.min(corrected);
        }
        self.lines.push(format!(
            "  run {}: {:?} after {checkpoints} checkpoints, {closed} windows closed, {corrected} corrected; {} records",
            self.runs,
            stint.fault,
            self.written.iter().sum::<i64>(),
        ));
    }

    fn passed(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.folder.path().join("passed.txt")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn shown(shape: Shape) -> String {
    format!(
        "{} processes, {} threads, {:?}",
        shape.processes, shape.threads, shape.store
    )
}
