//! The program on nothing but its embedded parts: the fleet writes to the log, the engine reads that, rows and dead letters
//! go to the embedded store, all records to the archive. It is killed again and again, its disk is full, its archive is
//! away; the same oracle judges what is there in the end.

mod ledger;
mod place;

use super::Problem;
use super::oracle::{Oracle, Verdict};
use super::outputs;
use super::process::Process;
use super::schedule::StoreKind;
use super::trial::Outcome;
use super::workload::Random;
use crate::proxies::Wrong;
use place::Place;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidewatch_failpoints::{Bug, Point};

/// How long anything may take that does not depend on how much there is to do.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// Within this time what can't be written has to be told.
const TOLD: Duration = Duration::from_secs(20);
/// What a run says that has stopped before its sinks had taken everything.
const REST: &str = "the next start delivers the rest";

/// What is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all that is random comes from.
    pub seed: u64,
    /// The runs, and what happens to each.
    pub blows: Vec<Blow>,
    /// Where the archive is: a folder, or a bucket behind a way on which things go wrong.
    pub archive: StoreKind,
    /// How long the log keeps records, if not all.
    pub retention: Option<Duration>,
    /// Whether all of it lies on a small disk of its own.
    pub small_disk: bool,
    /// The mistake that the program makes.
    pub bug: Option<Bug>,
    /// How long the end of a trial may take.
    pub patience: Duration,
}

/// What happens to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blow {
    /// It is killed at a moment of chance.
    Kill,
    /// It is told to stop.
    Stop,
    /// A place does what the environment says; what has not ended by that is killed.
    Orders(String),
    /// Its disk is full for a time, and then it is killed.
    Full(Duration),
    /// The archive is away for a time, and then it is killed.
    Away(Wrong, Duration),
}

impl Plan {
    /// These runs, on folders.
    pub fn of(seed: u64, blows: Vec<Blow>) -> Plan {
        Plan {
            seed,
            blows,
            archive: StoreKind::Folder,
            retention: None,
            small_disk: false,
            bug: None,
            patience: LIMIT,
        }
    }
}

/// The names of all places that such a run passes: those of the log, the store and the archive.
pub fn points() -> Vec<&'static str> {
    let parts = ["log-", "embedded-", "archive-"];
    let names = Point::ALL.iter().map(|point| point.name());
    names
        .filter(|name| parts.iter().any(|part| name.starts_with(part)))
        .collect()
}

/// A kill, an error and a delay at each of them, as orders of their own; all of them can fail.
pub fn failpoints() -> Vec<Blow> {
    let orders = |name: &'static str| {
        let at = if name.starts_with("archive-") { 1 } else { 3 };
        ["kill", "error*2", "delay:300"].map(|action| Blow::Orders(format!("{name}={action}@{at}")))
    };
    points().into_iter().flat_map(orders).collect()
}

/// What shows a mistake of the embedded parts.
pub fn probing() -> Vec<Blow> {
    let at = |orders: &str| Blow::Orders(orders.to_owned());
    vec![
        Blow::Kill,
        at("archive-stored=kill@4"),
        at("embedded-committed=kill@4"),
        at("embedded-committed=kill@3"),
        at("confirm=delay:3500@5;embedded-committed=kill@6"),
        at("embedded-committed=kill@2"),
        Blow::Kill,
    ]
}

/// Runs a plan.
pub fn run(plan: &Plan) -> Outcome {
    let mut trial = Trial::new(plan);
    let judged = trial.all().and_then(|()| trial.judged());
    let passed = std::fs::read_to_string(trial.place.seen()).unwrap_or_default();
    let mut outcome = Outcome {
        passed: passed.lines().map(str::to_owned).collect::<BTreeSet<String>>(),
        lines: std::mem::take(&mut trial.lines),
        ..Outcome::default()
    };
    match judged {
        Ok(verdict) => {
            outcome.problems.clone_from(&verdict.problems);
            outcome.verdict = verdict;
        }
        Err(problem) => outcome.problems.push(problem),
    }
    if !outcome.problems.is_empty() && plan.bug.is_none() {
        let kept = trial.place.keep();
        outcome
            .lines
            .push(format!("  what there was lies in {}", kept.display()));
    }
    outcome
}

struct Trial {
    plan: Plan,
    place: Place,
    oracle: Oracle,
    random: Random,
    lines: Vec<String>,
    runs: usize,
}

impl Trial {
    fn new(plan: &Plan) -> Trial {
        Trial {
            oracle: Oracle::find(),
            place: Place::new(plan),
            random: Random::new(plan.seed),
            plan: plan.clone(),
            lines: Vec::new(),
            runs: 0,
        }
    }

    fn all(&mut self) -> Result<(), Problem> {
        for (number, blow) in self.plan.blows.clone().into_iter().enumerate() {
            self.strike(&blow)
                .map_err(|problem| format!("run {number} ({blow:?}): {problem}"))?;
            outputs::embedded_rows(&self.place.store(), self.place.folder(), &format!("{number:03}"))?;
            ledger::inject(&self.place, &mut self.random, number as i64)?;
        }
        ledger::close(&self.place)?;
        self.finish().map_err(|problem| format!("the last run: {problem}"))
    }

    fn judged(&mut self) -> Result<Verdict, Problem> {
        let (folder, store) = (self.place.folder(), self.place.store());
        outputs::embedded_rows(&store, folder, "final")?;
        outputs::embedded_letters(&store, folder);
        outputs::embedded_anomalies(&store, folder)?;
        ledger::write(&self.place)?;
        self.place.archive().copy(folder)?;
        self.oracle.judge(folder)
    }

    fn start(&mut self, orders: &str, feed: &str) -> Process {
        self.runs += 1;
        let mut keys = self.place.keys();
        keys.push(("ENGINE__THREADS", (1 + self.runs % 2).to_string()));
        keys.push(("LOG__FEED", feed.to_owned()));
        let faults = [
            ("TIDEWATCH_FAILPOINT", orders.to_owned()),
            ("TIDEWATCH_FAILPOINTS_SEEN", self.place.seen().display().to_string()),
            ("TIDEWATCH_BUG", self.plan.bug.map_or("", Bug::name).to_owned()),
        ];
        Process::spawn(
            &[],
            &keys,
            &faults,
            &self.place.folder().join(format!("run-{}.log", self.runs)),
        )
    }

    /// One run and its end.
    fn strike(&mut self, blow: &Blow) -> Result<(), Problem> {
        let orders = match blow {
            Blow::Orders(orders) => orders.as_str(),
            _ => "",
        };
        let mut run = self.start(orders, "fleet");
        let wanted = 2 + self.random.below(2);
        let ended = self.works(&mut run, wanted, !orders.is_empty())?;
        if !ended {
            match blow {
                Blow::Full(time) => self.fill(&mut run, *time)?,
                Blow::Away(wrong, time) => self.hinder(&mut run, (*wrong, *time))?,
                Blow::Orders(orders) if orders.contains("=kill") => {
                    // What is passed seldom is waited for; if it isn't passed at all, that is said in the end.
                    let _ = until(LIMIT / 4, || run.ended().is_some());
                }
                _ => std::thread::sleep(Duration::from_millis(self.random.below(500))),
            }
        }
        let done = run.number("tidewatch_checkpoints_total").unwrap_or(0.0);
        self.lines
            .push(format!("  run {}: {blow:?} after {done} checkpoints", self.runs));
        match blow {
            Blow::Stop => stop(&mut run),
            _ => {
                run.kill();
                Ok(())
            }
        }
    }

    /// Waits until a run has made so many checkpoints; says whether it has ended before, as its orders want.
    fn works(&mut self, run: &mut Process, checkpoints: u64, may_end: bool) -> Result<bool, Problem> {
        let begun = Instant::now();
        loop {
            if run.number("tidewatch_checkpoints_total") >= Some(checkpoints as f64) {
                return Ok(false);
            }
            if let Some(status) = run.ended() {
                return match may_end && status.code().is_none() {
                    true => Ok(true),
                    false => Err(format!("it has ended by itself, {status}: {}", run.said())),
                };
            }
            if begun.elapsed() > self.plan.patience {
                return Err(format!("it has not made {checkpoints} checkpoints: {}", run.said()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// The disk is full for a time: the run lives on and says so, and goes on when there is room.
    fn fill(&mut self, run: &mut Process, time: Duration) -> Result<(), Problem> {
        if !self.place.fill()? {
            self.lines
                .push("  not checked: this user may not mount a file system".to_owned());
            return Ok(());
        }
        let begun = Instant::now();
        told(run, "the embedded log", "tidewatch_log_failing_seconds")?;
        while begun.elapsed() < time {
            alive(run)?;
            std::thread::sleep(POLL);
        }
        self.place.make_room()?;
        self.mended(run, "tidewatch_log_failing_seconds")
    }

    /// The archive is away for a time: the run lives on and says so, the log keeps what it lacks, and it catches up.
    fn hinder(&mut self, run: &mut Process, (wrong, time): (Wrong, Duration)) -> Result<(), Problem> {
        std::thread::scope(|scope| {
            let away = scope.spawn(|| self.place.hinder(wrong, time));
            let told = told(run, "the archive", "tidewatch_archive_failing_seconds");
            let away = away.join().map_err(|_| "toxiproxy has failed".to_owned());
            told.and(away)
        })?;
        self.mended(run, "tidewatch_archive_failing_seconds")
    }

    fn mended(&mut self, run: &mut Process, metric: &str) -> Result<(), Problem> {
        let before = run.number("tidewatch_checkpoints_total").unwrap_or(0.0);
        let is_mended = |run: &mut Process| {
            run.number(metric) == Some(0.0)
                && run.number("tidewatch_checkpoints_total") > Some(before)
                && run.get("/readyz").is_some_and(|page| page.contains(r#""ready""#))
        };
        until(LIMIT, || is_mended(run)).map_err(|()| format!("{metric} is not 0 again: {}", run.said()))
    }

    /// Runs without a fleet until all of the log is in windows, in the store and in the archive.
    fn finish(&mut self) -> Result<(), Problem> {
        let ends = ledger::ends(&self.place)?;
        for _ in 0..10 {
            let mut run = self.start("", "none");
            let read = |run: &Process| {
                (0..ends.len()).all(|index| {
                    let name = format!("tidewatch_partition_next_offset{{partition=\"log/{index}\"}}");
                    run.number(&name) == Some(ends[index] as f64)
                })
            };
            let begun = Instant::now();
            let mut since = None;
            loop {
                let checkpoints = run.number("tidewatch_checkpoints_total").unwrap_or(0.0);
                if since.is_none() && read(&run) && self.place.archive().has(ends) {
                    since = Some(checkpoints);
                }
                if since.is_some_and(|since| checkpoints >= since + 3.0) {
                    break;
                }
                alive(&mut run)?;
                if begun.elapsed() > self.plan.patience {
                    return Err(format!("the log, the engine or the archive is behind: {}", run.said()));
                }
                std::thread::sleep(POLL);
            }
            stop(&mut run)?;
            if !run.said().contains(REST) {
                return Ok(());
            }
        }
        Err("sinks have not taken everything".to_owned())
    }
}

fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> Result<(), ()> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > limit {
            return Err(());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn told(run: &mut Process, what: &str, metric: &str) -> Result<(), Problem> {
    let begun = Instant::now();
    loop {
        let page = run.get("/readyz").unwrap_or_default();
        if page.contains(what) && page.contains("503") && run.number(metric) > Some(0.0) {
            return Ok(());
        }
        alive(run)?;
        if begun.elapsed() > TOLD {
            return Err(format!("it doesn't tell of {what}: {page}: {}", run.said()));
        }
        std::thread::sleep(POLL);
    }
}

fn alive(run: &mut Process) -> Result<(), Problem> {
    match run.ended() {
        None => Ok(()),
        Some(status) => Err(format!("it has ended by itself, {status}: {}", run.said())),
    }
}

fn stop(run: &mut Process) -> Result<(), Problem> {
    run.signal("TERM");
    let status = run.end_within(LIMIT)?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("it stopped with {status}: {}", run.said())),
    }
}
