//! The table in which a reading worker finds a device by the bytes of its id.
//!
//! An open table with slots of half a cache line, so that a lookup is one miss, which a batch prefetches.
//! Ids of up to 15 bytes lie in the slot; a longer one goes by 120 bits of two SipHashes under random keys.

use crate::prefetch::prefetch;
use std::hash::{BuildHasher, RandomState};
use tidewatch_proto::ids::KeyGroup;

/// A device's place in the table and what is known of it there.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Device {
    key: u128,
    /// Its number among the devices of its target.
    pub number: u32,
    /// The worker that owns it.
    pub target: u16,
    /// The shape of the device's last message.
    pub shape: u32,
}

const _: () = assert!(size_of::<Device>() == 32);

/// A device id prepared for the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    key: u128,
    hash: u64,
}

impl Default for Key {
    fn default() -> Key {
        Key { key: EMPTY, hash: 0 }
    }
}

/// No key is 0: the highest byte holds a length from 1 to 15, or the mark of a long id.
const EMPTY: u128 = 0;
const LONG: u128 = 0x80 << 120;

/// Devices by id.
#[derive(Debug)]
pub struct Devices {
    slots: Vec<Device>,
    used: usize,
    seeds: [RandomState; 2],
    multiplier: [u64; 2],
}

impl Default for Devices {
    fn default() -> Devices {
        let seeds = [RandomState::new(), RandomState::new()];
        let multiplier = [seeds[0].hash_one(1_u8) | 1, seeds[1].hash_one(2_u8) | 1];
        Devices {
            slots: vec![Device::default(); 1024],
            used: 0,
            seeds,
            multiplier,
        }
    }
}

impl Devices {
    /// Prepares an id, which is not empty.
    #[inline]
    pub fn key(&self, id: &[u8]) -> Key {
        let key = if id.len() <= 15 {
            let mut bytes = [0; 16];
            bytes[..id.len()].copy_from_slice(id);
            bytes[15] = id.len() as u8;
            u128::from_le_bytes(bytes)
        } else {
            let [a, b] = [self.seeds[0].hash_one(id), self.seeds[1].hash_one(id)];
            ((u128::from(a) << 64 | u128::from(b)) & (u128::MAX >> 8)) | LONG
        };
        Key {
            key,
            hash: self.hash(key),
        }
    }

    #[inline]
    fn hash(&self, key: u128) -> u64 {
        let (low, high) = (key as u64, (key >> 64) as u64);
        let wide = u128::from(low ^ self.multiplier[0]) * u128::from(high ^ self.multiplier[1]);
        ((wide >> 64) as u64 ^ wide as u64).wrapping_mul(self.multiplier[0])
    }

    #[inline]
    fn start(&self, key: Key) -> usize {
        (key.hash >> 20) as usize & (self.slots.len() - 1)
    }

    /// Fetches the line that a lookup will need.
    #[inline]
    pub fn prefetch(&self, key: Key) {
        prefetch(&self.slots, self.start(key));
    }

    /// The slot of a device, if it is known.
    #[inline]
    pub fn find(&self, key: Key) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.start(key);
        loop {
            match self.slots[at].key {
                found if found == key.key => return Some(at),
                EMPTY => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The device in a slot that [`Devices::find`] gave.
    #[inline]
    pub fn at(&mut self, slot: usize) -> &mut Device {
        &mut self.slots[slot]
    }

    /// Adds a device that is not there and gives its slot, which holds until the next insertion.
    pub fn insert(&mut self, key: Key, number: u32, group: KeyGroup, peers: usize, shape: u32) -> usize {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.used += 1;
        self.place(
            Device {
                key: key.key,
                number,
                target: group.worker(peers) as u16,
                shape,
            },
            key.hash,
        )
    }

    fn place(&mut self, device: Device, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.start(Key { key: device.key, hash });
        while self.slots[at].key != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = device;
        at
    }

    fn grow(&mut self) {
        let larger = vec![Device::default(); self.slots.len() * 2];
        for device in std::mem::replace(&mut self.slots, larger) {
            if device.key != EMPTY {
                let hash = self.hash(device.key);
                self.place(device, hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_is_found_again_and_no_other() {
        let mut devices = Devices::default();
        let id = |n: u32| match n % 3 {
            0 => format!("d{n}"),
            1 => format!("fifteen-byt-{n:03}").chars().take(15).collect(),
            _ => format!("a-name-of-many-bytes-{n}"),
        };
        let mut known = std::collections::HashMap::new();
        for n in 0..5_000 {
            let key = devices.key(id(n).as_bytes());
            let number = *known.entry(id(n)).or_insert(n);
            if devices.find(key).is_none() {
                devices.insert(key, number, KeyGroup(0), 1, 0);
            }
        }
        assert_eq!(devices.used, known.len());
        for (name, number) in known {
            let key = devices.key(name.as_bytes());
            let slot = devices.find(key).expect("inserted");
            assert_eq!(devices.at(slot).number, number);
        }
        assert!(devices.find(devices.key(b"unknown")).is_none());
        assert!(
            devices.find(devices.key(b"d0\0")).is_none(),
            "a padded id is another id"
        );
    }
}
