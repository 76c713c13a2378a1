//! The checks of a sink that adds readings to what it has stored: the rows are those of a recomputation, and each reading
//! counts once.

use crate::Storing;
use crate::hot::HotStore;
use crate::mending::Mending;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewatch_proto::ids::{Epoch, Generation, Name, Offset, Partition};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Delivery, Job, Jobs, Row, Status, Values};
use tidewatch_proto::straggler::Straggler;
use tidewatch_proto::time::EventTime;

/// A storing sink under test.
pub struct StoringSubject<'a> {
    /// Opens the sink, anew each time, on the same store, with what [`mending`] says.
    pub sink: &'a dyn Fn() -> Box<dyn Storing>,
    /// Opens a reader.
    pub store: &'a dyn Fn() -> Box<dyn HotStore>,
}

/// What the sink under test adds readings to.
pub fn mending() -> Mending {
    Mending {
        jobs: JOBS.map(|own| own.0).to_vec(),
        quantiles: true,
        partitions: vec!["log/0".into(), "log/1".into()],
        calendar: Arc::default(),
    }
}

const START: i64 = 1_750_003_200_000;
const MINUTE: i64 = 60_000;
const JOBS: [(Job, i64, i64); 4] = [
    (Job::Minute, 1, 1),
    (Job::FiveMinutes, 5, 1),
    (Job::Hour, 60, 60),
    (Job::Day, 1_440, 1_440),
];

/// A reading of the only metric: its device, event time and value.
type Read = (usize, i64, f64);

/// What a window holds: (job, device, start) to event times and values in the order of the log.
type Windows = BTreeMap<(Job, usize, i64), Vec<(i64, f64)>>;

fn windows(readings: &[Read]) -> Windows {
    let mut windows = Windows::new();
    for (device, at, value) in readings {
        for (job, minutes, every) in JOBS {
            let first = at.div_euclid(every * MINUTE) * every * MINUTE;
            for start in (0..minutes / every).map(|by| first - by * every * MINUTE) {
                windows.entry((job, *device, start)).or_default().push((*at, *value));
            }
        }
    }
    windows
}

/// The plain statistics of a window; quantiles are left out.
fn plain(readings: &[(i64, f64)]) -> Values {
    let valid: Vec<(i64, f64)> = readings
        .iter()
        .copied()
        .filter(|(_, value)| value.is_finite())
        .collect();
    let n = valid.len() as f64;
    let sum = valid.iter().map(|(_, value)| value).sum::<f64>();
    let squares = valid.iter().map(|(_, value)| (value - sum / n).powi(2)).sum::<f64>();
    Values {
        count: valid.len() as u64,
        invalid_count: (readings.len() - valid.len()) as u64,
        devices: 1,
        sum,
        min: valid.iter().map(|(_, value)| *value).reduce(f64::min),
        max: valid.iter().map(|(_, value)| *value).reduce(f64::max),
        first: valid.iter().min_by_key(|(at, _)| *at).map(|(_, value)| *value),
        last: valid.iter().max_by_key(|(at, _)| *at).map(|(_, value)| *value),
        mean: (!valid.is_empty()).then_some(sum / n),
        stddev: (valid.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
        quantiles: None,
    }
}

/// Numbers from a seed.
fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    }
}

fn readings(seed: u64, devices: std::ops::Range<u64>, count: usize) -> Vec<Read> {
    let mut random = numbers(seed);
    let one = |_| {
        let value = match random(12) {
            0 => f64::NAN,
            _ => random(1_000_000) as f64 / 512.0 - 900.0,
        };
        let device = devices.start + random(devices.end - devices.start);
        (device as usize, START + (random(130 * 60_000)) as i64, value)
    };
    (0..count).map(one).collect()
}

fn device(number: usize) -> Name {
    format!("late-{number}").into()
}

fn row((job, number, start): (Job, usize, i64), values: Values) -> Row {
    let minutes = JOBS.iter().find(|own| own.0 == job).map_or(1, |own| own.1);
    Row {
        job,
        key: device(number),
        metric: "load".into(),
        window_start: EventTime(start),
        window_end: EventTime(start + minutes * MINUTE),
        values,
        status: Status::Final,
        revision: Epoch(10),
    }
}

fn stragglers(readings: &[Read]) -> Vec<Straggler> {
    let straggler = |(offset, (number, at, value)): (i64, &Read)| Straggler {
        partition: Partition(1),
        offset: Offset(offset),
        device: device(*number),
        at: EventTime(*at),
        readings: vec![("load".into(), *value)],
        taken: Jobs::default(),
    };
    (100..).zip(readings).map(straggler).collect()
}

fn delivery(generation: u64, through: u64, items: Vec<Row>) -> Delivery<Row> {
    Delivery {
        generation: Generation(generation),
        through: Epoch(through),
        items,
    }
}

fn near(got: Option<f64>, want: Option<f64>, what: &str) {
    match (got, want) {
        (Some(got), Some(want)) => assert!(
            (got - want).abs() <= 1e-9 * (1.0 + want.abs()),
            "{what}: {got} for {want}"
        ),
        (got, want) => assert_eq!(got, want, "{what}"),
    }
}

/// All that is stored of the devices, checked against all readings.
fn check(subject: &StoringSubject<'_>, timely: &[Read], late: &[Read]) -> BTreeMap<(Job, usize, i64), Row> {
    let reader = (subject.store)();
    let (before, added) = (windows(timely), windows(late));
    let mut all = before.clone();
    for (key, more) in &added {
        all.entry(*key).or_default().extend(more);
    }
    let mut stored = BTreeMap::new();
    for number in 0..4 {
        for (job, ..) in JOBS {
            let query = SeriesQuery {
                job,
                key: device(number),
                metric: "load".into(),
                from: EventTime(START - 24 * 60 * MINUTE),
                to: EventTime(START + 24 * 60 * MINUTE),
                order: Order::OldestFirst,
                limit: 10_000,
            };
            for row in super::read(&*reader, &query) {
                stored.insert((job, number, row.window_start.0), row);
            }
        }
    }
    assert_eq!(stored.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    for (key, row) in &stored {
        let (got, want) = (row.values, plain(&all[key]));
        let exact = |values: &Values| (values.count, values.invalid_count, values.min, values.max);
        assert_eq!(exact(&got), exact(&want), "{key:?}");
        near(Some(got.sum), Some(want.sum), "sum");
        near(got.mean, want.mean, "mean");
        near(got.stddev, want.stddev, "stddev");
        let was = before.get(key).map(|readings| plain(readings));
        match was.filter(|was| was.count > 0) {
            // Of what the engine made the times are not known.
            Some(was) => assert_eq!((got.first, got.last), (was.first, was.last), "{key:?}"),
            None => assert_eq!((got.first, got.last), (want.first, want.last), "{key:?}"),
        }
        if !before.contains_key(key) && want.count > 0 {
            let mut sorted: Vec<f64> = all[key]
                .iter()
                .map(|own| own.1)
                .filter(|value| value.is_finite())
                .collect();
            sorted.sort_by(f64::total_cmp);
            let median = sorted[(sorted.len().div_ceil(2)).max(1) - 1];
            let Some(got) = got.quantiles.map(|quantiles| quantiles.p50) else {
                panic!("{key:?}: all readings are known")
            };
            assert!(
                (got - median).abs() <= median.abs() / 64.0,
                "{key:?}: {got} for {median}"
            );
        }
        let status = if added.contains_key(key) {
            Status::Corrected
        } else {
            Status::Final
        };
        assert_eq!(row.status, status, "{key:?}");
    }
    stored
}

/// Puts a storing sink through deliveries that are made again, alone and as the beginning of a larger one, by the same
/// run and by a later one. The store must be empty.
///
/// # Panics
/// When a reading is missing or counted twice.
pub fn storing_sink(subject: &StoringSubject<'_>) {
    let (timely, late) = (readings(7, 0..3, 400), readings(8, 1..4, 300));
    let late_ones = stragglers(&late);
    let rows = windows(&timely).into_iter().map(|(key, own)| row(key, plain(&own)));
    let mend = |run: u64, through: u64, rows: Vec<Row>, late: &[Straggler]| {
        let mut sink = (subject.sink)();
        match sink.mend(&delivery(run, through, rows), late) {
            Ok(mended) => mended,
            Err(error) => panic!("{}: the delivery through {through} failed: {error}", sink.name()),
        }
    };
    assert_eq!(mend(1, 10, rows.collect(), &[]), []);
    mend(1, 20, Vec::new(), &late_ones[..100]);
    let again = mend(1, 20, Vec::new(), &late_ones[..100]);
    let stored = check(subject, &timely, &late[..100]);
    for row in &again {
        let number = (0..4).find(|number| device(*number) == row.key);
        let same = number.and_then(|number| stored.get(&(row.job, number, row.window_start.0)));
        assert_eq!(same, Some(row), "given back as stored");
    }
    assert_eq!(again.len(), windows(&late[..100]).len());
    // The run dies before it knows, and the next gives more at once.
    mend(1, 30, Vec::new(), &late_ones[..180]);
    mend(2, 0, Vec::new(), &[]);
    mend(2, 40, Vec::new(), &late_ones[100..]);
    let stored = check(subject, &timely, &late);
    // All of it again changes nothing.
    mend(2, 50, Vec::new(), &late_ones);
    assert_eq!(check(subject, &timely, &late), stored);
    // A row that takes a mended one's place takes the readings again.
    let mut both = windows(&late)
        .into_keys()
        .filter(|key| windows(&timely).contains_key(key));
    let Some(key) = both.next() else {
        panic!("both have windows")
    };
    let replayed = Row {
        revision: Epoch(60),
        ..row(key, plain(&windows(&timely)[&key]))
    };
    mend(2, 60, vec![replayed], &late_ones);
    let now = check(subject, &timely, &late);
    assert!(now[&key].revision > stored[&key].revision);
}
