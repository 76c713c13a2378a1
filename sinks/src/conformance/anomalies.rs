//! The checks of a sink for anomalies, and of reading them back.

use super::sample::DAY_MS;
use crate::hot::AnomalyStore;
use crate::{ErrorKind, Sink};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use tidewatch_proto::anomaly::{Anomaly, AnomalyStatus, Evidence, Field, Observation, Severity};
use tidewatch_proto::ids::{Epoch, Generation};
use tidewatch_proto::query::{AnomalyPlace, AnomalyQuery};
use tidewatch_proto::row::Delivery;
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime, PANE_MS, PaneNo};

/// A sink for anomalies under test.
pub struct AnomalySubject<'a> {
    /// Opens the sink, anew each time, on the same store.
    pub sink: &'a dyn Fn() -> Box<dyn Sink<Anomaly>>,
    /// Opens a reader.
    pub store: &'a dyn Fn() -> Box<dyn AnomalyStore>,
}

/// An anomaly that goes on and began so many minutes into the day, as published by an epoch; told apart by the revision.
pub fn anomaly(rule: &str, device: &str, metric: &str, minute: i64, revision: u64) -> Anomaly {
    let value = 41.0 + 0.1 * revision as f64;
    let pane = PaneNo::of(start(minute));
    Anomaly {
        rule: rule.into(),
        detector: "threshold".into(),
        severity: Severity::Warning,
        device: device.into(),
        metric: metric.into(),
        started_at: start(minute),
        ended_at: None,
        status: AnomalyStatus::Raised,
        evidence: Evidence::Threshold {
            of: Field::Mean,
            low: None,
            high: Some(38.0),
            first: Observation::of(pane, 40.0),
            worst: Observation::of(pane, value),
        },
        revision: Epoch(revision),
    }
}

/// Puts a sink through every check. The store must be empty.
///
/// # Panics
/// When it fails one.
pub fn anomaly_sink(subject: &AnomalySubject<'_>) {
    assert_eq!(subject.read(&everything()), [], "nothing is there");
    assert_eq!(subject.raised(), 0);
    repeats_and_older_revisions_change_nothing(subject);
    every_form_comes_back(subject);
    every_filter_keeps_to_what_matches(subject);
    pages_go_on_where_the_one_before_ended(subject);
    ten_thousand_are_stored(subject);
    an_old_generation_is_refused(subject);
}

impl AnomalySubject<'_> {
    fn deliver(&self, generation: u64, through: u64, items: &[Anomaly]) -> Result<(), crate::SinkError> {
        (self.sink)().deliver(&Delivery {
            generation: Generation(generation),
            through: Epoch(through),
            items: items.to_vec(),
        })
    }

    fn accept(&self, through: u64, items: &[Anomaly]) {
        if let Err(error) = self.deliver(1, through, items) {
            panic!("the delivery through {through} failed: {error}");
        }
    }

    fn read(&self, query: &AnomalyQuery) -> Vec<Anomaly> {
        read(&*(self.store)(), query)
    }

    fn raised(&self) -> u64 {
        match (self.store)().raised() {
            Ok(raised) => raised,
            Err(error) => panic!("counting those that go on: {error}"),
        }
    }

    /// Checks what is stored of a rule, in whatever order it is expected.
    fn expect(&self, what: &str, rule: &str, expected: &[Anomaly]) {
        let (mut found, store) = (Vec::new(), (self.store)());
        for status in AnomalyStatus::ALL {
            let query = AnomalyQuery {
                rule: Some(rule.into()),
                status: Some(status),
                ..everything()
            };
            found.extend(read(&*store, &query));
        }
        drop(store);
        found.sort_by_key(order);
        let mut expected = expected.to_vec();
        expected.sort_by_key(order);
        same(what, &found, &expected);
    }
}

fn read(store: &dyn AnomalyStore, query: &AnomalyQuery) -> Vec<Anomaly> {
    match store.anomalies(query) {
        Ok(anomalies) => anomalies,
        Err(error) => panic!("reading {query:?}: {error}"),
    }
}

fn start(minute: i64) -> EventTime {
    EventTime(DAY_MS + minute * PANE_MS)
}

fn everything() -> AnomalyQuery {
    AnomalyQuery {
        limit: usize::MAX,
        ..AnomalyQuery::default()
    }
}

fn order(anomaly: &Anomaly) -> (Reverse<EventTime>, AnomalyKey) {
    let key = (anomaly.device.clone(), anomaly.metric.clone(), anomaly.rule.clone());
    (Reverse(anomaly.started_at), key)
}

type AnomalyKey = (
    tidewatch_proto::ids::Name,
    tidewatch_proto::ids::Name,
    tidewatch_proto::ids::Name,
);

fn ended(anomaly: &Anomaly, minute: i64, revision: u64) -> Anomaly {
    Anomaly {
        ended_at: Some(start(minute)),
        status: AnomalyStatus::Cleared,
        revision: Epoch(revision),
        ..anomaly.clone()
    }
}

/// Equal, and every number bit for bit.
fn same(what: &str, found: &[Anomaly], expected: &[Anomaly]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{what}");
        assert_eq!(bits(found), bits(expected), "{what}");
    }
}

fn bits(anomaly: &Anomaly) -> Vec<Option<u64>> {
    let (low, high) = anomaly.expected();
    let first = match &anomaly.evidence {
        Evidence::Threshold { first, .. } => Some(first.value),
        Evidence::DeadMan { .. } => None,
    };
    let numbers = [anomaly.observed(), low, high, first];
    numbers.map(|number| number.map(f64::to_bits)).to_vec()
}

fn repeats_and_older_revisions_change_nothing(subject: &AnomalySubject<'_>) {
    let raised = anomaly("repeats", "dev-1", "temperature", 0, 10);
    let cleared = ended(&raised, 7, 30);
    let other = anomaly("repeats", "dev-1", "temperature", 1, 10);
    subject.accept(10, std::slice::from_ref(&raised));
    subject.accept(10, &[raised.clone(), other.clone()]);
    subject.expect(
        "the same again in a larger delivery",
        "repeats",
        &[raised.clone(), other.clone()],
    );
    subject.accept(30, std::slice::from_ref(&cleared));
    subject.accept(30, &[raised.clone(), cleared.clone()]);
    subject.accept(31, &[]);
    subject.accept(32, std::slice::from_ref(&raised));
    subject.expect("an older revision", "repeats", &[cleared.clone(), other.clone()]);
    // Of one delivery the greatest revision stays, wherever it stands.
    let (second, third) = (
        ended(&raised, 8, 40),
        Anomaly {
            status: AnomalyStatus::Withdrawn,
            ..ended(&raised, 9, 41)
        },
    );
    subject.accept(41, &[third.clone(), cleared, second]);
    subject.expect("the greatest of a delivery", "repeats", &[third, other]);
}

/// Odd names, far times, every status, numbers that take every digit.
fn every_form_comes_back(subject: &AnomalySubject<'_>) {
    let mut given = Vec::new();
    for (place, name) in ["é-温度", "a'b\"c\\d", "%_", " ", "'; --", "\u{1f30a}", "[x]{y}", "-"]
        .into_iter()
        .enumerate()
    {
        given.push(Anomaly {
            metric: name.into(),
            severity: Severity::ALL[place % 3],
            ..anomaly("forms", name, "", place as i64, 5)
        });
    }
    for (place, value) in [
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        0.1 + 0.2,
        -1.0 / 3.0,
        1e300,
        123_456_789_012_345_680.0,
        5e-324,
        0.0,
    ]
    .into_iter()
    .enumerate()
    {
        let seen = Observation::of(PaneNo::of(start(0)), value);
        given.push(Anomaly {
            evidence: Evidence::Threshold {
                of: Field::ALL[place % 4],
                low: (place % 2 == 0).then_some(seen.value),
                high: (place % 3 == 0).then_some(-seen.value),
                first: seen,
                worst: Observation {
                    at: EVENT_TIME_MIN,
                    ..seen
                },
            },
            ..anomaly("forms", "numbers", "temperature", place as i64, 5)
        });
    }
    for (place, started_at) in [EVENT_TIME_MIN, EventTime(-1), EventTime(0), EVENT_TIME_MAX]
        .into_iter()
        .enumerate()
    {
        given.push(Anomaly {
            started_at,
            ended_at: (place % 2 == 0).then_some(EVENT_TIME_MAX),
            status: AnomalyStatus::ALL[place % 3],
            detector: "dead_man".into(),
            evidence: Evidence::DeadMan {
                minutes: 10 + place as i32,
            },
            ..anomaly("forms", "times", "", 0, u64::from(u32::MAX) * 10_000)
        });
    }
    subject.accept(50, &given);
    subject.expect("every form", "forms", &given);
}

/// Anomalies that differ in all that can be asked for.
fn mixed() -> Vec<Anomaly> {
    let mut given = Vec::new();
    for number in 0..96 {
        let (device, metric) = (number % 4, number % 3);
        let raised = Anomaly {
            severity: Severity::ALL[(number / 3 % 3) as usize],
            metric: ["", "load", "temperature"][metric as usize].into(),
            ..anomaly(
                ["filters", "filters-2"][(number / 2 % 2) as usize],
                &format!("filter-{device}"),
                "",
                1_000 + number / 2,
                60,
            )
        };
        given.push(match number / 5 % 3 {
            0 => raised,
            1 => ended(&raised, 1_000 + number / 2 + 1 + number % 7, 60),
            _ => Anomaly {
                status: AnomalyStatus::Withdrawn,
                ended_at: (number % 2 == 0).then_some(start(1_060)),
                ..raised
            },
        });
    }
    given
}

fn every_filter_keeps_to_what_matches(subject: &AnomalySubject<'_>) {
    let mut given = mixed();
    subject.accept(60, &given);
    given.sort_by_key(order);
    let ask = |what: &str, change: &dyn Fn(&mut AnomalyQuery)| {
        let mut query = AnomalyQuery {
            from: Some(start(900)),
            to: Some(start(1_100)),
            ..everything()
        };
        change(&mut query);
        let from_others = |anomaly: &Anomaly| !anomaly.rule.starts_with("filters");
        let mut found = subject.read(&query);
        found.retain(|anomaly| !from_others(anomaly));
        let expected: Vec<Anomaly> = given.iter().filter(|one| query.matches(one)).cloned().collect();
        same(what, &found, &expected);
        expected.len()
    };
    let all = ask("all but those withdrawn", &|_| {});
    let mut fewer = BTreeSet::new();
    let mut some = |what: &str, change: &dyn Fn(&mut AnomalyQuery)| {
        let count = ask(what, change);
        assert!((1..all).contains(&count), "{what}: {count} of {all}");
        fewer.insert(count);
    };
    some("of a device", &|query| query.device = Some("filter-2".into()));
    some("of a metric", &|query| query.metric = Some("load".into()));
    some("of devices as a whole", &|query| query.metric = Some("".into()));
    some("of a rule", &|query| query.rule = Some("filters-2".into()));
    some("bad", &|query| query.least = Some(Severity::Warning));
    some("critical", &|query| query.least = Some(Severity::Critical));
    for status in AnomalyStatus::ALL {
        some(status.as_str(), &|query| query.status = Some(status));
    }
    some("from", &|query| query.from = Some(start(1_030)));
    some("to", &|query| query.to = Some(start(1_020)));
    some("all of it", &|query| {
        query.device = Some("filter-0".into());
        query.metric = Some("temperature".into());
        query.rule = Some("filters".into());
        query.least = Some(Severity::Info);
        query.from = Some(start(1_000));
    });
    assert!(fewer.len() > 5, "they differ: {fewer:?}");
    ask("any severity", &|query| query.least = Some(Severity::Info));
    // An end is the first instant after it, and so is the one that is asked for.
    let one = ended(&anomaly("edges", "dev", "load", 2_000, 70), 2_010, 70);
    subject.accept(70, std::slice::from_ref(&one));
    for (from, to, found) in [
        (2_009, 2_001, true),
        (2_010, 2_001, false),
        (2_009, 2_000, false),
        (1_000, 3_000, true),
    ] {
        let query = AnomalyQuery {
            rule: Some("edges".into()),
            from: Some(start(from)),
            to: Some(start(to)),
            ..everything()
        };
        assert_eq!(subject.read(&query).len(), usize::from(found), "{from} to {to}");
    }
    let far = AnomalyQuery {
        rule: Some("edges".into()),
        from: Some(EventTime(i64::MIN)),
        to: Some(EventTime(i64::MAX)),
        ..everything()
    };
    assert_eq!(subject.read(&far).len(), 1, "all of time");
}

/// With several that began at the same instant.
fn pages_go_on_where_the_one_before_ended(subject: &AnomalySubject<'_>) {
    let given: Vec<Anomaly> = (0..60)
        .map(|number| {
            let device = format!("page-{}", number % 5);
            anomaly("pages", &device, ["", "load", "é"][number % 3], number as i64 / 30, 80)
        })
        .chain((0..5).map(|number| anomaly(&format!("pages-{number}"), "page-3", "load", 0, 80)))
        .collect();
    subject.accept(80, &given);
    let mut expected: Vec<Anomaly> = Vec::new();
    for one in given {
        if !expected.iter().any(|known| order(known) == order(&one)) {
            expected.push(one);
        }
    }
    expected.sort_by_key(order);
    let filters: [&dyn Fn(&mut AnomalyQuery); 4] = [
        &|_| {},
        &|query| query.device = Some("page-3".into()),
        &|query| query.rule = Some("pages".into()),
        &|query| query.status = Some(AnomalyStatus::Raised),
    ];
    for (number, filter) in filters.into_iter().enumerate() {
        let mut query = AnomalyQuery {
            to: Some(start(2)),
            from: Some(start(0)),
            ..everything()
        };
        filter(&mut query);
        let wanted: Vec<Anomaly> = expected.iter().filter(|one| query.matches(one)).cloned().collect();
        let ours = |found: Vec<Anomaly>| found.into_iter().filter(|one| one.rule.starts_with("pages"));
        let store = (subject.store)();
        for limit in [1, 3, 7, 1_000] {
            query.limit = limit;
            query.after = None;
            let mut found = Vec::new();
            loop {
                let page = read(&*store, &query);
                assert!(page.len() <= limit, "{number}: a page of {limit}");
                query.after = page.last().map(AnomalyPlace::of);
                let is_last = page.len() < limit;
                found.extend(ours(page));
                if is_last {
                    break;
                }
            }
            same(&format!("pages of {limit} with filter {number}"), &found, &wanted);
        }
    }
}

fn ten_thousand_are_stored(subject: &AnomalySubject<'_>) {
    let given: Vec<Anomaly> = (0..10_000)
        .map(|number| {
            let raised = anomaly("many", &format!("many-{}", number % 1_000), "load", number / 1_000, 90);
            match number % 3 {
                0 => raised,
                _ => ended(&raised, 5_000, 90),
            }
        })
        .collect();
    let before = subject.raised();
    subject.accept(90, &given);
    subject.accept(91, &given);
    subject.expect("ten thousand", "many", &given);
    let raised = given.iter().filter(|one| one.status == AnomalyStatus::Raised).count();
    assert_eq!(subject.raised(), before + raised as u64, "so many go on");
    let ends: Vec<Anomaly> = given.iter().map(|one| ended(one, 6_000, 92)).collect();
    subject.accept(92, &ends);
    subject.expect("all of them have ended", "many", &ends);
    assert_eq!(subject.raised(), before);
}

fn an_old_generation_is_refused(subject: &AnomalySubject<'_>) {
    if let Err(error) = subject.deliver(2, 3, &[]) {
        panic!("the new generation was refused: {error}");
    }
    match subject.deliver(1, 100, &[anomaly("fence", "dev", "load", 0, 100)]) {
        Ok(()) => panic!("an old generation was let in"),
        Err(error) => assert_eq!(error.kind, ErrorKind::Stop, "{error}"),
    }
    subject.expect("what an old generation wrote", "fence", &[]);
}
