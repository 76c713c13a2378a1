//! A checkpoint comes back as it was, and not at all when one bit of it is wrong.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Log, Msg, run};
use proptest::prelude::*;
use tidewatch_dataflow::capture::StateSlice;
use tidewatch_dataflow::checkpoint::file::{decode, encode, read_manifest, read_segment};
use tidewatch_dataflow::checkpoint::{CheckpointError, FORMAT_VERSION, Part, Saved};
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
    (outcome.saved(), log.names)
}

fn through_bytes(saved: &Saved) -> Saved {
    let (manifest, segment) = encode(saved);
    decode(&manifest, &segment).unwrap()
}

fn slices(saved: &Saved) -> impl Iterator<Item = &StateSlice> {
    saved.parts.iter().filter_map(|part| match part {
        Part::State(slice) => Some(slice),
        _ => None,
    })
}

#[test]
fn it_comes_back_as_it_was() {
    let (saved, names) = saved(9, 200);
    let groups: usize = slices(&saved).map(|slice| slice.groups.len()).sum();
    assert!(groups > 5 && saved.meta.positions.len() == 2);
    let back = through_bytes(&saved);
    assert_eq!(back, saved);
    assert_eq!(encode(&back), encode(&saved));
    let restored = back.into_restored(&names, &EngineConfig::default()).unwrap();
    assert_eq!(restored.positions, saved.meta.positions);
    assert_eq!(through_bytes(&Saved::default()), Saved::default());
}

#[test]
fn a_large_state_comes_in_slices_and_back_whole() {
    const DEVICES: usize = 10_000;
    let device = |n: usize| Msg::new(&format!("d{n}"), START, &[("a", n as f64)]);
    let log = Log::of(&[(0..DEVICES).map(device).collect::<Vec<Msg>>()], 50);
    let outcome = run(&log, &EngineConfig::default());
    let saved = outcome.saved();
    assert!(slices(&saved).count() > 2, "{} slices", slices(&saved).count());
    assert_eq!(slices(&saved).filter(|slice| slice.is_last).count(), 1);
    let restored = through_bytes(&saved)
        .into_restored(&log.names, &EngineConfig::default())
        .unwrap();
    let mut values = vec![None; DEVICES];
    for device in restored.devices() {
        let number: usize = device.name[1..].parse().unwrap();
        assert_eq!(device.series[0].open.len(), 1);
        let before = values[number].replace(device.series[0].open[0].0.sum);
        assert_eq!(before, None, "{} comes once", device.name);
    }
    let expected: Vec<Option<f64>> = (0..DEVICES).map(|n| Some(n as f64)).collect();
    assert_eq!(values, expected);
}

/// Why bytes are refused.
type Refusal<'a> = &'a dyn Fn(&[u8]) -> Option<CheckpointError>;

#[test]
fn any_flipped_bit_and_any_torn_end_is_refused() {
    let (manifest, segment) = encode(&saved(2, 6).0);
    let read: [(&[u8], Refusal<'_>); 2] = [
        (&manifest, &|bytes| read_manifest(bytes).err()),
        (&segment, &|bytes| read_segment(bytes, Generation(1), 0).err()),
    ];
    for (bytes, refusal) in read {
        let mut whole = 0;
        for end in 0..bytes.len() {
            match refusal(&bytes[..end]) {
                // A manifest says how many bytes of a segment it wants.
                None => whole += 1,
                Some(CheckpointError::Torn { .. } | CheckpointError::Content { .. }) => {}
                Some(error) => panic!("{end}: {error}"),
            }
        }
        assert!(whole <= 3, "only the ends of parts look whole: {whole}");
        let mut flipped = bytes.to_vec();
        for bit in 0..bytes.len() * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = refusal(&flipped).unwrap();
            let foreign = matches!(error, CheckpointError::Foreign);
            assert!(foreign == (bit < 64), "bit {bit}: {error}");
            let summed = matches!(error, CheckpointError::Checksum { .. });
            assert!(foreign || summed, "bit {bit}: {error}");
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }
    let longer = [manifest.as_slice(), &[0]].concat();
    assert!(matches!(read_manifest(&longer), Err(CheckpointError::Torn { .. })));
}

#[test]
fn what_is_not_ours_is_named() {
    assert_eq!(read_manifest(b"PAR1 and more").unwrap_err(), CheckpointError::Foreign);
    let (manifest, segment) = encode(&saved(2, 6).0);
    let of_format = |format: u32| {
        let mut bytes = manifest.clone();
        bytes[8..12].copy_from_slice(&format.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..16]);
        bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        read_manifest(&bytes).unwrap_err()
    };
    assert_eq!(of_format(1), CheckpointError::Older { found: 1 });
    let newer = FORMAT_VERSION + 1;
    assert_eq!(of_format(newer), CheckpointError::Newer { found: newer });
    assert!(of_format(newer).to_string().contains("use a newer tidewatch"));
    assert_eq!(
        read_manifest(&manifest[..30]).unwrap_err().to_string(),
        "the checkpoint is torn: the head of section 0 ends after 10 of 20 bytes"
    );
    assert_eq!(
        read_segment(&segment, Generation(2), 0).unwrap_err().to_string(),
        "the checkpoint is damaged: the segment: it is segment 0 of run 1, not segment 0 of run 2"
    );
    assert_eq!(
        read_manifest(&segment).unwrap_err().to_string(),
        "the checkpoint is damaged: the header: it is no Manifest"
    );
}

/// Damages what lies in a checkpoint.
type Damage = fn(&mut Vec<u8>);

#[test]
fn a_group_that_holds_something_else_is_named() {
    let (saved, names) = saved(3, 50);
    let group = *slices(&saved).find_map(|slice| slice.groups.keys().next()).unwrap();
    let damaged = |damage: Damage| {
        let mut saved = saved.clone();
        for part in &mut saved.parts {
            if let Part::State(slice) = part
                && let Some(content) = slice.groups.get_mut(&group)
            {
                damage(content);
            }
        }
        saved
            .into_restored(&names, &EngineConfig::default())
            .unwrap_err()
            .to_string()
    };
    let damages: [Damage; 3] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        Vec::clear,
    ];
    for damage in damages {
        let error = damaged(damage);
        let named = format!("the checkpoint is damaged: key group {}: ", group.0);
        assert!(error.starts_with(&named), "{error}");
    }
}

#[test]
fn a_worker_without_a_whole_state_is_named() {
    let (saved, names) = saved(3, 50);
    let is_last = |part: &Part| matches!(part, Part::State(slice) if slice.worker == 1 && slice.is_last);
    let mut without = saved;
    without.parts.retain(|part| !is_last(part));
    let error = without.into_restored(&names, &EngineConfig::default()).unwrap_err();
    assert_eq!(error, CheckpointError::Incomplete { worker: 1 });
}

#[test]
fn partitions_go_by_name() {
    let (saved, names) = saved(3, 50);
    let by_name = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        saved.clone().into_restored(&names, &EngineConfig::default())
    };
    let restored = by_name(&["log/new", "log/1", "log/0"]).unwrap();
    assert_eq!(restored.partitions.len(), 3);
    assert_eq!(
        restored.partitions[0],
        tidewatch_dataflow::series::PartitionSnapshot::FRESH
    );
    let mut partitions = [tidewatch_dataflow::series::PartitionSnapshot::FRESH; 2];
    for slice in slices(&saved) {
        partitions
            .iter_mut()
            .zip(&slice.partitions)
            .for_each(|(all, own)| all.widen(own));
    }
    assert_eq!(restored.partitions[1], partitions[1]);
    assert_eq!(restored.partitions[2], partitions[0]);
    for device in restored.devices() {
        assert_eq!(device.home.0, if device.name.starts_with("p0") { 2 } else { 1 });
    }
    let gone = by_name(&["log/1", "log/2"]).unwrap_err();
    assert_eq!(gone, CheckpointError::PartitionGone { name: "log/0".into() });
    assert_eq!(names, ["log/0", "log/1"]);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), ours in any::<bool>()) {
        let (manifest, segment) = encode(&Saved::default());
        let all = |own: &[u8]| if ours { [&own[..20], &bytes].concat() } else { bytes.clone() };
        prop_assert!(read_manifest(&all(&manifest)).is_err());
        prop_assert!(read_segment(&all(&segment), Generation(1), 0).is_err());
        // Whatever a chunk holds, it is read or refused.
        let _ = tidewatch_dataflow::journal::read(&bytes);
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
    let restored = through_bytes(&saved)
        .into_restored(&names, &EngineConfig::default())
        .unwrap();
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
