//! The parts about what is embedded: the log alone, and the program on nothing else.

use super::{Asked, Done, done};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tidewatch_failpoints::{Bug, Point};
use tidewatch_tests::faults::appender::Appending;
use tidewatch_tests::faults::embedded::{self, Blow, Plan};
use tidewatch_tests::faults::schedule::StoreKind;
use tidewatch_tests::proxies::Wrong;

/// Failpoints of one trial.
const TOGETHER: usize = 16;
/// How long a log keeps records of which most have to leave in a trial.
const RETENTION: Duration = Duration::from_secs(2);

fn program() -> PathBuf {
    std::env::current_exe().expect("it runs")
}

/// Whatever the embedded log has acknowledged is there, over kills at any moment and at each of its places.
pub(super) fn appended(asked: &Asked) -> Vec<(String, Done)> {
    let places = Point::ALL.iter().filter(|point| point.name().starts_with("log-"));
    let orders = places.flat_map(|point| {
        let actions = ["kill@3", "error*2@3", "delay:100@3"];
        actions.map(|action| format!("{}={action}", point.name()))
    });
    let program = program();
    let appending = Appending {
        program: &program,
        seed: asked.seed,
        kills: 10 * asked.kills,
        orders: orders.collect(),
        bug: None,
    };
    let done = appending.run().map_err(|problem| vec![problem]);
    vec![(format!("the log, {} kills", appending.kills), done)]
}

/// The program on its embedded parts.
pub(super) fn embedded(asked: &Asked) -> Vec<(String, Done)> {
    let mut rows = Vec::new();
    let mut run = |name: String, plan: &Plan| {
        let outcome = embedded::run(plan);
        rows.push((name, done(&outcome)));
        outcome.passed
    };
    let plan = |blows: Vec<Blow>| Plan::of(asked.seed, blows);
    let kills = (asked.kills / 4).max(1);
    let blows = (0..kills).map(|number| if number % 5 == 4 { Blow::Stop } else { Blow::Kill });
    run(format!("{kills} kills and stops"), &plan(blows.collect()));
    let short = Plan {
        retention: Some(RETENTION),
        ..plan(vec![Blow::Kill; kills.min(10)])
    };
    run("records leave the log".to_owned(), &short);
    let mut passed = BTreeSet::new();
    for some in embedded::failpoints().chunks(TOGETHER) {
        let first = some.first().map_or(String::new(), |blow| format!("{blow:?}"));
        // So that files leave the log too.
        let plan = Plan {
            retention: Some(RETENTION),
            ..plan(some.to_vec())
        };
        passed.extend(run(format!("{} from {first}", some.len()), &plan));
    }
    let full = Plan {
        small_disk: true,
        ..plan(vec![Blow::Kill, Blow::Full(Duration::from_secs(20)), Blow::Kill])
    };
    run("a full disk".to_owned(), &full);
    let away = Wrong::ALL.map(|wrong| Blow::Away(wrong, Duration::from_secs(30)));
    let away = Plan {
        archive: StoreKind::Bucket,
        retention: Some(RETENTION),
        ..plan(away.to_vec())
    };
    run("S3 away, the log short".to_owned(), &away);
    let wanted = embedded::points();
    let missed: Vec<&str> = wanted.iter().copied().filter(|name| !passed.contains(*name)).collect();
    let all = match missed.is_empty() {
        true => Ok(format!("all {} were passed", wanted.len())),
        false => Err(vec![format!("never passed: {}", missed.join(", "))]),
    };
    rows.push(("places".to_owned(), all));
    rows
}

/// Whether a mistake is about what is embedded.
pub(super) fn is_about(bug: Bug) -> bool {
    matches!(
        bug,
        Bug::LogEarlyAck
            | Bug::LogLetsGo
            | Bug::UnguardedUpsert
            | Bug::MendTwice
            | Bug::ArchiveRewind
            | Bug::CollectNamed
    )
}

/// What is wrong with a program that makes such a mistake; nothing when nobody notices.
pub(super) fn probed(seed: u64, bug: Bug) -> Vec<String> {
    if bug == Bug::LogEarlyAck {
        let program = program();
        let appending = Appending {
            program: &program,
            seed,
            kills: 20,
            orders: Vec::new(),
            bug: Some(bug),
        };
        return appending.run().err().into_iter().collect();
    }
    let plan = Plan {
        bug: Some(bug),
        retention: (bug == Bug::LogLetsGo).then_some(RETENTION),
        patience: Duration::from_secs(20),
        ..Plan::of(seed, embedded::probing())
    };
    embedded::run(&plan).problems
}

/// Without a mistake the same finds nothing.
pub(super) fn unprobed(seed: u64) -> (String, Done) {
    let plan = Plan::of(seed, embedded::probing());
    ("none, embedded".to_owned(), done(&embedded::run(&plan)))
}
