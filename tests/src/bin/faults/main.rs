//! The long form of the fault harness: `faults KILLS MESSAGES SEED [PART…] [STORE…] [BUG…]`. It prints a table and fails when a row of
//! it is not as it must be. With `append FOLDER` it is the process that the part about the log kills.

mod parts;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidewatch_failpoints::{Bug, Point};
use tidewatch_tests::faults::recovery::{Blow, Cluster, Times};
use tidewatch_tests::faults::schedule::{self, Fault, Letters, Stint, StoreKind, shape};
use tidewatch_tests::faults::services::{Service, Whose};
use tidewatch_tests::faults::trial::{self, Outcome, Plan, Trial};
use tidewatch_tests::faults::{Problem, appender, flips};

/// Messages of a stint that is not about their number.
const FEW: u64 = 6_000;
/// Failpoints of one trial.
const TOGETHER: usize = 12;
const FLIPS: usize = 10_000;
/// Devices of a cluster that has to recover, of four series each.
const DEVICES: u64 = 250_000;
/// How often a service is killed.
const CRASHES: usize = 20;
/// How long a service is away.
const OUTAGE: Duration = Duration::from_secs(600);
/// What may wait for sinks meanwhile.
const OUTBOX_BYTES: u64 = 32 << 20;

/// What came of a part: a remark, or what is wrong.
type Done = Result<String, Vec<Problem>>;

/// What is asked for.
struct Asked {
    kills: usize,
    messages: u64,
    seed: u64,
    only: Vec<String>,
}

impl Asked {
    /// The kinds of stores that are chosen by their names; when none is, all.
    fn stores(&self) -> Vec<StoreKind> {
        let is_named = |store: &StoreKind| self.only.iter().any(|name| name == store.name());
        let named: Vec<StoreKind> = StoreKind::ALL.into_iter().filter(is_named).collect();
        match named.is_empty() {
            true => StoreKind::ALL.to_vec(),
            false => named,
        }
    }
}

impl Asked {
    /// The services that are chosen by their names; when none is, all.
    fn services(&self) -> Vec<Service> {
        let all = [(Service::Kafka, "kafka"), (Service::Postgres, "postgres")];
        let is_named = |name: &str| self.only.iter().any(|wanted| wanted == name);
        let is_any_named = all.iter().any(|(_, name)| is_named(name));
        let chosen = all.into_iter().filter(|(_, name)| !is_any_named || is_named(name));
        chosen.map(|(service, _)| service).collect()
    }
}

/// Runs a part: what of it was run, and what came of that.
type Part = fn(&Asked) -> Vec<(String, Done)>;

/// The parts, in the order in which they are run.
const PARTS: [(&str, Part); 12] = [
    ("kills", kills),
    ("failpoints", failpoints),
    ("fence", fence),
    ("hashes", hashes),
    ("services", services),
    ("outages", outages),
    ("network", network),
    ("flips", damaged),
    ("log", parts::appended),
    ("embedded", parts::embedded),
    ("bugs", bugs),
    ("recovery", recovery),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "append") {
        let folder = arguments.nth(1).unwrap_or_default();
        let ended = appender::append(Path::new(&folder)).err();
        eprintln!("{}", ended.unwrap_or_default());
        return ExitCode::FAILURE;
    }
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

fn plan(asked: &Asked, store: StoreKind, stints: Vec<Stint>, messages: u64, slices: usize) -> Plan {
    Plan {
        seed: asked.seed,
        messages,
        minutes: 12 * stints.len() as u64,
        store,
        letters: Letters::Kafka,
        whose: Whose::Shared,
        outbox_bytes: None,
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
        "{} records: {} accepted, {} of them late, {} for stored rows, {} repeated, {} dead letters; {} windows; a \
         checkpoint at the latest {:.1} s after a start; hash {}",
        verdict.records,
        verdict.accepted,
        verdict.late,
        verdict.stragglers,
        verdict.duplicates,
        verdict.dead_letters,
        verdict.windows,
        outcome.recovered_within.as_secs_f64(),
        verdict.hash
    ))
}

/// Kills on each kind of store, one after the other: each gets its share of them.
fn kills(asked: &Asked) -> Vec<(String, Done)> {
    let shares = [
        (StoreKind::Folder, asked.kills / 5),
        (StoreKind::Bucket, asked.kills / 5),
        (StoreKind::Shared, asked.kills - 2 * (asked.kills / 5)),
    ];
    let stores = asked.stores();
    let shares = shares
        .into_iter()
        .filter(|(store, kills)| *kills > 0 && stores.contains(store));
    let row = |(store, kills): (StoreKind, usize)| {
        let messages = asked.messages * kills as u64 / asked.kills as u64;
        let outcome = trial::run(&plan(asked, store, schedule::kills(store, kills), messages, 4));
        (format!("{kills}, {}", store.name()), enough(&outcome))
    };
    shares.map(row).collect()
}

/// Whether enough lay between two kills, and all else is right.
fn enough(outcome: &Outcome) -> Done {
    let remark = done(outcome)?;
    let least = outcome.least.unwrap_or_default();
    let between = format!(
        "between two kills at least {} checkpoints, {} windows closed, {} corrections",
        least.checkpoints, least.closed, least.corrected
    );
    match least.checkpoints >= 3 && least.closed >= 1 && least.corrected >= 1 {
        true => Ok(format!("{between}; {remark}")),
        false => Err(vec![format!("too little: {between}")]),
    }
}

/// Every failpoint with every action, some in each trial; each point must have been passed.
fn failpoints(asked: &Asked) -> Vec<(String, Done)> {
    let (mut rows, mut passed) = (Vec::new(), BTreeSet::new());
    let kinds = [
        (StoreKind::Folder, Letters::Kafka),
        (StoreKind::Folder, Letters::Postgres),
        (StoreKind::Folder, Letters::Embedded),
        (StoreKind::Shared, Letters::Kafka),
        (StoreKind::Bucket, Letters::Kafka),
    ];
    for (store, letters) in kinds {
        let all = schedule::all_failpoints().into_iter();
        let here = all.filter(|(point, _)| schedule::passed_with(*point) == Some((store, letters)));
        let here: Vec<Fault> = here.map(|(_, fault)| fault).collect();
        for some in here.chunks(TOGETHER) {
            let stints = schedule::stints(store, [Fault::Kill].into_iter().chain(some.iter().cloned()));
            let messages = FEW * stints.len() as u64;
            let outcome = trial::run(&Plan {
                letters,
                ..plan(asked, store, stints, messages, 2)
            });
            passed.extend(outcome.passed.iter().cloned());
            let first = some.first().map_or(String::new(), shown);
            rows.push((format!("{} from {first}", some.len()), done(&outcome)));
        }
    }
    let all = Point::ALL
        .iter()
        .filter(|point| schedule::passed_with(**point).is_some());
    let names: Vec<&str> = all.map(|point| point.name()).collect();
    let missed: Vec<&str> = names.iter().copied().filter(|name| !passed.contains(*name)).collect();
    let all = match missed.is_empty() {
        true => Ok(format!("all {} were passed", names.len())),
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

/// Runs that hang and are replaced, by others with another number of processes.
fn fence(asked: &Asked) -> Vec<(String, Done)> {
    let row = |store: StoreKind| {
        let faults = [Fault::Kill].into_iter().chain(schedule::zombies(store));
        let stints = schedule::stints(store, faults);
        let messages = 2 * FEW * stints.len() as u64;
        let outcome = trial::run(&plan(asked, store, stints, messages, 2));
        (format!("STOP and CONT, {}", store.name()), done(&outcome))
    };
    let stores = asked.stores().into_iter();
    stores.filter(|store| *store != StoreKind::Folder).map(row).collect()
}

/// The same messages under different schedules come to the same, to the last bit.
fn hashes(asked: &Asked) -> Vec<(String, Done)> {
    let alone = |shape| {
        vec![Stint {
            shape,
            fault: Fault::Stop,
        }]
    };
    let in_turn = |store, fault: Fault, count| (store, schedule::stints(store, vec![fault; count]));
    let schedules = [
        ("no fault, 1 x 1", (StoreKind::Folder, alone(shape(1, 1)))),
        ("no fault, 1 x 2", (StoreKind::Folder, alone(shape(1, 2)))),
        ("no fault, 1 x 4", (StoreKind::Folder, alone(shape(1, 4)))),
        ("no fault, 2 x 1", (StoreKind::Shared, alone(shape(2, 1)))),
        ("no fault, 2 x 2", (StoreKind::Shared, alone(shape(2, 2)))),
        ("no fault, 4 x 1", (StoreKind::Bucket, alone(shape(4, 1)))),
        ("stops", in_turn(StoreKind::Folder, Fault::Stop, 4)),
        ("stops of clusters", in_turn(StoreKind::Shared, Fault::Stop, 5)),
        ("kills", in_turn(StoreKind::Folder, Fault::Kill, 4)),
        ("kills in clusters", in_turn(StoreKind::Shared, Fault::Kill, 8)),
        ("kills on a bucket", in_turn(StoreKind::Bucket, Fault::Kill, 5)),
    ];
    let mut rows = Vec::new();
    let mut hash = None;
    for (name, (store, stints)) in schedules {
        let outcome = trial::run(&Plan {
            minutes: 96,
            ..plan(asked, store, stints, 8 * FEW, 2)
        });
        let first = hash.get_or_insert_with(|| outcome.verdict.hash.clone());
        let same = match *first == outcome.verdict.hash || !outcome.problems.is_empty() {
            true => done(&outcome),
            false => Err(vec![format!("its hash is {}, not {first}", outcome.verdict.hash)]),
        };
        rows.push((name.to_owned(), same));
    }
    rows
}

/// Kafka and PostgreSQL are killed again and again under a run of several processes.
fn services(asked: &Asked) -> Vec<(String, Done)> {
    let row = |service: Service| {
        let stint = Stint {
            shape: shape(2, 1),
            fault: Fault::Crashes(service, CRASHES),
        };
        let outcome = trial::run(&Plan {
            whose: Whose::Own,
            minutes: 96,
            ..plan(asked, StoreKind::Shared, vec![stint], 8 * FEW, 1)
        });
        (format!("{service:?} killed {CRASHES} times"), done(&outcome))
    };
    asked.services().into_iter().map(row).collect()
}

/// Kafka and PostgreSQL are away for long: memory stays bounded, and all is caught up with.
fn outages(asked: &Asked) -> Vec<(String, Done)> {
    let row = |service: Service| {
        let stint = Stint {
            shape: shape(1, 2),
            fault: Fault::Outage(service, OUTAGE),
        };
        let outcome = trial::run(&Plan {
            whose: Whose::Own,
            outbox_bytes: Some(OUTBOX_BYTES),
            minutes: 96,
            ..plan(asked, StoreKind::Folder, vec![stint], 20 * FEW, 1)
        });
        (format!("{service:?} for {} s", OUTAGE.as_secs()), done(&outcome))
    };
    asked.services().into_iter().map(row).collect()
}

/// Everything goes wrong on the ways between the program, its services and its processes.
fn network(asked: &Asked) -> Vec<(String, Done)> {
    let stint = Stint {
        shape: shape(2, 1),
        fault: Fault::Hindered,
    };
    let outcome = trial::run(&Plan {
        whose: Whose::Hindered,
        minutes: 96,
        ..plan(asked, StoreKind::Bucket, vec![stint], 8 * FEW, 1)
    });
    vec![("stalls, resets, lost replies".to_owned(), done(&outcome))]
}

fn damaged(asked: &Asked) -> Vec<(String, Done)> {
    let stints = schedule::kills(StoreKind::Folder, 2);
    let mut trial = Trial::new(&plan(asked, StoreKind::Folder, stints, 2 * FEW, 3));
    let done = trial
        .all()
        .and_then(|()| flips::damage(trial.state(), asked.seed, FLIPS));
    let done = done.map(|(flips, cuts)| format!("{flips} flips and {cuts} cuts are refused by name, none panics"));
    vec![("a checkpoint".to_owned(), done.map_err(|problem| vec![problem]))]
}

/// Every mistake must be caught by one process or by a cluster, and without one the same must find nothing. Names of
/// mistakes choose some.
fn bugs(asked: &Asked) -> Vec<(String, Done)> {
    const STORES: [StoreKind; 2] = [StoreKind::Folder, StoreKind::Shared];
    let probe = |bug: Option<Bug>, store: StoreKind| {
        let stints = schedule::stints(store, schedule::probing(store));
        trial::run(&Plan {
            bug,
            patience: Duration::from_secs(20),
            ..plan(asked, store, stints, 20 * FEW, 3)
        })
    };
    let is_chosen = |bug: &&Bug| asked.only.iter().any(|name| name == bug.name());
    let chosen: Vec<Bug> = Bug::ALL.iter().filter(is_chosen).copied().collect();
    let bugs = if chosen.is_empty() { Bug::ALL } else { &chosen };
    let caught = |bug: &Bug| {
        let mut elsewhere = STORES.into_iter().flat_map(|store| probe(Some(*bug), store).problems);
        let problem = match parts::is_about(*bug) {
            true => parts::probed(asked.seed, *bug).into_iter().next(),
            false => elsewhere.next(),
        };
        let done = match problem {
            Some(problem) => Ok(format!("caught: {}", problem.chars().take(120).collect::<String>())),
            None => Err(vec!["nobody notices".to_owned()]),
        };
        (bug.name().to_owned(), done)
    };
    let none = |store: StoreKind| (format!("none, {}", store.name()), done(&probe(None, store)));
    let is_elsewhere = |bug: &Bug| !parts::is_about(*bug);
    let stores = STORES.into_iter().filter(|_| bugs.iter().any(is_elsewhere)).map(none);
    let embedded = bugs.iter().any(|bug| parts::is_about(*bug));
    let embedded = embedded.then(|| parts::unprobed(asked.seed));
    stores.chain(embedded).chain(bugs.iter().map(caught)).collect()
}

/// What is done to a process, how often, and within how many seconds it has to be known.
const BLOWS: [(Blow, &str, usize, f64); 2] = [(Blow::Kill, "killed", 20, 0.2), (Blow::Hang, "hung", 5, 3.0)];
/// Within how many seconds the next run has to have a checkpoint, at the median and at the 99th percentile.
const RECOVERED: (f64, f64) = (2.0, 5.0);

/// How long a supervised cluster of a million series takes to go on.
fn recovery(asked: &Asked) -> Vec<(String, Done)> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = match Cluster::start(folder.path(), DEVICES, asked.seed) {
        Ok(cluster) => cluster,
        Err(problem) => return vec![("a cluster".to_owned(), Err(vec![problem]))],
    };
    let mut rows = Vec::new();
    for (blow, name, count, known_within) in BLOWS {
        let mut times = Times::default();
        let struck = (0..count).try_for_each(|_| cluster.strike(blow, &mut times));
        let done = struck.map_err(|problem| vec![problem]).and_then(|()| {
            let (detected, recovered) = (Times::summary(&times.detected), Times::summary(&times.recovered));
            let figures = format!(
                "known after {:.2} s at the median, {:.2} at the slowest; a checkpoint after {:.2} s more at the median, {:.2} at \
                 the slowest",
                detected.0, detected.1, recovered.0, recovered.1
            );
            let is_within = detected.1 <= known_within && recovered.0 <= RECOVERED.0 && recovered.1 <= RECOVERED.1;
            if is_within { Ok(figures) } else { Err(vec![figures]) }
        });
        rows.push((format!("{count} {name}"), done));
    }
    rows.extend(
        cluster
            .stop()
            .err()
            .map(|problem| ("a stop".to_owned(), Err(vec![problem]))),
    );
    rows
}
