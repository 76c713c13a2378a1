//! Rows into tallies: of rows with the same key the last one counts.

use crate::w1::tally::{Figures, Tallies, Tally, device_number, site_number};
use crate::w1::{FLAKY_EVERY, METRICS};
use anyhow::{Context, Result, ensure};
use hashbrown::HashMap;
use tidewatch_proto::block::RowRef;
use tidewatch_proto::row::{Job, Status};

/// What tells rows that may be corrected apart: job, number of the device or site, metric, start of the window.
type Key = (Job, u32, u8, i64);

/// Tallies of the rows taken so far.
pub struct Collector {
    /// The rows of minutes.
    pub minutes: Tallies,
    /// The rows of five-minute windows.
    pub hops: Tallies,
    /// The rows of sites' minutes.
    pub sites: Tally,
    /// Rows of all jobs, corrections too.
    pub rows: u64,
    /// The last figures of each row that may be corrected: only flaky devices send late messages, but every site
    /// has one.
    last: HashMap<Key, Figures>,
    /// Five-minute windows that end later don't count, in milliseconds since the epoch.
    hop_end_ms: i64,
}

impl Collector {
    /// Counts five-minute windows that end by `hop_end_ms`, in milliseconds since the epoch.
    pub fn until(hop_end_ms: i64) -> Self {
        Self {
            minutes: Tallies::default(),
            hops: Tallies::default(),
            sites: Tally::default(),
            rows: 0,
            last: HashMap::new(),
            hop_end_ms,
        }
    }

    /// Takes a row.
    pub fn take(&mut self, row: &RowRef<'_>) -> Result<()> {
        self.rows += 1;
        let number = match row.job {
            Job::Minute | Job::FiveMinutes => device_number(row.key.as_bytes()).context("a row of no W1 device")?,
            Job::SiteMinute => site_number(row.key.as_bytes()).context("a row of no W1 site")?,
            _ => return Ok(()),
        };
        let metric = METRICS
            .iter()
            .position(|metric| **metric == **row.metric)
            .context("a row of no W1 metric")?;
        if row.job == Job::FiveMinutes && row.window_end.0 > self.hop_end_ms {
            return Ok(());
        }
        let figures = figures(row)?;
        let start_ms = row.window_start.0;
        let old = match row.job == Job::SiteMinute || number.is_multiple_of(FLAKY_EVERY) {
            true => self.last.insert((row.job, number, metric as u8, start_ms), figures),
            false => None,
        };
        let status = match old {
            Some(_) => Status::Corrected,
            None => Status::Final,
        };
        ensure!(row.status == status, "a row that should be {status:?}: {row:?}");
        let tally = match row.job {
            Job::SiteMinute => &mut self.sites,
            Job::FiveMinutes => self.hops.group(number),
            _ => self.minutes.group(number),
        };
        if let Some(old) = old {
            tally.remove(number, metric, start_ms, old);
        }
        tally.add(number, metric, start_ms, figures);
        Ok(())
    }
}

/// The figures of a row; an error when one is missing or its mean is not theirs.
fn figures(row: &RowRef<'_>) -> Result<Figures> {
    let values = &row.values;
    let figures = Figures {
        count: values.count,
        sum: values.sum,
        min: values.min.context("a row without a least value")?,
        max: values.max.context("a row without a greatest value")?,
    };
    let mean = figures.sum / figures.count as f64;
    ensure!(values.mean == Some(mean), "the mean of {row:?} is not {mean}");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_proto::ids::Epoch;
    use tidewatch_proto::row::{Row, Values};
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
        let mut collector = Collector::until(i64::MAX);
        collector
            .take(&RowRef::from(&row("dev-000097", 1, Status::Final)))
            .unwrap();
        collector
            .take(&RowRef::from(&row("dev-000097", 3, Status::Corrected)))
            .unwrap();
        collector
            .take(&RowRef::from(&row("dev-000001", 2, Status::Final)))
            .unwrap();
        let (flaky, steady) = (collector.minutes.flaky, collector.minutes.steady);
        assert_eq!((flaky.rows, flaky.count, steady.rows, steady.count), (1, 3, 1, 2));
        assert_eq!(collector.rows, 3);
    }

    #[test]
    fn a_five_minute_window_counts_when_it_ends_in_time() {
        let mut collector = Collector::until(119_999);
        let mut hop = row("dev-000001", 2, Status::Final);
        hop.job = Job::FiveMinutes;
        collector.take(&(&hop).into()).unwrap();
        assert_eq!((collector.rows, collector.hops.steady.rows), (1, 0));
        collector.hop_end_ms += 1;
        collector.take(&(&hop).into()).unwrap();
        assert_eq!(collector.hops.steady.rows, 1);
    }

    #[test]
    fn a_correction_of_nothing_is_an_error() {
        let mut collector = Collector::until(i64::MAX);
        assert!(
            collector
                .take(&RowRef::from(&row("dev-000097", 1, Status::Corrected)))
                .is_err()
        );
        assert!(
            collector
                .take(&RowRef::from(&row("dev-000001", 1, Status::Corrected)))
                .is_err()
        );
    }
}
