//! The second half of the bare chain: dense panes by device, two minutes of each open at a time.

use super::Batch;
use crate::w1::METRICS;
use crate::w1::WINDOW_MS;
use crate::w1::tally::{Figures, Tallies};

/// The four metrics of one device in one minute.
type Pane = [Figures; METRICS.len()];

/// The devices of one partition.
#[derive(Default)]
struct Lane {
    /// The numbers in their names.
    devices: Vec<u32>,
    /// Even and odd minutes: with lateness below a minute no more than two are open.
    panes: [Vec<Pane>; 2],
    /// The minutes that the tables hold.
    open: [Option<i64>; 2],
}

/// All that one worker keeps.
pub(super) struct Panes {
    lanes: Vec<Lane>,
    tallies: Tallies,
}

impl Panes {
    /// Of so many partitions.
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            lanes: (0..partitions).map(|_| Lane::default()).collect(),
            tallies: Tallies::default(),
        }
    }

    /// Closes what has closed before the batch, then takes its messages.
    pub(super) fn take(&mut self, batch: &Batch) {
        let lane = &mut self.lanes[batch.partition];
        lane.close(batch.closed, &mut self.tallies);
        lane.devices.extend(&batch.new);
        let devices = lane.devices.len();
        lane.panes
            .iter_mut()
            .for_each(|panes| panes.resize(devices, [Figures::EMPTY; METRICS.len()]));
        let messages = batch.places.iter().zip(&batch.minutes).zip(&batch.values);
        for ((place, minute), values) in messages {
            let parity = (*minute & 1) as usize;
            lane.open[parity] = Some(*minute);
            let pane = &mut lane.panes[parity][*place as usize];
            for (figures, value) in pane.iter_mut().zip(values) {
                figures.take(*value);
            }
        }
    }

    /// The rows of all minutes, those still open too.
    pub(super) fn tallies(mut self) -> Tallies {
        for lane in &mut self.lanes {
            lane.close(i64::MAX, &mut self.tallies);
        }
        self.tallies
    }
}

impl Lane {
    fn close(&mut self, closed: i64, tallies: &mut Tallies) {
        for (open, panes) in self.open.iter_mut().zip(&mut self.panes) {
            let Some(minute) = open.take_if(|minute| *minute <= closed) else {
                continue;
            };
            for (device, pane) in self.devices.iter().zip(panes) {
                for (metric, figures) in pane.iter_mut().enumerate().filter(|(_, figures)| figures.count > 0) {
                    tallies.add(*device, metric, minute * WINDOW_MS, *figures);
                    *figures = Figures::EMPTY;
                }
            }
        }
    }
}
