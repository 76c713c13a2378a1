//! Asks for the open windows of some series again and again, and notes when a record was first in one.

use super::{Pace, now_us};
use crate::w1::METRICS;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidewatch_dataflow::Handle;
use tidewatch_proto::row::Job;

/// The devices that are asked about, spread over those that there are.
const DEVICES: u32 = 8;

/// Pause between two rounds of questions, so that they are no load of their own.
const PAUSE: Duration = Duration::from_millis(1);

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The records of some devices, each with the microseconds since 1970 at which an open window first held it.
pub(super) fn ask(handle: &Handle, pace: &Pace, stop: &AtomicBool) -> Vec<(u64, u64)> {
    let asked = DEVICES.min(pace.devices);
    let devices: Vec<u32> = (0..asked).map(|turn| pace.devices / asked * turn).collect();
    let mut next: Vec<u64> = devices.iter().map(|device| u64::from(*device)).collect();
    let mut seen = Vec::new();
    while !stop.load(Ordering::Acquire) {
        for (device, next) in devices.iter().zip(&mut next) {
            let name = format!("dev-{device:06}");
            let Some(rows) = handle.peek(&name, METRICS[0], ANSWER_MAX) else {
                return seen;
            };
            let now_us = now_us();
            // A record's first metric is its number: the last of a window is that of the newest record in it.
            let minutes = rows.iter().filter(|row| row.job == Job::Minute);
            let newest = minutes.filter_map(|row| row.values.last).fold(-1.0, f64::max);
            while *next as f64 <= newest {
                seen.push((*next, now_us));
                *next += u64::from(pace.devices);
            }
        }
        std::thread::sleep(PAUSE);
    }
    seen
}
