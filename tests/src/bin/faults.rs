//! The long form of the fault harness: `faults KILLS MESSAGES SEED [PART…] [BUG…]`. It prints a table and fails when a row of
//! it is not as it must be.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidewatch_failpoints::{Bug, Point};
use tidewatch_tests::faults::schedule::{self, Fault, Stint};
use tidewatch_tests::faults::trial::{self, Outcome, Plan, Trial};
use tidewatch_tests::faults::{Problem, flips};

/// Messages of a stint that is not about their number.
const FEW: u64 = 6_000;
/// Failpoints of one trial.
const TOGETHER: usize = 12;
const FLIPS: usize = 10_000;

/// What came of a part: a remark, or what is wrong.
type Done = Result<String, Vec<Problem>>;

/// What is asked for.
struct Asked {
    kills: usize,
    messages: u64,
    seed: u64,
    only: Vec<String>,
}

/// Runs a part: what of it was run, and what came of that.
type Part = fn(&Asked) -> Vec<(String, Done)>;

/// The parts, in the order in which they are run.
const PARTS: [(&str, Part); 6] = [
    ("kills", kills),
    ("failpoints", failpoints),
    ("fence", fence),
    ("hashes", hashes),
    ("flips", damaged),
    ("bugs", bugs),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (kills, messages, seed) = (number(100) as usize, number(10_000_000), number(1));
    let asked = Asked {
        kills,
        messages,
        seed,
        only: arguments.collect(),
    };
    let mut table = String::new();
    let mut is_good = true;
    for (name, part) in PARTS {
        if !asked.only.is_empty() && !asked.only.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("{name}:");
        let begun = Instant::now();
        for (what, done) in part(&asked) {
            let row = match &done {
                Ok(remark) => format!("{name:<11} {what:<24} ok      {remark}\n"),
                Err(problems) => format!("{name:<11} {what:<24} FAILED  {}\n", problems.join("; ")),
            };
            is_good &= done.is_ok();
            print!("{row}");
            table += &row;
        }
        table += &format!("{name:<11} {:<24} {:.0} s\n", "", begun.elapsed().as_secs_f64());
    }
    println!("\nseed {}\n{table}", asked.seed);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(asked: &Asked, stints: Vec<Stint>, messages: u64, slices: usize) -> Plan {
    Plan {
        seed: asked.seed,
        messages,
        minutes: 12 * stints.len() as u64,
        stints,
        slices,
        bug: None,
        patience: Duration::from_secs(120),
    }
}

fn done(outcome: &Outcome) -> Done {
    outcome.lines.iter().for_each(|line| println!("{line}"));
    if !outcome.problems.is_empty() {
        return Err(outcome.problems.clone());
    }
    let verdict = &outcome.verdict;
    Ok(format!(
        "{} records: {} accepted, {} of them late, {} repeated, {} dead letters; {} windows; a checkpoint at the \
         latest {:.1} s after a start; hash {}",
        verdict.records,
        verdict.accepted,
        verdict.late,
        verdict.duplicates,
        verdict.dead_letters,
        verdict.windows,
        outcome.recovered_within.as_secs_f64(),
        verdict.hash
    ))
}

fn kills(asked: &Asked) -> Vec<(String, Done)> {
    let outcome = trial::run(&plan(asked, schedule::kills(asked.kills), asked.messages, 4));
    let mut done = done(&outcome);
    if done.is_ok() && (outcome.checkpoints_least < 3 || outcome.corrections_least < 1) {
        done = Err(vec![format!(
            "too little lay between two kills: {} checkpoints, {} corrections",
            outcome.checkpoints_least, outcome.corrections_least
        )]);
    }
    vec![(format!("{} kills", asked.kills), done)]
}

/// Every failpoint with every action, some in each trial; each point must have been passed.
fn failpoints(asked: &Asked) -> Vec<(String, Done)> {
    let (mut rows, mut passed) = (Vec::new(), BTreeSet::new());
    for some in schedule::all_failpoints().chunks(TOGETHER) {
        let stints = schedule::stints([Fault::Kill].into_iter().chain(some.iter().cloned()));
        let messages = FEW * stints.len() as u64;
        let outcome = trial::run(&plan(asked, stints, messages, 2));
        passed.extend(outcome.passed.iter().cloned());
        let first = some
            .first()
            .map_or(String::new(), |fault| format!("{} from {}", some.len(), shown(fault)));
        rows.push((first, done(&outcome)));
    }
    let missed: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
    let missed: Vec<&str> = missed.into_iter().filter(|name| !passed.contains(*name)).collect();
    let all = match missed.is_empty() {
        true => Ok(format!("all {} were passed", Point::ALL.len())),
        false => Err(vec![format!("never passed: {}", missed.join(", "))]),
    };
    rows.push(("places".to_owned(), all));
    rows
}

fn shown(fault: &Fault) -> String {
    match fault {
        Fault::Orders(orders) => orders.clone(),
        fault => format!("{fault:?}"),
    }
}

/// A run that hangs and is replaced.
fn fence(asked: &Asked) -> Vec<(String, Done)> {
    let faults = [Fault::Kill, Fault::Zombie, Fault::Zombie, Fault::Kill];
    let outcome = trial::run(&plan(asked, schedule::stints(faults), 4 * FEW, 2));
    vec![("STOP and CONT".to_owned(), done(&outcome))]
}

/// The same messages under different schedules come to the same, to the last bit.
fn hashes(asked: &Asked) -> Vec<(String, Done)> {
    let schedules = [
        ("no fault", vec![Fault::Stop]),
        ("stops", vec![Fault::Stop; 4]),
        ("kills", vec![Fault::Kill; 4]),
        ("more kills", vec![Fault::Kill; 8]),
    ];
    let mut rows = Vec::new();
    let mut hash = None;
    for (name, faults) in schedules {
        let plan = Plan {
            minutes: 48,
            ..plan(asked, schedule::stints(faults), 8 * FEW, 2)
        };
        let outcome = trial::run(&plan);
        let first = hash.get_or_insert_with(|| outcome.verdict.hash.clone());
        let same = match *first == outcome.verdict.hash {
            true => done(&outcome),
            false => Err(vec![format!("its hash is {}, not {first}", outcome.verdict.hash)]),
        };
        rows.push((name.to_owned(), same));
    }
    rows
}

fn damaged(asked: &Asked) -> Vec<(String, Done)> {
    let stints = schedule::stints([Fault::Kill, Fault::Kill]);
    let mut trial = Trial::new(&plan(asked, stints, 2 * FEW, 3));
    let done = trial
        .all()
        .and_then(|()| flips::damage(trial.state(), asked.seed, FLIPS));
    let done = done.map(|(flips, cuts)| format!("{flips} flips and {cuts} cuts are refused by name, none panics"));
    vec![("a checkpoint".to_owned(), done.map_err(|problem| vec![problem]))]
}

/// Every mistake must be caught, and without one the same must find nothing. Names of mistakes choose some.
fn bugs(asked: &Asked) -> Vec<(String, Done)> {
    let probe = |bug: Option<Bug>| {
        trial::run(&Plan {
            bug,
            patience: Duration::from_secs(20),
            ..plan(asked, schedule::stints(schedule::probing(bug)), 20 * FEW, 3)
        })
    };
    let is_chosen = |bug: &&Bug| asked.only.iter().any(|name| name == bug.name());
    let chosen: Vec<Bug> = Bug::ALL.iter().filter(is_chosen).copied().collect();
    let bugs = if chosen.is_empty() { Bug::ALL } else { &chosen };
    let caught = |bug: &Bug| {
        let outcome = probe(Some(*bug));
        let done = match outcome.problems.first() {
            Some(problem) => Ok(format!("caught: {}", problem.chars().take(120).collect::<String>())),
            None => Err(vec!["nobody notices".to_owned()]),
        };
        (bug.name().to_owned(), done)
    };
    let none = ("none".to_owned(), done(&probe(None)));
    [none].into_iter().chain(bugs.iter().map(caught)).collect()
}
