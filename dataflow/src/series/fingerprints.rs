//! The fingerprints of each device's last messages: one that comes again is not counted again.

use super::FINGERPRINTS;
use crate::checkpoint::{Partitions, Stateful};
use crate::prefetch::prefetch;
use tidewatch_failpoints::{Bug, has_bug};

/// Fingerprints by device, the newest first; 0 where there is none.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(Vec<[u64; FINGERPRINTS]>);

impl Fingerprints {
    /// Makes room for so many devices.
    pub(super) fn grow(&mut self, devices: usize) {
        self.0.resize(devices, [0; FINGERPRINTS]);
    }

    /// Fetches the line of a device.
    #[inline]
    pub(super) fn prefetch(&self, device: usize) {
        prefetch(&self.0, device);
    }

    /// Notes a message; `false` when its fingerprint was there.
    #[inline]
    pub(super) fn note(&mut self, device: u32, fingerprint: u64) -> bool {
        let last = &mut self.0[device as usize];
        if last.contains(&fingerprint) {
            return false;
        }
        last.copy_within(0..FINGERPRINTS - 1, 1);
        last[0] = fingerprint;
        true
    }
}

impl Stateful for Fingerprints {
    fn name(&self) -> &'static str {
        "duplicates"
    }

    fn save(&self, device: u32, out: &mut Vec<u8>) {
        let known = self.0[device as usize].iter().take_while(|one| **one != 0);
        known.for_each(|one| out.extend(one.to_le_bytes()));
    }

    fn restore(&mut self, device: u32, saved: &[u8], _: &Partitions<'_>) -> Result<(), String> {
        let (known, rest) = saved.as_chunks::<8>();
        if !rest.is_empty() || known.len() > FINGERPRINTS {
            return Err(format!("{} bytes of fingerprints", saved.len()));
        }
        if has_bug(Bug::ForgetHashes) {
            return Ok(());
        }
        let last = &mut self.0[device as usize];
        *last = [0; FINGERPRINTS];
        for (place, one) in last.iter_mut().zip(known) {
            *place = u64::from_le_bytes(*one);
        }
        Ok(())
    }
}
