//! Runs of bytes as serde should write them: at once, not as a list of numbers. In postcard both look the same.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use std::fmt;

/// Writes bytes.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

/// Reads bytes.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    deserializer.deserialize_bytes(Bytes)
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

/// The same of a map's values.
pub mod values {
    use serde::de::{Deserialize, Deserializer};
    use serde::{Serialize, Serializer};
    use std::collections::BTreeMap;

    #[derive(serde::Serialize)]
    struct Given<'a>(#[serde(with = "super")] &'a [u8]);

    #[derive(serde::Deserialize)]
    struct Taken(#[serde(with = "super")] Vec<u8>);

    /// Writes a map.
    pub fn serialize<K: Serialize + Ord, S: Serializer>(
        map: &BTreeMap<K, Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(map.iter().map(|(key, bytes)| (key, Given(bytes))))
    }

    /// Reads a map.
    pub fn deserialize<'de, K: Deserialize<'de> + Ord, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, Vec<u8>>, D::Error> {
        let map: BTreeMap<K, Taken> = BTreeMap::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(key, bytes)| (key, bytes.0)).collect())
    }
}
