//! The archive of a log in memory: every position once, whatever is in it and wherever a writer is killed.

mod common;

use common::{Mortal, archived, log_of, memory, positions, run_until_done, settings};
use proptest::prelude::*;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use tidewatch_archive::{Archiver, Chain, Collector, Contents, Settings, Stats, Stepped, expire, objects, read, rows};
use tidewatch_checkpoints::{Folder, Tree};
use tidewatch_proto::headers::Headers;
use tidewatch_proto::ids::{Offset, Partition};
use tidewatch_proto::time::LogTime;
use tidewatch_proto::wire::Telemetry;
use tidewatch_sources::memory::{MemoryFactory, MemoryRecord};

/// A record's bytes: telemetry of all kinds, with what the schema doesn't know, cut short, or anything.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![Just("temperature".to_owned()), "[a-cé]{0,3}".prop_map(|name| name)];
    let value = prop_oneof![any::<f64>(), Just(f64::NAN), Just(-0.0), Just(f64::NEG_INFINITY)];
    let metrics = prop::collection::hash_map(name, value, 0..5);
    let device = prop_oneof![3 => "dev-[0-5]", 1 => "[a-z0-9é東]{0,9}"];
    let ts = prop_oneof![4 => 1_700_000_000_000_i64..1_700_000_900_000, 1 => any::<i64>(), 1 => Just(0)];
    let raw = prop::collection::vec(any::<u8>(), 0..20);
    let whole = (device, ts, metrics, raw).prop_map(|(device_id, ts, metrics, raw)| {
        let message = Telemetry {
            device_id,
            ts,
            metrics,
            raw,
        };
        message.encode_to_vec()
    });
    (whole, 0..10_u8, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(whole, kind, bytes)| match kind {
        0 => bytes,
        1 => whole[..whole.len() / 2].to_vec(),
        2 => [whole, vec![0x2a, 1, 7]].concat(),
        _ => whole,
    })
}

/// A record's headers, of which a key may come again.
fn headers() -> impl Strategy<Value = Vec<u8>> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
    let headers = prop::collection::vec(("[ab]{0,2}", value), 0..4);
    headers.prop_map(|headers| {
        let mut bytes = Vec::new();
        let headers = headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
        Headers::write(headers, &mut bytes);
        bytes
    })
}

/// A step of the offset, a log time, key, payload and headers.
type Made = (i64, Option<i64>, Option<Vec<u8>>, Vec<u8>, Vec<u8>);

fn records() -> impl Strategy<Value = Vec<MemoryRecord>> {
    let key = prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
    let one = (
        1..4_i64,
        prop::option::weighted(0.9, 0..2_000_000_i64),
        key,
        payload(),
        headers(),
    );
    prop::collection::vec(one, 0..300).prop_map(|ones| {
        let mut next = 7;
        let place = |(step, log_ms, key, payload, headers): Made| {
            next += step;
            MemoryRecord {
                offset: Offset(next),
                log_time: log_ms.map(|ms| LogTime(1_700_000_000_000 + next * 20_000 + ms)),
                key,
                payload,
                headers,
            }
        };
        ones.into_iter().map(place).collect()
    })
}

/// Device, event time, metrics and `raw`.
type Said = (String, i64, HashMap<String, u64>, Vec<u8>);

/// What bytes say, by the library that others decode with; the bytes themselves when that refuses them.
fn said(payload: &[u8]) -> Result<Said, Vec<u8>> {
    let message = Telemetry::decode(payload).map_err(|_| payload.to_vec())?;
    let metrics = message.metrics.into_iter().map(|(name, value)| (name, value.to_bits()));
    Ok((message.device_id, message.ts, metrics.collect(), message.raw))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_read_back_is_what_was_written(log in prop::collection::vec(records(), 1..3)) {
        let place = tempfile::tempdir().expect("a folder");
        let tree: Arc<dyn Tree> = Arc::new(Folder::tree("archive.folder", place.path()).expect("made"));
        run_until_done(&tree, &log_of(MemoryFactory::finished(log.clone())), &settings()).expect("archived");
        for (index, wanted) in log.iter().enumerate() {
            let found = archived(&*tree, Partition(index as u32));
            prop_assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(wanted) {
                prop_assert_eq!((found.offset, found.log_time, &found.key), (wanted.offset, wanted.log_time, &wanted.key));
                prop_assert_eq!(said(&found.payload), said(&wanted.payload));
                let headers = found.headers.iter().map(|(key, value)| (&key[..], value.as_deref()));
                prop_assert_eq!(headers.collect::<Vec<_>>(), Headers::new(&wanted.headers).iter().collect::<Vec<_>>());
            }
        }
    }
}

/// So many records, a few of each hour.
fn plain(count: i64) -> Vec<MemoryRecord> {
    let record = |n: i64| MemoryRecord {
        offset: Offset(100 + n),
        log_time: Some(LogTime(1_700_000_000_000 + n * 600_000)),
        key: Some(format!("dev-{}", n % 3).into_bytes()),
        payload: Telemetry {
            device_id: format!("dev-{}", n % 3),
            ts: 1_700_000_000_000 + n * 600_000,
            metrics: [("t".to_owned(), n as f64)].into(),
            raw: Vec::new(),
        }
        .encode_to_vec(),
        headers: Vec::new(),
    };
    (0..count).map(record).collect()
}

#[test]
fn rows_are_sorted_by_device_and_time() {
    let place = tempfile::tempdir().expect("a folder");
    let tree: Arc<dyn Tree> = Arc::new(Folder::tree("archive.folder", place.path()).expect("made"));
    run_until_done(&tree, &log_of(memory(plain(50))), &settings()).expect("archived");
    let all = objects(&*tree, "memory", Partition(0), Offset(0)..Offset(1_000)).expect("objects");
    assert!(all.len() > 5, "an object an hour: {}", all.len());
    for entry in &all {
        let mut places = Vec::new();
        rows(&*tree, entry, |row| {
            assert_eq!(row.payload, None, "the columns say everything");
            places.push((row.device.map(<[u8]>::to_vec), row.ts, row.offset));
        })
        .expect("rows");
        assert!(places.is_sorted() && places.len() as u64 == entry.records);
    }
    let some = objects(&*tree, "memory", Partition(0), Offset(110)..Offset(111)).expect("objects");
    assert_eq!(some.len(), 1, "that is in one of them");
}

#[test]
fn a_writer_may_be_killed_anywhere() {
    // What is older than the 20th record leaves, or nothing does.
    let twenty = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 + 20 * 600_000);
    let retention = twenty.elapsed().expect("that was long ago");
    for (compaction, retention) in [(false, None), (true, None), (true, Some(retention))] {
        let settings = Settings {
            compaction,
            retention,
            grace: Duration::ZERO,
            ..settings()
        };
        let first = retention.map_or(100, |_| 117);
        for kill_at in 0.. {
            let place = tempfile::tempdir().expect("a folder");
            let folder = || Folder::tree("archive.folder", place.path()).expect("made");
            let log = memory(plain(40));
            // It dies at the nth thing that it does to the place, before or after it is done.
            let mortal = Arc::new(Mortal::new(folder(), kill_at));
            let tree: Arc<dyn Tree> = mortal.clone();
            let died = run_until_done(&tree, &log_of(log.clone()), &settings).is_err();
            let tree: Arc<dyn Tree> = Arc::new(folder());
            run_until_done(&tree, &log_of(log), &settings).expect("the next one does it");
            assert_eq!(
                positions(&*tree, Partition(0)),
                (first..140).collect::<Vec<i64>>(),
                "killed at {kill_at}"
            );
            if settings.compaction {
                let names = tree.list_in("raw/").expect("names");
                let chain = Chain::load(&*tree, "memory", Partition(0)).expect("read");
                let named: Vec<&str> = chain.entries().iter().map(|entry| entry.object.as_str()).collect();
                assert_eq!(names, named, "nothing else is left, killed at {kill_at}");
            }
            if !died {
                assert!(kill_at > 20, "{kill_at}");
                break;
            }
        }
    }
}

#[test]
fn when_all_is_too_old_the_archive_still_knows_where_it_was() {
    let place = tempfile::tempdir().expect("a folder");
    let tree: Arc<dyn Tree> = Arc::new(Folder::tree("archive.folder", place.path()).expect("made"));
    let log = MemoryFactory::open_ended(vec![plain(20)]);
    let stats = Arc::new(Stats::new(1));
    let archive = || {
        let mut archiver =
            Archiver::begin(tree.clone(), log_of(log.clone()), settings(), stats.clone()).expect("begun");
        archiver.step(Instant::now()).expect("read");
        archiver.flush().expect("put");
    };
    archive();
    let mut chain = Chain::load(&*tree, "memory", Partition(0)).expect("read");
    let objects = chain.entries().len() as u64;
    assert!(!expire(&*tree, &mut chain, 1_700_000_000_000, &stats).expect("nothing is so old"));
    assert!(expire(&*tree, &mut chain, i64::MAX, &stats).expect("all is"));
    assert_eq!(stats.expired.load(Ordering::Relaxed), objects);
    let read = Chain::load(&*tree, "memory", Partition(0)).expect("read");
    assert_eq!((read.entries().len(), read.next()), (0, Some(Offset(120))));
    plain(30)
        .into_iter()
        .skip(20)
        .for_each(|record| log.append(Partition(0), record));
    archive();
    assert_eq!(positions(&*tree, Partition(0)), (120..130).collect::<Vec<i64>>());
}

#[test]
fn while_the_place_is_away_nothing_is_lost_and_memory_is_bounded() {
    let place = tempfile::tempdir().expect("a folder");
    let mortal = Arc::new(Mortal::new(
        Folder::tree("archive.folder", place.path()).expect("made"),
        u64::MAX,
    ));
    let tree: Arc<dyn Tree> = mortal.clone();
    let log = MemoryFactory::open_ended(vec![plain(1)]);
    let stats = Arc::new(Stats::new(1));
    let settings = Settings {
        memory_bytes: 1 << 20,
        object_time: Duration::ZERO,
        ..settings()
    };
    let mut archiver = Archiver::begin(tree.clone(), log_of(log.clone()), settings, stats).expect("begun");
    archiver.step(Instant::now()).expect("it works");
    mortal.set_away(true);
    plain(2_000)
        .into_iter()
        .skip(1)
        .for_each(|record| log.append(Partition(0), record));
    archiver.step(Instant::now()).expect_err("it is away");
    for _ in 0..10 {
        let problem = archiver.step(Instant::now()).expect_err("it is away");
        assert_eq!(problem.kind, tidewatch_archive::Kind::Retry, "{problem}");
    }
    mortal.set_away(false);
    log.finish();
    while archiver.step(Instant::now()).expect("it works") != Stepped::Finished {}
    assert_eq!(positions(&*tree, Partition(0)), (100..2_100).collect::<Vec<i64>>());
}

#[test]
fn of_two_archivers_of_a_partition_one_wins_and_the_other_goes_on_behind_it() {
    let place = tempfile::tempdir().expect("a folder");
    let tree: Arc<dyn Tree> = Arc::new(Folder::tree("archive.folder", place.path()).expect("made"));
    let log = MemoryFactory::open_ended(vec![plain(30)]);
    let begin = || {
        let stats = Arc::new(Stats::new(1));
        Archiver::begin(tree.clone(), log_of(log.clone()), settings(), stats).expect("begun")
    };
    let (mut older, mut newer) = (begin(), begin());
    newer.step(Instant::now()).expect("read");
    newer.flush().expect("put");
    plain(40)
        .into_iter()
        .skip(30)
        .for_each(|record| log.append(Partition(0), record));
    let mut problem = older.step(Instant::now()).and_then(|_| older.flush());
    while problem.is_ok() {
        problem = older.step(Instant::now()).and_then(|_| older.flush());
    }
    assert_eq!(problem.expect_err("overtaken").kind, tidewatch_archive::Kind::Again);
    let mut older = begin();
    older.step(Instant::now()).expect("read");
    older.flush().expect("put");
    assert_eq!(positions(&*tree, Partition(0)), (100..140).collect::<Vec<i64>>());
    // What the loser had put is an orphan, and goes; whoever was about to name it can't any more.
    let (mut collector, stats) = (Collector::default(), Stats::new(1));
    collector
        .collect(&*tree, older.chains(), (Instant::now(), Duration::ZERO), &stats)
        .expect("collected");
    let named = objects(&*tree, "memory", Partition(0), Offset(0)..Offset(1_000)).expect("objects");
    assert_eq!(tree.list_in("raw/").expect("names").len(), named.len());
}

#[test]
fn a_wrong_bit_is_refused_by_name() {
    let place = tempfile::tempdir().expect("a folder");
    let tree: Arc<dyn Tree> = Arc::new(Folder::tree("archive.folder", place.path()).expect("made"));
    run_until_done(&tree, &log_of(memory(plain(5))), &settings()).expect("archived");
    let all = objects(&*tree, "memory", Partition(0), Offset(0)..Offset(1_000)).expect("objects");
    let mut bytes = tree.get(&all[0].object).expect("there");
    bytes[40] ^= 1;
    tree.put(&all[0].object, &bytes).expect("put");
    let problem = read(&*tree, &all[0]).expect_err("refused").to_string();
    assert!(problem.starts_with(&all[0].object), "{problem}");
}

/// Written by pyarrow, with the columns that objects had before there was one for headers.
#[test]
fn objects_without_headers_stay_readable() {
    let bytes = include_bytes!("golden/without-headers.parquet").to_vec();
    let contents = Contents::open("raw/golden.parquet", bytes).expect("an object");
    let group = contents.group(0).expect("a row group");
    let mut metrics = Vec::new();
    let read = (0..group.len()).map(|at| {
        let row = group.row(at, &mut metrics);
        assert!(row.headers.is_empty());
        let metrics = row
            .metrics
            .map(|metrics| metrics.iter().map(|metric| metric.1).collect());
        (row.offset.0, row.device.map(<[u8]>::to_vec), metrics)
    });
    let device = Some(b"dev-1".to_vec());
    type Read = (i64, Option<Vec<u8>>, Option<Vec<f64>>);
    let wanted: [Read; 3] = [
        (9, None, None),
        (7, device.clone(), Some(vec![1.5, -2.0])),
        (8, device, Some(Vec::new())),
    ];
    assert_eq!(read.collect::<Vec<_>>(), wanted);
}
