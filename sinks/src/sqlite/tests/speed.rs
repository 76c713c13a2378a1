//! What taking rows costs: `cargo test -p tidewatch-sinks sqlite::tests::speed -- --ignored --nocapture`. Of this thread's
//! time on a processor: what else runs on the machine doesn't count.

use super::{all, delivery, open, settings};
use crate::Sink;
use crate::conformance::row;
use crate::hot::HotStore;
use crate::parts::Parts;
use std::time::{Duration, Instant};
use tidewatch_proto::ids::Name;
use tidewatch_proto::query::DeviceQuery;
use tidewatch_proto::row::{Job, Row};

const SERIES: usize = 4_000;
const MINUTES: i64 = 480;
/// Minutes a delivery.
const TOGETHER: i64 = 12;

/// Values as a fleet's: readings of two decimals, sums of them, quantiles of a sketch.
fn fleets(mut row: Row, seed: u64) -> Row {
    let at = |place: u64| (900 + (seed * 31 + place * 17) % 200) as f64 / 100.0;
    let values = &mut row.values;
    (values.count, values.invalid_count) = (60, 0);
    values.sum = (0..60).map(at).sum();
    (values.min, values.max) = (Some(at(1)), Some(at(2)));
    (values.first, values.last) = (Some(at(3)), Some(at(4)));
    values.mean = Some(values.sum / 60.0);
    values.stddev = Some((at(5) / 3.0).sqrt());
    if let Some(quantiles) = &mut values.quantiles {
        (quantiles.p50, quantiles.p95) = (9.875, 10.125 + (seed % 8) as f64 / 8.0);
        quantiles.p99 = quantiles.p95;
    }
    row
}

/// Seconds that this thread has been on a processor.
fn busy() -> f64 {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    let nanos = said.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number")).as_secs_f64()
}

#[test]
#[ignore = "a measurement"]
fn rows_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&settings(folder.path(), 2_000));
    let mut sink = store.sink(Parts::all());
    let names: Vec<Name> = (0..SERIES).map(|n| format!("dev-{n:06}").into()).collect();
    let (mut rows, mut spent) = (0, 0.0);
    for part in 0..MINUTES / TOGETHER {
        let mut given = Vec::new();
        for minute in part * TOGETHER..(part + 1) * TOGETHER {
            let mut jobs = vec![(Job::Minute, minute), (Job::FiveMinutes, minute - 4)];
            if minute % 60 == 59 {
                jobs.push((Job::Hour, minute - 59));
            }
            for (job, minute) in jobs {
                given.extend(names.iter().enumerate().map(|(n, name)| Row {
                    key: name.clone(),
                    ..fleets(
                        row(job, "", minute, (minute + 20_000) as u64 * 600),
                        n as u64 + (minute + 20_000) as u64,
                    )
                }));
            }
        }
        let begun = busy();
        rows += given.len();
        sink.deliver(&delivery(1, part as u64, given)).unwrap();
        spent += busy() - begun;
    }
    let bytes = std::fs::metadata(store.file()).unwrap().len();
    println!("{rows} rows in {spent:.2} s: {:.0} rows/s", rows as f64 / spent);
    println!("{} bytes: {:.1} a row", bytes, bytes as f64 / rows as f64);
    let reader = store.reader();
    for _ in 0..3 {
        let begun = Instant::now();
        let found = reader.series(&all(Job::Minute, "dev-000123")).unwrap();
        println!("{} rows of a series in {:?}", found.len(), begun.elapsed());
    }
    let begun = Instant::now();
    let query = DeviceQuery {
        search: "99".into(),
        after: None,
        limit: 100,
    };
    println!(
        "{} devices in {:?}",
        reader.devices(&query).unwrap().len(),
        begun.elapsed()
    );
}
