//! What is left of a log that was cut off or damaged anywhere.

use super::*;
use std::fs;

/// So many records leave some batches in the last file.
const END: i64 = 96;

/// A log of some files, closed, and the last of these.
fn written(place: &Place) -> PathBuf {
    let (writer, _) = place.open();
    append(&writer, 0, &records(0, END), 4);
    drop(writer);
    place.files(0).pop().unwrap()
}

/// A copy of the log with other bytes in one of its files.
fn copy(place: &Place, file: &Path, bytes: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("0")).unwrap();
    for from in place.files(0).iter().chain([&place.path().join("id")]) {
        let to = copy.path().join(from.strip_prefix(place.path()).unwrap());
        match from == file {
            true => fs::write(to, bytes).unwrap(),
            false => drop(fs::copy(from, to).unwrap()),
        }
    }
    copy
}

/// Where the batches of a file end, by the length of the file; and the offsets after them.
fn borders(bytes: &[u8], base: i64) -> Vec<(usize, i64)> {
    use super::super::frame::Head;
    let mut borders = vec![(super::super::segment::HEADER_BYTES, base)];
    while let Some(head) = Head::read(&bytes[borders[borders.len() - 1].0..]) {
        let (at, _) = borders[borders.len() - 1];
        borders.push((at + head.whole(), head.end().0));
    }
    borders
}

fn base(file: &Path) -> i64 {
    file.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_write_that_is_cut_off_anywhere_leaves_the_batches_before_it() {
    let place = Place::small();
    let last = written(&place);
    let bytes = fs::read(&last).unwrap();
    let borders = borders(&bytes, base(&last));
    assert!(borders.len() > 2 && borders.last().unwrap().0 == bytes.len());
    let is_near = |length: usize| borders.iter().any(|(at, _)| at.abs_diff(length) < 4);
    for length in (borders[0].0..=bytes.len()).filter(|length| length % 5 == 0 || is_near(*length)) {
        let (whole, end) = *borders.iter().rfind(|(at, _)| *at <= length).unwrap();
        // What a file system may leave of the rest: nothing, or zeros.
        let zeros = [&bytes[..length], &vec![0; bytes.len() - length]].concat();
        for cut in [bytes[..length].to_vec(), zeros]
            .iter()
            .take(1 + usize::from(length % 7 == 0))
        {
            let copy = copy(&place, &last, cut);
            let (writer, log) = place.open_at(copy.path()).unwrap();
            let tail = writer.tail(Partition(0)).unwrap();
            assert_eq!(
                (tail.end, tail.origin.next),
                (Offset(end), Offset(end)),
                "{length} bytes"
            );
            let heard = place.heard();
            assert_eq!(heard.len(), usize::from(cut.len() > whole), "{heard:?}");
            if length % 50 == 0 {
                append(&writer, 0, &records(end, 110), 3);
                assert_eq!(read(&log, 0, 0).unwrap(), records(0, 110));
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_damage_where_the_log_was_durable_and_a_cut_at_its_end() {
    let place = Place::small();
    let last = written(&place);
    let bytes = fs::read(&last).unwrap();
    let borders = borders(&bytes, base(&last));
    // What was durable when the last batch was written, that one says.
    let (known, before_last) = borders[borders.len() - 2];
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let copy = copy(&place, &last, &flipped);
        match place.open_at(copy.path()) {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(last.file_name().unwrap().to_str().unwrap()), "{error}");
                assert!(at < known, "byte {at}: {error}");
            }
            Ok((writer, _)) => {
                assert!(at >= known, "byte {at} of {known} is not missed");
                assert_eq!(writer.tail(Partition(0)).unwrap().end, Offset(before_last));
                assert_eq!(place.heard().len(), 1);
            }
        }
    }
}

#[test]
fn a_file_in_the_middle_that_is_damaged_is_refused_by_name_when_it_is_read() {
    let place = Place::small();
    written(&place);
    let file = place.files(0)[1].clone();
    let bytes = fs::read(&file).unwrap();
    let (first, next) = (base(&file), base(&place.files(0)[2]));
    let header = super::super::segment::HEADER_BYTES;
    let flipped = |at: usize| {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        flipped
    };
    let damaged = [
        flipped(header),
        flipped(header + 9),
        flipped(bytes.len() - 1),
        bytes[..bytes.len() - 1].to_vec(),
    ];
    for bytes in damaged.into_iter().chain([bytes[..header].to_vec()]) {
        let copy = copy(&place, &file, &bytes);
        let (_writer, log) = place.open_at(copy.path()).unwrap();
        let assigned = [Assignment {
            partition: Partition(0),
            from: None,
        }];
        let mut source = log.open(&assigned).unwrap();
        let mut collected = Collected::new(1);
        let error = loop {
            match source.poll(&mut collected, 7) {
                Ok(polled) => assert_eq!(polled, Polled::Some, "the end is not reached"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
        assert!(error.contains("it is damaged at offset"), "{error}");
        let read = &collected.partitions[0];
        assert_eq!(*read, records(0, read.len() as i64));
        assert!(
            (first..next).contains(&(read.len() as i64)),
            "what lies before it is read"
        );
        assert_eq!(
            super::read(&log, 0, next).unwrap(),
            records(next, END),
            "and what lies behind it"
        );
    }
    let copy = copy(&place, &file, &flipped(header - 1));
    let error = place.open_at(copy.path()).err().expect("its header").to_string();
    assert!(error.contains("doesn't begin as a file of a log does"), "{error}");
}

#[test]
fn a_file_of_another_log_is_refused() {
    let (place, other) = (Place::small(), Place::small());
    let (last, foreign) = (written(&place), written(&other));
    let copied = copy(&place, &last, &fs::read(&foreign).unwrap());
    let error = place.open_at(copied.path()).err().expect("a foreign file").to_string();
    assert!(error.contains("it belongs to another log"), "{error}");
    let named = place.files(0)[1].clone();
    let copied = copy(&place, &last, &fs::read(named).unwrap());
    let error = place
        .open_at(copied.path())
        .err()
        .expect("a file in a wrong place")
        .to_string();
    assert!(error.contains("it belongs to another log"), "{error}");
    fs::remove_file(place.path().join("id")).unwrap();
    let error = place.try_open().err().expect("no id").to_string();
    assert!(error.contains("nothing else says which log this is"), "{error}");
}

#[test]
fn a_file_that_is_missing_is_noticed() {
    let place = Place::small();
    written(&place);
    let files = place.files(0);
    fs::remove_file(&files[1]).unwrap();
    let (_writer, log) = place.open();
    let error = read(&log, 0, 0).unwrap_err().to_string();
    assert!(error.contains("it is damaged at offset"), "{error}");
    assert_eq!(read(&log, 0, base(&files[2])).unwrap(), records(base(&files[2]), END));
}

#[test]
fn a_file_that_was_left_ends_where_the_next_one_begins() {
    let place = Place::small();
    written(&place);
    let file = place.files(0)[1].clone();
    let mut bytes = fs::read(&file).unwrap();
    // What a sync has failed of may be there all the same, whole or torn.
    let again = fs::read(&place.files(0)[2]).unwrap();
    bytes.extend_from_slice(&again[super::super::segment::HEADER_BYTES..]);
    for length in [bytes.len(), bytes.len() - 1] {
        let copy = copy(&place, &file, &bytes[..length]);
        let (_writer, log) = place.open_at(copy.path()).unwrap();
        assert_eq!(read(&log, 0, 0).unwrap(), records(0, END));
    }
    assert_eq!(place.heard(), [] as [&str; 0]);
}
