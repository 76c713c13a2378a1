//! The walk accepts what prost accepts and yields what prost yields, over arbitrary bytes.

use proptest::prelude::*;
use prost::Message as _;
use std::collections::HashMap;
use tidewatch_proto::walk::{drop_repeated, walk};
use tidewatch_proto::wire::Telemetry;

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut metrics = Vec::new();
    let walked = walk(bytes, &mut metrics);
    match (Telemetry::decode(bytes), walked) {
        (Ok(whole), Ok(message)) => {
            prop_assert_eq!(whole.device_id.as_bytes(), message.device_id);
            prop_assert_eq!(whole.ts, message.ts);
            prop_assert_eq!(&whole.raw[..], message.raw);
            drop_repeated(&mut metrics);
            let found: HashMap<&[u8], u64> = metrics.iter().map(|(name, v)| (*name, v.to_bits())).collect();
            prop_assert_eq!(found.len(), metrics.len(), "a name came twice");
            let wanted: HashMap<&[u8], u64> = whole.metrics.iter().map(|(n, v)| (n.as_bytes(), v.to_bits())).collect();
            prop_assert_eq!(found, wanted);
        }
        (Err(_), Err(_)) => {}
        (prost, walk) => prop_assert!(false, "prost: {prost:?}, walk: {walk:?}, bytes: {bytes:?}"),
    }
    Ok(())
}

/// Pieces of messages: whole fields, broken fields, unknown fields and groups.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..4);
    let entry = prop::collection::vec(
        prop_oneof![
            name.clone().prop_map(|n| [vec![0x0a, n.len() as u8], n].concat()),
            any::<f64>().prop_map(|v| [vec![0x11], v.to_le_bytes().to_vec()].concat()),
            any::<u64>().prop_map(|v| varint(0x18, v)),
            prop::collection::vec(any::<u8>(), 0..6),
        ],
        0..4,
    )
    .prop_map(|parts| parts.concat());
    prop_oneof![
        4 => entry.prop_map(|e| [vec![0x1a, e.len() as u8], e].concat()),
        2 => name.prop_map(|n| [vec![0x0a, n.len() as u8], n].concat()),
        2 => any::<u64>().prop_map(|v| varint(0x10, v)),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(|r| [vec![0x22, r.len() as u8], r].concat()),
        1 => (1u8..4, any::<u64>()).prop_map(|(field, v)| varint(0x28 + field * 8, v)),
        1 => (0usize..120).prop_map(|depth| [vec![0x2b; depth], vec![0x2c; depth]].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn varint(key: u8, mut value: u64) -> Vec<u8> {
    let mut bytes = vec![key];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn over_pieces(parts in prop::collection::vec(piece(), 0..8)) {
        check(&parts.concat())?;
    }

    #[test]
    fn over_noise(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        check(&bytes)?;
    }

    #[test]
    fn over_damaged_messages(
        metrics in prop::collection::hash_map("[a-zé]{0,5}", any::<f64>(), 0..40),
        at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>(),
    ) {
        let whole = Telemetry { device_id: "dev-7".into(), ts: -5, metrics, raw: vec![1, 2] };
        let mut bytes = whole.encode_to_vec();
        check(&bytes)?;
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        check(&bytes)?;
        check(&bytes[..cut.index(bytes.len())])?;
    }
}
