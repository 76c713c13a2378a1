//! Rows like those of W1 on S: every minute of every device and metric, an epoch for each minute.

use crate::w1::{METRICS, WINDOW_MS};
use tidewatch_proto::ids::{Epoch, Generation, Name, mix};
use tidewatch_proto::row::{Delivery, Job, Quantiles, Row, Status, Values};
use tidewatch_proto::time::EventTime;

/// A day in 2025, at midnight: all minutes lie in it.
const DAY_MS: i64 = 1_750_032_000_000;
/// Most minutes that a workload can have.
pub const MINUTES_MAX: u32 = 24 * 60;
/// A step that visits all devices in no order of their names: a prime that divides no sensible number of them.
const DEVICE_STEP: u64 = 7_919;

/// First rows, a delivery for each minute.
pub fn first_rows(devices: u32, minutes: u32) -> Vec<Delivery<Row>> {
    let keys: Vec<Name> = (0..u64::from(devices))
        .map(|place| format!("dev-{:06}", place * DEVICE_STEP % u64::from(devices)).into())
        .collect();
    let metrics = METRICS.map(Name::from);
    (0..minutes)
        .map(|minute| {
            let epoch = Epoch(u64::from(minute) + 1);
            let items = keys.iter().flat_map(|key| {
                let names = metrics.iter().map(|metric| (key.clone(), metric.clone()));
                names.map(move |(key, metric)| row(key, metric, minute, epoch))
            });
            Delivery {
                generation: Generation(1),
                through: epoch,
                items: items.collect(),
            }
        })
        .collect()
}

/// The same rows once more, each corrected by a later epoch.
pub fn corrections(first: &[Delivery<Row>]) -> Vec<Delivery<Row>> {
    let later = |epoch: Epoch| Epoch(epoch.0 + u64::from(MINUTES_MAX));
    let correct = |delivery: &Delivery<Row>| Delivery {
        generation: delivery.generation,
        through: later(delivery.through),
        items: delivery
            .items
            .iter()
            .map(|row| Row {
                status: Status::Corrected,
                revision: later(row.revision),
                ..row.clone()
            })
            .collect(),
    };
    first.iter().map(correct).collect()
}

/// A row of about eight readings, which are multiples of 1/64 as in W1.
fn row(key: Name, metric: Name, minute: u32, revision: Epoch) -> Row {
    let seed = mix(u64::from(minute) << 32 ^ stable(&key) ^ stable(&metric) << 20);
    let count = 5 + seed % 7;
    let reading = |place: u64| (640 + mix(seed + place) % 6_400) as f64 / 64.0;
    let readings: Vec<f64> = (0..count).map(reading).collect();
    let mut sorted = readings.clone();
    sorted.sort_unstable_by(f64::total_cmp);
    let sum: f64 = readings.iter().sum();
    let mean = sum / count as f64;
    let squares: f64 = readings.iter().map(|value| (value - mean).powi(2)).sum();
    let window_start = EventTime(DAY_MS + i64::from(minute) * WINDOW_MS);
    Row {
        job: Job::Minute,
        key,
        metric,
        window_start,
        window_end: EventTime(window_start.0 + WINDOW_MS),
        values: Values {
            count,
            invalid_count: 0,
            devices: 1,
            sum,
            min: sorted.first().copied(),
            max: sorted.last().copied(),
            first: readings.first().copied(),
            last: readings.last().copied(),
            mean: Some(mean),
            stddev: Some((squares / (count - 1) as f64).sqrt()),
            quantiles: Some(Quantiles {
                p50: sorted[sorted.len() / 2],
                p95: sorted[sorted.len() - 1],
                p99: sorted[sorted.len() - 1],
            }),
        },
        status: Status::Final,
        revision,
    }
}

fn stable(name: &Name) -> u64 {
    tidewatch_proto::ids::stable_hash(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_series_has_a_row_each_minute() {
        let deliveries = first_rows(100, 3);
        assert_eq!(deliveries.len(), 3);
        for delivery in &deliveries {
            let series: HashSet<(&str, &str)> = delivery.items.iter().map(|row| (&*row.key, &*row.metric)).collect();
            assert_eq!((series.len(), delivery.items.len()), (400, 400));
        }
        let corrected = corrections(&deliveries);
        assert_eq!(corrected[2].items[7].key, deliveries[2].items[7].key);
        assert!(corrected[0].through > deliveries[2].through);
    }
}
