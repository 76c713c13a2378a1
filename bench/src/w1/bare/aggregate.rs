//! Windows of each partition, open until its watermark has passed them.

use super::decode::Event;
use crate::w1::tally::{Figures, Tallies, device_number};
use crate::w1::{LATENESS_MS, METRICS, WINDOW_MS};
use anyhow::{Context, Result};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// The four metrics of one device in one window.
type Pane = [Figures; METRICS.len()];

/// The windows of one partition by their start in milliseconds, in each the devices by their place in the list.
#[derive(Default)]
struct Lane {
    open: BTreeMap<i64, HashMap<u32, Pane>>,
    ts_max_ms: i64,
}

/// All that one thread keeps.
#[derive(Default)]
pub(super) struct Aggregator {
    places: HashMap<Vec<u8>, u32>,
    ids: Vec<Vec<u8>>,
    lanes: HashMap<i32, Lane>,
    /// The rows emitted so far.
    pub(super) tallies: Tallies,
}

impl Aggregator {
    /// Takes a message of a partition: closes the windows it ends, then counts it unless it is late.
    pub(super) fn add(&mut self, partition: i32, event: &Event<'_>) -> Result<()> {
        let lane = self.lanes.entry(partition).or_default();
        lane.ts_max_ms = lane.ts_max_ms.max(event.ts_ms);
        let watermark_ms = lane.ts_max_ms - LATENESS_MS;
        while let Some(window) = lane
            .open
            .first_entry()
            .filter(|window| window.key() + WINDOW_MS <= watermark_ms)
        {
            let (start_ms, panes) = window.remove_entry();
            for (place, pane) in panes {
                emit(&mut self.tallies, &self.ids[place as usize], start_ms, &pane)?;
            }
        }
        let start_ms = event.ts_ms - event.ts_ms.rem_euclid(WINDOW_MS);
        if start_ms + WINDOW_MS <= watermark_ms || event.metrics().is_empty() {
            return Ok(());
        }
        let place = place(&mut self.places, &mut self.ids, event.device);
        let pane = lane
            .open
            .entry(start_ms)
            .or_default()
            .entry(place)
            .or_insert([Figures::EMPTY; METRICS.len()]);
        for (name, value) in event.metrics() {
            let metric = METRICS
                .iter()
                .position(|known| known.as_bytes() == *name)
                .context("an unknown metric")?;
            pane[metric].take(*value);
        }
        Ok(())
    }
}

/// The place of a device in the list of ids, a new one if need be.
fn place(places: &mut HashMap<Vec<u8>, u32>, ids: &mut Vec<Vec<u8>>, id: &[u8]) -> u32 {
    if let Some(place) = places.get(id) {
        return *place;
    }
    let place = ids.len() as u32;
    places.insert(id.to_vec(), place);
    ids.push(id.to_vec());
    place
}

/// Counts the rows of a closed window.
fn emit(tallies: &mut Tallies, id: &[u8], start_ms: i64, pane: &Pane) -> Result<()> {
    let device = device_number(id).context("a device without a number")?;
    for (metric, figures) in pane.iter().enumerate().filter(|(_, figures)| figures.count > 0) {
        tallies.add(device, metric, start_ms, *figures);
    }
    Ok(())
}
