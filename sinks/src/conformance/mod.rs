//! What every sink must do, as checks that any sink can be put through.
//!
//! Each check writes keys of its own and reads them back, so one store can serve all of them. Sinks and stores
//! are opened one at a time, because some servers take one connection only. A check panics with what was wrong.

mod anomalies;
mod dead_letters;
mod rows;
mod sample;
mod storing;

pub use anomalies::{AnomalySubject, anomaly, anomaly_sink};
pub use dead_letters::{LARGE_BYTES, LetterSubject, dead_letter_sink, letter_store};
pub use rows::sink;
pub use sample::{row, values};
pub use storing::{StoringSubject, mending, storing_sink};

use crate::Sink;
use crate::hot::HotStore;
use std::collections::BTreeMap;
use tidewatch_proto::ids::{Epoch, Generation, Name};
use tidewatch_proto::query::{Order, SeriesQuery};
use tidewatch_proto::row::{Delivery, Job, Quantiles, Row, Values};
use tidewatch_proto::time::EventTime;

/// A sink for rows under test: how to open it, and how to read back what it stored.
pub struct Subject<'a> {
    /// Opens the sink, anew each time, on the same store.
    pub sink: &'a dyn Fn() -> Box<dyn Sink<Row>>,
    /// Opens a reader of the last row of each key.
    pub store: &'a dyn Fn() -> Box<dyn HotStore>,
    /// Whether an older generation is refused.
    pub fences: bool,
    /// Whether NaN and infinities are kept; otherwise they come back as no value (a sum as NaN).
    pub non_finite: bool,
}

/// The generation of every check but the last.
const GENERATION: Generation = Generation(1);

impl Subject<'_> {
    /// Delivers with a sink that was just opened.
    fn deliver(&self, through: u64, items: Vec<Row>) {
        let delivery = Delivery {
            generation: GENERATION,
            through: Epoch(through),
            items,
        };
        let mut sink = (self.sink)();
        if let Err(error) = sink.deliver(&delivery) {
            panic!("{}: the delivery through {through} failed: {error}", sink.name());
        }
    }

    /// All rows of a series, in the order of their windows.
    fn read(&self, job: Job, key: &Name, metric: &Name) -> Vec<Row> {
        let query = SeriesQuery {
            job,
            key: key.clone(),
            metric: metric.clone(),
            from: EventTime(-100_000_000_000_000),
            to: EventTime(200_000_000_000_000),
            limit: usize::MAX,
            order: Order::OldestFirst,
        };
        read(&*(self.store)(), &query)
    }

    /// Checks that the series of these rows hold them and nothing else.
    fn expect(&self, what: &str, rows: &[Row]) {
        let mut series: BTreeMap<(Job, Name, Name), BTreeMap<EventTime, Row>> = BTreeMap::new();
        for row in rows {
            let key = (row.job, row.key.clone(), row.metric.clone());
            series
                .entry(key)
                .or_default()
                .insert(row.window_start, self.as_stored(row));
        }
        let store = (self.store)();
        for ((job, key, metric), expected) in series {
            let from = EventTime(-100_000_000_000_000);
            let to = EventTime(200_000_000_000_000);
            let query = SeriesQuery {
                job,
                key,
                metric,
                from,
                to,
                limit: usize::MAX,
                order: Order::OldestFirst,
            };
            let found = read(&*store, &query);
            assert_eq!(
                found.len(),
                expected.len(),
                "{what}: rows of {} {} {}",
                job.as_str(),
                query.key,
                query.metric
            );
            for (found, expected) in found.iter().zip(expected.values()) {
                assert!(
                    same(found, expected),
                    "{what}:\n   found {found:?}\nexpected {expected:?}"
                );
            }
        }
    }

    /// The row as a store that keeps no NaN or infinity gives it back.
    fn as_stored(&self, row: &Row) -> Row {
        if self.non_finite {
            return row.clone();
        }
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let or_nan = |value: f64| if value.is_finite() { value } else { f64::NAN };
        let old = row.values;
        let quantile = |q: Quantiles| Quantiles {
            p50: or_nan(q.p50),
            p95: or_nan(q.p95),
            p99: or_nan(q.p99),
        };
        let values = Values {
            sum: or_nan(old.sum),
            min: finite(old.min),
            max: finite(old.max),
            first: finite(old.first),
            last: finite(old.last),
            mean: finite(old.mean),
            stddev: finite(old.stddev),
            quantiles: old.quantiles.map(quantile),
            ..old
        };
        Row { values, ..row.clone() }
    }
}

fn read(store: &dyn HotStore, query: &SeriesQuery) -> Vec<Row> {
    match store.series(query) {
        Ok(rows) => rows,
        Err(error) => panic!("reading {query:?}: {error}"),
    }
}

/// Equal bit for bit, also where a number is no number.
pub fn same(a: &Row, b: &Row) -> bool {
    let place = |row: &Row| {
        (
            row.job,
            row.key.clone(),
            row.metric.clone(),
            row.window_start,
            row.window_end,
        )
    };
    place(a) == place(b) && (a.status, a.revision) == (b.status, b.revision) && bits(&a.values) == bits(&b.values)
}

fn bits(values: &Values) -> ([u64; 4], [Option<u64>; 9]) {
    let quantile = |of: fn(&Quantiles) -> f64| values.quantiles.as_ref().map(of);
    let numbers = [
        values.min,
        values.max,
        values.first,
        values.last,
        values.mean,
        values.stddev,
        quantile(|quantiles| quantiles.p50),
        quantile(|quantiles| quantiles.p95),
        quantile(|quantiles| quantiles.p99),
    ];
    let counts = [values.count, values.invalid_count, values.devices, values.sum.to_bits()];
    (counts, numbers.map(|number| number.map(f64::to_bits)))
}
