//! A checkpoint comes back as it was, and not at all when one bit of it is wrong.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Log, Msg, run};
use proptest::prelude::*;
use tidewatch_dataflow::checkpoint::{CheckpointError, FORMAT_VERSION, Saved, decode, encode};
use tidewatch_dataflow::{Engine, EngineConfig};
use tidewatch_proto::ids::Generation;

const START: i64 = 1_750_003_200_000;

/// What an engine has saved in the midst of windows, with late readings, hours and sketches.
fn saved(devices: usize, messages: i64) -> (Saved, Vec<String>) {
    let partition = |p: usize| {
        let of = move |n: i64| {
            let at = START + n * 7_000 - if n % 5 == 0 { 90_000 } else { 0 };
            let device = format!("p{p}-{}", n as usize % devices);
            Msg::new(&device, at, &[("a", n as f64), ("b", f64::NAN)])
        };
        (0..messages).map(of).collect::<Vec<Msg>>()
    };
    let log = Log::of(&[partition(0), partition(1)], 5);
    let outcome = run(
        &log,
        &EngineConfig {
            threads: 2,
            ..EngineConfig::default()
        },
    );
    let positions = outcome.positions.values().copied().collect();
    let saved = Saved::gather(Generation(7), 42, log.names.clone(), positions, outcome.states);
    (saved, log.names)
}

#[test]
fn it_comes_back_as_it_was() {
    let (saved, names) = saved(9, 200);
    assert!(saved.groups.len() > 5 && saved.meta.positions.len() == 2);
    let back = decode(&encode(&saved)).unwrap();
    // By text: a NaN is not equal to itself.
    assert_eq!(format!("{saved:?}"), format!("{back:?}"));
    assert_eq!(encode(&back), encode(&saved));
    let restored = back.into_restored(&names).unwrap();
    assert_eq!(restored.positions, saved.meta.positions);
    assert_eq!(decode(&encode(&Saved::default())).unwrap(), Saved::default());
}

#[test]
fn a_large_state_comes_in_slices_and_back_whole() {
    const DEVICES: usize = 10_000;
    let device = |n: usize| Msg::new(&format!("d{n}"), START, &[("a", n as f64)]);
    let log = Log::of(&[(0..DEVICES).map(device).collect::<Vec<Msg>>()], 50);
    let outcome = run(&log, &EngineConfig::default());
    assert!(outcome.states.len() > 2, "{} slices", outcome.states.len());
    assert_eq!(outcome.states.iter().filter(|state| state.last).count(), 1);
    let saved = Saved::gather(Generation(7), 42, log.names.clone(), Vec::new(), outcome.states);
    let restored = decode(&encode(&saved)).unwrap().into_restored(&log.names).unwrap();
    let mut values = vec![None; DEVICES];
    for device in restored.groups.values().flat_map(|group| &group.devices) {
        let number: usize = device.name[1..].parse().unwrap();
        assert_eq!(device.series[0].open.len(), 1);
        let before = values[number].replace(device.series[0].open[0].0.sum);
        assert_eq!(before, None, "{} comes once", device.name);
    }
    let expected: Vec<Option<f64>> = (0..DEVICES).map(|n| Some(n as f64)).collect();
    assert_eq!(values, expected);
}

#[test]
fn any_flipped_bit_and_any_torn_end_is_refused() {
    let bytes = encode(&saved(2, 6).0);
    for end in 0..bytes.len() {
        let torn = decode(&bytes[..end]).unwrap_err();
        assert!(matches!(torn, CheckpointError::Torn { .. }), "{end}: {torn}");
    }
    let mut flipped = bytes.clone();
    for bit in 0..bytes.len() * 8 {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = decode(&flipped).unwrap_err();
        let foreign = matches!(error, CheckpointError::Foreign);
        assert!(foreign == (bit < 64), "bit {bit}: {error}");
        assert!(
            foreign || matches!(error, CheckpointError::Checksum { .. }),
            "bit {bit}: {error}"
        );
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(decode(&longer), Err(CheckpointError::Content { .. })));
}

#[test]
fn what_is_not_ours_is_named() {
    assert_eq!(decode(b"PAR1 and more").unwrap_err(), CheckpointError::Foreign);
    let of_format = |format: u32| {
        let mut bytes = encode(&Saved::default());
        bytes[8..12].copy_from_slice(&format.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..16]);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        decode(&bytes).unwrap_err()
    };
    assert_eq!(of_format(1), CheckpointError::Older { found: 1 });
    let error = of_format(FORMAT_VERSION + 1);
    assert_eq!(
        error,
        CheckpointError::Newer {
            found: FORMAT_VERSION + 1
        }
    );
    assert!(error.to_string().contains("use a newer tidewatch"));
    let torn = decode(&encode(&saved(2, 6).0)[..30]).unwrap_err();
    assert_eq!(
        torn.to_string(),
        "the checkpoint is torn: the head of section 0 ends after 10 of 20 bytes"
    );
}

#[test]
fn a_group_that_holds_something_else_is_named() {
    let (saved, names) = saved(3, 50);
    let (group, parts) = saved.groups.first_key_value().unwrap();
    let content = parts[0].as_slice();
    for bad in [&content[..content.len() - 1], &[content, &[0]].concat(), &[]] {
        let mut saved = saved.clone();
        saved.groups.insert(*group, vec![bad.to_vec()]);
        let error = saved.into_restored(&names).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("the checkpoint is damaged: key group {}: ", group.0)),
            "{error}"
        );
    }
}

#[test]
fn partitions_go_by_name() {
    let (saved, names) = saved(3, 50);
    let by_name = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        saved.clone().into_restored(&names)
    };
    let restored = by_name(&["log/new", "log/1", "log/0"]).unwrap();
    assert_eq!(restored.partitions.len(), 3);
    assert_eq!(
        restored.partitions[0],
        tidewatch_dataflow::series::PartitionSnapshot::FRESH
    );
    assert_eq!(restored.partitions[1], saved.meta.partitions[1]);
    assert_eq!(restored.partitions[2], saved.meta.partitions[0]);
    for device in restored.groups.values().flat_map(|group| &group.devices) {
        assert_eq!(device.home.0, if device.name.starts_with("p0") { 2 } else { 1 });
    }
    let gone = by_name(&["log/1", "log/2"]).unwrap_err();
    assert_eq!(gone, CheckpointError::PartitionGone { name: "log/0".into() });
    assert_eq!(names, ["log/0", "log/1"]);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), ours in any::<bool>()) {
        let mut all = if ours { encode(&Saved::default())[..20].to_vec() } else { Vec::new() };
        all.extend(bytes);
        prop_assert!(decode(&all).is_err());
    }
}

#[test]
fn an_engine_goes_on_from_it() {
    let (saved, names) = saved(9, 200);
    let messages = (0..50).map(|n| Msg::new("p0-1", START + n * 60_000, &[("a", 1.0)]));
    let log = Log::of(
        &[
            (0..200).map(|_| Msg::new("x", 0, &[])).chain(messages).collect(),
            vec![],
        ],
        5,
    );
    let restored = decode(&encode(&saved)).unwrap().into_restored(&names).unwrap();
    let config = EngineConfig {
        threads: 2,
        ..EngineConfig::default()
    };
    let clock = common::QuickClock::from(saved.meta.epoch.0 + 1);
    let (engine, captured) = Engine::start(config, std::sync::Arc::new(log.clone()), clock, Some(restored));
    let mut outcome = common::Outcome::default();
    common::drain(&captured, 2, &mut outcome);
    engine.join();
    assert_eq!(outcome.errors, Vec::<String>::new());
    assert_eq!(
        log.read.load(std::sync::atomic::Ordering::SeqCst),
        50,
        "it reads on, not again"
    );
    assert!(!outcome.rows.is_empty());
}
