//! Backups of a few files, whole and not.

use super::gather::wall_ms;
use super::pack::Pack;
use super::restore::restore;
use super::{HEAD, Places};
use std::fs;
use std::path::{Path, PathBuf};

const BEGUN: &str = "2026-11-27T12:00:00Z";

fn places(folder: &Path) -> Places {
    Places {
        state: folder.join("data"),
        log: Some(folder.join("data/log")),
        store: None,
        archive: Some(folder.join("data/archive")),
        elsewhere: Vec::new(),
    }
}

fn backup(folder: &Path, ended_ms: i64) -> PathBuf {
    let to = folder.join("backup.tar.zst");
    let mut pack = Pack::begin(&to, BEGUN.to_owned()).expect("begun");
    for (name, text) in [
        ("state/manifest-1", "positions"),
        ("log/0/00.log", "records, records, records"),
        ("log/id", "which"),
    ] {
        pack.add(name, text.len() as u64, text.as_bytes()).expect("added");
    }
    pack.finish(ended_ms).expect("whole");
    to
}

/// What is in a folder, its files with what they hold.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("read").path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.display().to_string(), fs::read_to_string(&path).expect("text"))),
        }
    }
    found.sort();
    found
}

#[test]
fn what_was_packed_comes_back_and_only_to_a_folder_that_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, places) = (backup(folder.path(), wall_ms()), places(folder.path()));
    fs::create_dir_all(places.state.join("lost+found")).expect("a new file system");
    restore(&places, &from).expect("restored");
    let names = ["log/0/00.log", "log/id", "manifest-1"].map(|name| places.state.join(name).display().to_string());
    let found = contents(&places.state);
    assert_eq!(
        found.iter().map(|file| &file.0).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
    assert_eq!(found[0].1, "records, records, records");
    let problem = restore(&places, &from).expect_err("it is there now");
    assert!(problem.contains("is not empty"), "{problem}");
    assert_eq!(contents(&places.state), found);
}

#[test]
fn a_wrong_bit_or_a_missing_end_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, places) = (backup(folder.path(), wall_ms()), places(folder.path()));
    let whole = fs::read(&from).expect("read");
    let content = zstd::decode_all(&whole[..]).expect("whole");
    let check = |bytes: &[u8], what: String| {
        fs::write(&from, bytes).expect("written");
        let problem = restore(&places, &from).expect_err(&what);
        assert!(problem.starts_with(&from.display().to_string()), "{what}: {problem}");
        assert!(!places.state.exists(), "{what}");
    };
    for byte in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        // Some bits of a frame mean nothing to any reader.
        if zstd::decode_all(&bytes[..]).is_ok_and(|same| same == content) {
            continue;
        }
        check(&bytes, format!("a bit of byte {byte}"));
    }
    for length in (0..whole.len()).step_by(7) {
        check(&whole[..length], format!("{length} bytes"));
    }
}

#[test]
fn a_newer_a_later_and_a_foreign_one_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let places = places(folder.path());
    let from = backup(folder.path(), wall_ms() + 3_600_000);
    let check = |expected: &str| {
        let problem = restore(&places, &from).expect_err("refused");
        assert!(problem.contains(expected), "{problem}");
        assert!(!places.state.exists());
    };
    check("set the clock right");
    let write = |name: &str, text: &str| {
        let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).expect("memory"));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).expect("added");
        fs::write(&from, tar.into_inner().expect("whole").finish().expect("whole")).expect("written");
    };
    write(HEAD, r#"{"format": 2, "tidewatch": "9.0.0", "more": []}"#);
    check("it has format 2, made by tidewatch 9.0.0; this version reads up to 1");
    write("etc/passwd", "root");
    check("it is no backup of tidewatch: it begins with etc/passwd");
    fs::write(&from, "some text").expect("written");
    check("it is no backup of tidewatch");
}

#[test]
fn a_part_without_a_place_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = backup(folder.path(), wall_ms());
    let without = Places {
        log: None,
        ..places(folder.path())
    };
    let problem = restore(&without, &from).expect_err("refused");
    assert!(problem.contains("it has a folder `log`"), "{problem}");
    assert!(!without.state.exists());
}

#[test]
fn a_backup_takes_no_other_files_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let from = backup(folder.path(), wall_ms());
    let before = fs::read(&from).expect("read");
    let problem = Pack::begin(&from, BEGUN.to_owned()).err().expect("it is there");
    assert!(problem.contains("is there already"), "{problem}");
    drop(Pack::begin(&folder.path().join("other"), BEGUN.to_owned()).expect("begun"));
    assert_eq!(fs::read(&from).expect("read"), before);
    assert_eq!(
        fs::read_dir(folder.path()).expect("read").count(),
        1,
        "nothing is left of it"
    );
}
