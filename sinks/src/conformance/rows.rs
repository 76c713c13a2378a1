//! The checks of a sink for rows.

use super::sample::{corrected, row};
use super::{GENERATION, Subject, read};
use crate::ErrorKind;
use tidewatch_proto::ids::{Epoch, Generation, Name};
use tidewatch_proto::query::{DeviceQuery, DeviceSummary, Order, SeriesQuery};
use tidewatch_proto::row::{Delivery, Job, Quantiles, Row, Values};
use tidewatch_proto::time::{EVENT_TIME_MAX, EVENT_TIME_MIN, EventTime, PANE_MS, PaneNo};

/// Puts a sink through every check.
///
/// # Panics
/// When it fails one.
pub fn sink(subject: &Subject<'_>) {
    every_job_round_trips(subject);
    every_value_round_trips(subject);
    any_key_round_trips(subject);
    far_windows_round_trip(subject);
    redelivery_changes_nothing(subject);
    an_older_revision_never_wins(subject);
    the_later_row_of_a_delivery_wins(subject);
    a_delivery_may_be_empty(subject);
    ten_thousand_rows_are_stored(subject);
    reading_keeps_to_range_order_and_limit(subject);
    devices_are_listed_by_their_ids(subject);
    if subject.fences {
        an_old_generation_is_refused(subject);
    }
}

fn every_job_round_trips(subject: &Subject<'_>) {
    let rows: Vec<Row> = Job::ALL.into_iter().map(|job| row(job, "jobs", 1, 7)).collect();
    subject.deliver(10, rows.clone());
    subject.expect("rows of every job under one key", &rows);
    // A rollup's values are kept without the ones that it can't have.
    assert_eq!(
        subject.read(Job::SiteMinute, &"jobs".into(), &"temperature".into())[0]
            .values
            .first,
        None
    );
}

fn every_value_round_trips(subject: &Subject<'_>) {
    let mut rows = Vec::new();
    let mut add = |change: &dyn Fn(&mut Values)| {
        let mut new = row(Job::Minute, "values", rows.len() as i64, 20);
        change(&mut new.values);
        rows.push(new);
    };
    let singles: [fn(&mut Values) -> &mut Option<f64>; 6] = [
        |values| &mut values.min,
        |values| &mut values.max,
        |values| &mut values.first,
        |values| &mut values.last,
        |values| &mut values.mean,
        |values| &mut values.stddev,
    ];
    let awkward = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
    ];
    for single in singles {
        add(&|values| *single(values) = None);
        for number in awkward.into_iter().chain([0.1 + 0.2, 1e-300, 1.0 / 3.0]) {
            add(&|values| *single(values) = Some(number));
        }
    }
    for number in awkward {
        add(&|values| values.sum = number);
        add(&|values| {
            values.quantiles = Some(Quantiles {
                p50: number,
                p95: 1.0,
                p99: number,
            })
        });
    }
    add(&|values| values.quantiles = None);
    add(&|values| (values.count, values.invalid_count) = (i64::MAX as u64, (1 << 53) + 1));
    add(&|values| {
        *values = Values {
            devices: 1,
            ..Values::default()
        }
    });
    subject.deliver(20, rows.clone());
    subject.expect("values bit for bit", &rows);
}

fn any_key_round_trips(subject: &Subject<'_>) {
    let long = "x".repeat(256);
    let keys = [
        "Ünïcøde-Gerät",
        "温度計-7",
        "🌡️🌊",
        "a\"b\\c'd",
        "{,}",
        "NULL",
        " lead and trail ",
        "a/b:c|d%20",
        &long,
    ];
    let mut rows = Vec::new();
    for key in keys {
        for job in [Job::Hour, Job::FleetMinute] {
            rows.push(Row {
                metric: key.into(),
                ..row(job, key, 0, 21)
            });
        }
    }
    subject.deliver(21, rows.clone());
    subject.expect("keys with any text", &rows);
}

fn far_windows_round_trip(subject: &Subject<'_>) {
    let mut rows = Vec::new();
    for time in [EVENT_TIME_MIN, EventTime(-1), EventTime(0), EVENT_TIME_MAX] {
        let pane = PaneNo::of(time);
        rows.push(Row {
            window_start: pane.start(),
            window_end: pane.end(),
            ..row(Job::Minute, "far", 0, 22)
        });
    }
    subject.deliver(22, rows.clone());
    subject.expect("the first and the last minute", &rows);
}

fn redelivery_changes_nothing(subject: &Subject<'_>) {
    let first = row(Job::Minute, "again", 0, 30);
    let second = row(Job::Minute, "again", 1, 31);
    let correction = corrected(&first, 32);
    subject.deliver(31, vec![first.clone(), second.clone()]);
    subject.deliver(31, vec![first.clone(), second.clone()]);
    subject.expect("the same again", &[first.clone(), second.clone()]);
    // As the beginning of a larger delivery, and then once more.
    let larger = vec![first, second.clone(), correction.clone()];
    subject.deliver(32, larger.clone());
    subject.deliver(32, larger.clone());
    subject.expect("the same in a larger one", &[correction, second]);
}

fn an_older_revision_never_wins(subject: &Subject<'_>) {
    let old = row(Job::Minute, "older", 0, 40);
    let new = corrected(&old, 41);
    subject.deliver(41, vec![new.clone()]);
    subject.deliver(41, vec![old]);
    subject.expect("an older revision came later", &[new]);
}

fn the_later_row_of_a_delivery_wins(subject: &Subject<'_>) {
    let first = row(Job::SiteMinute, "twice", 0, 50);
    let other = row(Job::SiteMinute, "twice", 1, 50);
    let second = corrected(&first, 51);
    let third = corrected(&first, 52);
    subject.deliver(52, vec![first, other.clone(), second, third.clone()]);
    subject.expect("one key three times in a delivery", &[third, other]);
}

fn a_delivery_may_be_empty(subject: &Subject<'_>) {
    subject.deliver(60, Vec::new());
    let after = row(Job::Minute, "after-empty", 0, 61);
    subject.deliver(61, vec![after.clone()]);
    subject.expect("a row after an empty delivery", &[after]);
}

fn ten_thousand_rows_are_stored(subject: &Subject<'_>) {
    let mut rows = Vec::new();
    for minute in 0..100 {
        for device in 0..100 {
            rows.push(row(Job::Minute, &format!("many-{device}"), minute, 70));
        }
    }
    subject.deliver(70, rows.clone());
    // Half of them again with new rows among them: what is there and what is not is told apart.
    for row in rows.iter_mut().step_by(2) {
        *row = corrected(row, 71);
    }
    rows.extend((0..100).map(|device| row(Job::Minute, &format!("many-{device}"), 100, 71)));
    subject.deliver(71, rows.clone());
    subject.expect("ten thousand rows", &rows);
}

fn reading_keeps_to_range_order_and_limit(subject: &Subject<'_>) {
    let rows: Vec<Row> = (0..10).map(|minute| row(Job::Minute, "range", minute, 80)).collect();
    subject.deliver(80, rows.clone());
    let store = (subject.store)();
    let mut query = SeriesQuery {
        job: Job::Minute,
        key: "range".into(),
        metric: "temperature".into(),
        from: rows[2].window_start,
        to: rows[7].window_start,
        limit: 3,
        order: Order::OldestFirst,
    };
    assert_eq!(read(&*store, &query), rows[2..5], "the oldest of a range");
    query.order = Order::NewestFirst;
    assert_eq!(
        read(&*store, &query),
        [rows[6].clone(), rows[5].clone(), rows[4].clone()],
        "the newest of a range"
    );
    query.from = EventTime(query.to.0 + PANE_MS);
    assert_eq!(read(&*store, &query), [], "a range that ends before it begins");
    query.key = "nobody".into();
    assert_eq!(read(&*store, &query), [], "an unknown series");
}

fn devices_are_listed_by_their_ids(subject: &Subject<'_>) {
    let ids = ["listed-b", "listed-A", "Listed-é", "listed_%", "listed-a"];
    let mut rows: Vec<Row> = ids.iter().map(|id| row(Job::Minute, id, 3, 85)).collect();
    rows.push(Row {
        metric: "humidity".into(),
        ..row(Job::Minute, "listed-a", 7, 85)
    });
    // It has no one-minute window.
    rows.push(row(Job::Hour, "listed-hour", 0, 85));
    rows.push(row(Job::SiteMinute, "listed-site", 0, 85));
    subject.deliver(85, rows.clone());
    let store = (subject.store)();
    let listed = |query: DeviceQuery| match store.devices(&query) {
        Ok(devices) => devices,
        Err(error) => panic!("listing devices: {error}"),
    };
    let ask = |search: &str, after: Option<&str>, limit| {
        listed(DeviceQuery {
            search: search.to_owned(),
            after: after.map(Into::into),
            among: None,
            limit,
        })
    };
    let among = |names: &[&str]| {
        listed(DeviceQuery {
            search: "listed".to_owned(),
            after: Some("listed-A".into()),
            among: Some(names.iter().map(|name| Name::from(*name)).collect()),
            limit: 2,
        })
    };
    let ids = |devices: &[DeviceSummary]| -> Vec<String> {
        devices.iter().map(|summary| summary.device.to_string()).collect()
    };
    let all = ask("LISTED", None, 100);
    let in_order = ["Listed-é", "listed-A", "listed-a", "listed-b", "listed_%"];
    assert_eq!(ids(&all), in_order, "byte by byte, in either case");
    assert_eq!(ids(&ask("listed", None, 2)), in_order[..2], "a limit");
    assert_eq!(ids(&ask("listed", Some("listed-A"), 2)), in_order[2..4], "after one");
    assert_eq!(
        ids(&ask("sted-", Some("listed-aa"), 9)),
        ["listed-b"],
        "after one that isn't there"
    );
    assert_eq!(
        ids(&ask("_%", None, 9)),
        ["listed_%"],
        "nothing stands for anything else"
    );
    assert_eq!(ids(&ask("listed-none", None, 9)), [] as [&str; 0], "nobody");
    let some = [
        "listed_%",
        "listed-b",
        "listed-hour",
        "nobody",
        "listed-A",
        "listed-a",
        "o'clock\\\"",
    ];
    assert_eq!(ids(&among(&some)), ["listed-a", "listed-b"], "of a list");
    assert_eq!(ids(&among(&[])), [] as [&str; 0], "of nobody");
    let expected = DeviceSummary {
        device: "listed-a".into(),
        metrics: vec!["humidity".into(), "temperature".into()],
        latest: rows[5].window_start,
    };
    assert_eq!(all[2], expected);
}

/// Comes last: from then on the store takes the new generation only.
fn an_old_generation_is_refused(subject: &Subject<'_>) {
    let kept = row(Job::Minute, "fenced", 0, 90);
    subject.deliver(90, vec![kept.clone()]);
    // The new run begins where the checkpoint was: its epoch may be smaller.
    let new = Delivery {
        generation: Generation(GENERATION.0 + 1),
        through: Epoch(85),
        items: Vec::new(),
    };
    let mut sink = (subject.sink)();
    if let Err(error) = sink.deliver(&new) {
        panic!("the new generation was refused: {error}");
    }
    drop(sink);
    let late = Delivery {
        generation: GENERATION,
        through: Epoch(91),
        items: vec![corrected(&kept, 91)],
    };
    let mut sink = (subject.sink)();
    let Err(error) = sink.deliver(&late) else {
        panic!("an old generation was let in")
    };
    drop(sink);
    assert_eq!(error.kind, ErrorKind::Stop, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("generation 1 ") && text.contains("generation 2"),
        "both generations are named: {text}"
    );
    subject.expect("what an old generation wrote", &[kept]);
}
