//! Rows into tallies: of rows with the same key the last one counts.

use crate::w1::tally::{Figures, Tallies, device_number};
use crate::w1::{FLAKY_EVERY, METRICS};
use anyhow::{Context, Result, ensure};
use hashbrown::HashMap;
use tidewatch_proto::row::{Job, Row, Status};

/// What tells the rows of flaky devices apart: job, device, metric, start of the window.
type Key = (Job, u32, u8, i64);

/// Tallies of the rows taken so far.
#[derive(Default)]
pub struct Collector {
    /// The rows of minutes.
    pub minutes: Tallies,
    /// The rows of five-minute windows.
    pub hops: Tallies,
    /// Rows of all jobs, corrections too.
    pub rows: u64,
    /// The last figures of each row that may be corrected: only flaky devices send late messages.
    flaky: HashMap<Key, Figures>,
}

impl Collector {
    /// Takes a row.
    pub fn take(&mut self, row: &Row) -> Result<()> {
        self.rows += 1;
        let tallies = match row.job {
            Job::Minute => &mut self.minutes,
            Job::FiveMinutes => &mut self.hops,
            _ => return Ok(()),
        };
        let device = device_number(row.key.as_bytes()).context("a row of no W1 device")?;
        let metric = METRICS
            .iter()
            .position(|metric| **metric == *row.metric)
            .context("a row of no W1 metric")?;
        let (start_ms, values) = (row.window_start.0, &row.values);
        let figures = Figures {
            count: values.count,
            sum: values.sum,
            min: values.min.context("a row without a least value")?,
            max: values.max.context("a row without a greatest value")?,
        };
        let mean = figures.sum / figures.count as f64;
        ensure!(values.mean == Some(mean), "the mean of {row:?} is not {mean}");
        let old = match device.is_multiple_of(FLAKY_EVERY) {
            true => self.flaky.insert((row.job, device, metric as u8, start_ms), figures),
            false => None,
        };
        let status = match old {
            Some(_) => Status::Corrected,
            None => Status::Final,
        };
        ensure!(row.status == status, "a row that should be {status:?}: {row:?}");
        match old {
            Some(old) => tallies.replace(device, metric, start_ms, old, figures),
            None => tallies.add(device, metric, start_ms, figures),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::ids::Epoch;
    use tidewatch_proto::row::Values;
    use tidewatch_proto::time::EventTime;

    fn row(device: &str, count: u64, status: Status) -> Row {
        Row {
            job: Job::Minute,
            key: device.into(),
            metric: "humidity".into(),
            window_start: EventTime(60_000),
            window_end: EventTime(120_000),
            values: Values {
                count,
                sum: count as f64,
                min: Some(1.0),
                max: Some(1.0),
                mean: Some(1.0),
                ..Values::default()
            },
            status,
            revision: Epoch(1),
        }
    }

    #[test]
    fn the_last_row_of_a_key_counts() {
        let mut collector = Collector::default();
        collector.take(&row("dev-000097", 1, Status::Final)).unwrap();
        collector.take(&row("dev-000097", 3, Status::Corrected)).unwrap();
        collector.take(&row("dev-000001", 2, Status::Final)).unwrap();
        let (flaky, steady) = (collector.minutes.flaky, collector.minutes.steady);
        assert_eq!((flaky.rows, flaky.count, steady.rows, steady.count), (1, 3, 1, 2));
        assert_eq!(collector.rows, 3);
    }

    #[test]
    fn a_correction_of_nothing_is_an_error() {
        let mut collector = Collector::default();
        assert!(collector.take(&row("dev-000097", 1, Status::Corrected)).is_err());
        assert!(collector.take(&row("dev-000001", 1, Status::Corrected)).is_err());
    }
}
