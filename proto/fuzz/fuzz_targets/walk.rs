//! Holds the walk of the wire format and prost together: same acceptance, same content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use std::collections::HashMap;
use tidewatch_proto::walk::{drop_repeated, walk};
use tidewatch_proto::wire::Telemetry;

fuzz_target!(|bytes: &[u8]| {
    let mut metrics = Vec::new();
    match (Telemetry::decode(bytes), walk(bytes, &mut metrics)) {
        (Ok(whole), Ok(message)) => {
            assert_eq!(whole.device_id.as_bytes(), message.device_id);
            assert_eq!((whole.ts, whole.raw.as_slice()), (message.ts, message.raw));
            drop_repeated(&mut metrics);
            assert_eq!(whole.metrics.len(), metrics.len());
            let found: HashMap<&[u8], u64> = metrics.iter().map(|(name, v)| (*name, v.to_bits())).collect();
            for (name, value) in &whole.metrics {
                assert_eq!(found.get(name.as_bytes()), Some(&value.to_bits()));
            }
        }
        (Err(_), Err(_)) => {}
        (prost, walk) => panic!("prost: {prost:?}, walk: {walk:?}"),
    }
});
