//! Positions, epochs and names as types.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The name of a device, metric, site or fleet, shared and immutable.
pub type Name = Arc<str>;

/// A partition of the log that a source reads, numbered by the source from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Partition(pub u32);

impl Partition {
    /// The partition's place in a dense table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record's place in its partition. Offsets grow, but may have holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offset(pub i64);

impl Offset {
    /// The offset after this one, where reading goes on.
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step of the engine's clock and its timely timestamp: 100 ms, numbered on over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The length of an epoch in milliseconds.
pub const EPOCH_MS: u64 = 100;

/// Which run of the cluster produced something; each start is the next generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of key groups: the unit in which state and output are divided among workers.
///
/// It is fixed, so that what one number of workers wrote any other number can read.
pub const KEY_GROUPS: u16 = 64;

/// One of the [`KEY_GROUPS`]; a device belongs to one for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyGroup(pub u16);

impl KeyGroup {
    /// The group of a device (or another key) by the stable hash of its name.
    pub fn of(name: &[u8]) -> KeyGroup {
        KeyGroup((stable_hash(name) >> 58) as u16)
    }

    /// The worker that owns the group, of `peers` workers.
    pub fn worker(self, peers: usize) -> usize {
        self.0 as usize % peers
    }
}

/// A 64-bit hash that never changes between runs, machines or versions (FNV-1a, finished by splitmix64).
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// The finaliser of splitmix64: spreads every input bit over all output bits.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_hash_is_pinned() {
        assert_eq!(stable_hash(b""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(KeyGroup::of(b"dev-000001"), KeyGroup::of(b"dev-000001"));
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..10_000 {
            seen.insert(KeyGroup::of(format!("dev-{n:06}").as_bytes()));
        }
        assert_eq!(seen.len(), KEY_GROUPS as usize);
    }
}
