//! Batches: as another implementation writes them, cut off, damaged, of transactions, with holes.

use super::super::batch::{Head, is_intact};
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// A batch of one record without key and value, from a broker's disk.
const FROM_DISK: &str = "0000000000000000000000380000000002be0568730000000000000000019b76daa8000000019b76daa800\
    ffffffffffffffffffffffffffff000000010c000000010000";

fn from_disk() -> Vec<u8> {
    let digits: Vec<u8> = FROM_DISK
        .bytes()
        .map(|digit| (digit as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn some_records() -> Vec<Record> {
    let value = "0123456789".repeat(20);
    (0..20)
        .map(|n| {
            record(
                100 + 2 * n,
                (n % 3 > 0).then_some("dev-1"),
                Some(&value[..n as usize * 10]),
            )
        })
        .collect()
}

/// Makes a batch's length fit to what is there.
fn set_len(batch: &mut [u8]) {
    let len = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&len.to_be_bytes());
}

#[test]
fn a_batch_from_a_brokers_disk() {
    let bytes = from_disk();
    let head = Head::read(&bytes).unwrap().unwrap();
    assert_eq!(
        (head.len, head.next(), head.count, head.codec()),
        (bytes.len(), 1, 1, 0)
    );
    let read = read(&bytes, 0, &[], true).unwrap();
    assert_eq!(
        read,
        [seen(&Record {
            timestamp: 1_767_225_600_000,
            headers: Default::default(),
            ..record(0, None, None)
        })]
    );
}

#[test]
fn every_codec_and_every_position() {
    let records = some_records();
    for codec in CODECS {
        let bytes = batch(&records, codec);
        for from in 99..140 {
            let expected: Vec<Seen> = records
                .iter()
                .filter(|record| record.offset >= from)
                .map(seen)
                .collect();
            assert_eq!(
                read(&bytes, from, &[], true).unwrap(),
                expected,
                "{codec:?} from {from}"
            );
        }
    }
}

#[test]
fn the_brokers_time_counts_when_it_stamped_the_batch() {
    let records = some_records();
    let mut stamped = batch(&records, Compression::Zstd);
    stamped[22] |= 0b1000;
    let read = read(&stamped, 0, &[], false).unwrap();
    let last = records.last().unwrap().timestamp;
    assert!(read.iter().all(|seen| seen.log_time.unwrap().0 == last));
    assert_eq!(read.len(), records.len());
}

#[test]
fn what_is_cut_off_is_an_error() {
    let expected: Vec<Seen> = some_records().iter().map(seen).collect();
    for codec in CODECS {
        let whole = batch(&some_records(), codec);
        for len in 0..whole.len() {
            let mut bytes = whole[..len].to_vec();
            // As the last thing in an answer it is left for the next one.
            assert_eq!(Head::read(&bytes).unwrap(), None, "{codec:?} of {len} bytes");
            if len >= 12 {
                set_len(&mut bytes);
                let read = read(&bytes, 0, &[], false);
                // The mark of lz4's end is not missed when all records are there; the checksum would tell.
                let is_whole = codec == Compression::Lz4 && read.as_ref().is_ok_and(|read| *read == expected);
                assert!(read.is_err() || is_whole, "{codec:?} of {len} bytes");
            }
        }
        let mut longer = [whole.as_slice(), &[0]].concat();
        set_len(&mut longer);
        assert_eq!(read(&longer, 0, &[], true), Err(Damage::Checksum));
        assert!(read(&longer, 0, &[], false).is_err(), "{codec:?}");
    }
}

#[test]
fn a_flipped_bit_is_found() {
    let whole = batch(&some_records(), Compression::Zstd);
    // The offset, the length and the leader's epoch are the broker's own; the format is looked at first.
    for place in 17..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        assert!(!is_intact(&bytes), "byte {place}");
        assert!(read(&bytes, 0, &[], true).is_err(), "byte {place}");
    }
}

#[test]
fn formats_and_codecs_that_are_not_known_are_named() {
    let mut bytes = batch(&some_records(), Compression::None);
    bytes[22] |= 5;
    assert_eq!(read(&bytes, 0, &[], false), Err(Damage::Codec(5)));
    for magic in [0, 1, 3] {
        bytes[16] = magic as u8;
        let error = read(&bytes, 0, &[], false).unwrap_err();
        assert_eq!(error, Damage::Format(magic));
        assert!(error.to_string().contains(&format!("format {magic}")));
    }
}

#[test]
fn what_decompresses_to_too_much_is_refused() {
    let value = "a".repeat(1 << 20);
    for codec in &CODECS[1..] {
        let bytes = batch(&[record(0, None, Some(&value))], *codec);
        let head = Head::read(&bytes).unwrap().unwrap();
        let mut unpacker = Unpacker::new().unwrap().with_bytes_max(1 << 19);
        assert_eq!(unpacker.unpack(&head, &bytes), Err(Damage::Size(1 << 19)), "{codec:?}");
        let mut unpacker = Unpacker::new().unwrap().with_bytes_max(1 << 21);
        assert_eq!(unpacker.unpack(&head, &bytes), Ok(()), "{codec:?}");
    }
}

#[test]
fn snappy_as_the_java_library_writes_it() {
    let records = some_records();
    let plain = batch(&records, Compression::None);
    let mut bytes = plain[..61].to_vec();
    bytes[22] |= 2;
    bytes.extend(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    for part in plain[61..].chunks(100) {
        let packed = compress(part, Compression::Snappy);
        bytes.extend((packed.len() as u32).to_be_bytes());
        bytes.extend(packed);
    }
    set_len(&mut bytes);
    let expected: Vec<Seen> = records.iter().map(seen).collect();
    assert_eq!(read(&bytes, 0, &[], false).unwrap(), expected);
}

#[test]
fn zstd_that_does_not_tell_its_size() {
    let value = "a".repeat(3 << 20);
    let records = [record(0, None, Some(&value))];
    let plain = batch(&records, Compression::None);
    let mut packed = vec![0; zstd_safe::compress_bound(plain.len())];
    let mut context = zstd_safe::CCtx::create();
    context
        .set_parameter(zstd_safe::CParameter::ContentSizeFlag(false))
        .unwrap();
    let len = context.compress2(&mut packed[..], &plain[61..]).unwrap();
    assert_eq!(zstd_safe::get_frame_content_size(&packed[..len]).unwrap(), None);
    let mut bytes = [&plain[..61], &packed[..len]].concat();
    bytes[22] |= 4;
    set_len(&mut bytes);
    assert_eq!(read(&bytes, 0, &[], false).unwrap(), [seen(&records[0])]);
}

/// A record of a transaction.
fn of(producer: i64, offset: i64) -> Record {
    Record {
        transactional: true,
        producer_id: producer,
        producer_epoch: 0,
        ..record(offset, None, Some("value"))
    }
}

/// The mark of a transaction's end.
fn mark(producer: i64, offset: i64, commit: bool) -> Record {
    Record {
        control: true,
        key: Some(Bytes::from(vec![0, 0, 0, u8::from(commit)])),
        ..of(producer, offset)
    }
}

#[test]
fn aborted_transactions_are_left_out() {
    let log = [
        of(1, 0),
        of(2, 1),
        record(2, None, None),
        mark(2, 3, true),
        of(2, 4),
        mark(1, 5, false),
        of(1, 6),
        mark(2, 7, false),
        mark(1, 8, true),
        of(2, 9),
        mark(2, 10, true),
    ];
    let bytes: Vec<u8> = log
        .iter()
        .flat_map(|one| batch(std::slice::from_ref(one), Compression::Zstd))
        .collect();
    let offsets = |from: i64, aborted: &[(i64, i64)]| -> Vec<i64> {
        read(&bytes, from, aborted, true)
            .unwrap()
            .iter()
            .map(|seen| seen.offset.0)
            .collect()
    };
    assert_eq!(offsets(0, &[(2, 4), (1, 0)]), [1, 2, 6, 9]);
    assert_eq!(offsets(0, &[]), [0, 1, 2, 4, 6, 9]);
    // An answer from the middle tells of what began before it.
    let second = batch(&log[..1], Compression::Zstd).len();
    let aborted = [(1, 0), (2, 4)];
    let rest: Vec<i64> = read(&bytes[second..], 1, &aborted, true)
        .unwrap()
        .iter()
        .map(|seen| seen.offset.0)
        .collect();
    assert_eq!(rest, [1, 2, 6, 9]);
}

#[test]
fn a_batch_that_compaction_has_emptied_is_stepped_over() {
    let mut emptied = batch(&[record(7, None, None)], Compression::None)[..61].to_vec();
    emptied[57..61].fill(0);
    set_len(&mut emptied);
    let bytes = [emptied, batch(&[record(9, None, None)], Compression::None)].concat();
    assert_eq!(read(&bytes, 0, &[], false).unwrap(), [seen(&record(9, None, None))]);
}

fn any_records() -> impl Strategy<Value = Vec<Record>> {
    let text = || proptest::option::of("[a-z]{0,200}");
    let headers = vec(("[a-z]{1,9}", proptest::option::of("[a-z]{0,20}")), 0..4);
    let one = (1..1_000_i64, -5_000..5_000_i64, text(), text(), headers);
    vec(one, 1..60).prop_map(|many| {
        let mut offset = 1 << 40;
        let records = many.into_iter().map(|(gap, time, key, value, headers)| {
            offset += gap;
            Record {
                sequence: offset as i32,
                timestamp: 1_767_225_600_000 + time,
                headers: headers
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.map(Bytes::from)))
                    .collect(),
                ..record(offset, key.as_deref(), value.as_deref())
            }
        });
        records.collect()
    })
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_read(records in any_records(), codec in 0..5_usize) {
        let bytes = batch(&records, CODECS[codec]);
        let expected: Vec<Seen> = records.iter().map(seen).collect();
        prop_assert_eq!(read(&bytes, 0, &[], true).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(
        records in any_records(),
        codec in 0..5_usize,
        places in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = batch(&records, CODECS[codec]);
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        // Whatever comes out of it comes in order.
        if let Ok(read) = read(&bytes, 0, &[], false) {
            prop_assert!(read.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        }
    }
}
