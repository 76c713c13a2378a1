//! Brings a backup back: into folders that are empty, and only what is whole.
//!
//! While it is at work a marker lies in the folder of the state, and a start with it is refused; so nobody begins on half of
//! a backup. What turns out not to be whole is taken away again.

use super::gather::wall_ms;
use super::pack::Counted;
use super::progress::{Progress, size};
use super::{ARCHIVE, FORMAT, HEAD, Head, LIST, LOG, List, Packed, Places, STATE, STORE};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use tidewatch_checkpoints::RESTORING;

/// What a fresh file system has in its uppermost folder.
const LOST_AND_FOUND: &str = "lost+found";

/// Restores a backup to where the configuration has its parts.
///
/// # Errors
/// When a folder isn't empty, or the backup is damaged, newer or of a later time, or can't be written back.
pub fn restore(places: &Places, from: &Path) -> Result<(), String> {
    for part in [STATE, LOG, STORE, ARCHIVE] {
        places.of_part(part).map_or(Ok(()), |folder| is_free(part, folder))?;
    }
    let mut written = Written::begin(&places.state)?;
    let restored = unpack(places, from, &mut written).and_then(|total| written.keep().map(|()| total));
    let (files, bytes) = match restored {
        Ok(total) => total,
        Err(problem) => {
            written.take_away();
            return Err(problem);
        }
    };
    let state = places.state.display();
    Progress::new().line(&format!(
        "restored {files} files of {} to {state}; the next start goes on from there",
        size(bytes)
    ));
    Ok(())
}

/// A folder that isn't there, or has nothing in it.
fn is_free(part: &str, folder: &Path) -> Result<(), String> {
    let name = match part {
        STORE => "embedded.folder",
        LOG => "log.folder",
        ARCHIVE => "archive.folder",
        _ => "state.folder",
    };
    let mut entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| format!("{name} {}: {error}", folder.display()))?,
    };
    match entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != LOST_AND_FOUND)) {
        false => Ok(()),
        true => Err(format!(
            "{name} {} is not empty: restore to another folder (TIDEWATCH__STATE__FOLDER), or move away what is there",
            folder.display()
        )),
    }
}

/// Unpacks all files and compares them with the list at the end. Gives how many there are, and their bytes.
fn unpack(places: &Places, from: &Path, written: &mut Written) -> Result<(usize, u64), String> {
    let at = |problem: String| format!("{}: {problem}", from.display());
    let cut = |error: io::Error| at(format!("it is damaged or cut off: {error}"));
    let mut progress = Progress::new();
    let file = File::open(from).map_err(|error| at(error.to_string()))?;
    let zstd = zstd::Decoder::new(file).map_err(|error| at(error.to_string()))?;
    let mut tar = tar::Archive::new(zstd);
    let mut unpacked: Vec<Packed> = Vec::new();
    let mut list: Option<List> = None;
    let mut is_known = false;
    let entries = tar.entries().map_err(|error| at(error.to_string()))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| match is_known {
            true => cut(error),
            false => at("it is no backup of tidewatch".to_owned()),
        })?;
        let name = entry.path().map_err(cut)?.to_string_lossy().into_owned();
        if !is_known {
            check_head(&name, &mut entry, &mut progress).map_err(at)?;
            is_known = true;
            continue;
        }
        if list.is_some() {
            return Err(at(format!("it is damaged: {name} comes after its end")));
        }
        if name == LIST {
            let mut text = Vec::new();
            entry.read_to_end(&mut text).map_err(cut)?;
            let parsed = serde_json::from_slice(&text);
            list = Some(parsed.map_err(|error| at(format!("it is damaged: {LIST}: {error}")))?);
            continue;
        }
        let to = place(places, &name).map_err(at)?;
        progress.at(|| name.clone());
        let mut counted = Counted::new(&mut entry);
        let done = written.file(&to, &mut counted);
        done.map_err(|error| match counted.failed {
            true => cut(error),
            false => format!("{}: {error}", to.display()),
        })?;
        let Counted { bytes, crc32c, .. } = counted;
        unpacked.push(Packed { name, bytes, crc32c });
    }
    // What is behind the end has to be whole too: the checksum of all.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(cut)?;
    let list = list.ok_or_else(|| at("it is cut off: the list of its files is missing".to_owned()))?;
    compare(&list, &unpacked).map_err(at)?;
    let bytes = unpacked.iter().map(|file| file.bytes).sum();
    Ok((unpacked.len(), bytes))
}

fn check_head(name: &str, entry: &mut impl Read, progress: &mut Progress) -> Result<(), String> {
    if name != HEAD {
        return Err(format!("it is no backup of tidewatch: it begins with {name}"));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(|error| error.to_string())?;
    // A newer head may have other fields; this one it has in every version.
    let any: serde_json::Value = serde_json::from_slice(&text).map_err(|error| format!("{HEAD}: {error}"))?;
    let format = any.get("format").and_then(serde_json::Value::as_u64);
    if let Some(newer) = format.filter(|format| *format > u64::from(FORMAT)) {
        let by = any
            .get("tidewatch")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("a newer release");
        return Err(format!(
            "it has format {newer}, made by tidewatch {by}; this version reads up to {FORMAT}: use a newer tidewatch"
        ));
    }
    let head: Head = serde_json::from_value(any).map_err(|error| format!("{HEAD}: {error}"))?;
    progress.line(&format!("a backup of {} by tidewatch {}", head.begun, head.tidewatch));
    Ok(())
}

/// Where a file of the backup belongs.
fn place(places: &Places, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let (part, rest) = name.split_once('/').filter(|_| is_plain).unwrap_or_default();
    match places.of_part(part) {
        Some(folder) => Ok(folder.join(rest)),
        None if [LOG, STORE, ARCHIVE].contains(&part) => Err(format!(
            "it has a folder `{part}`, for which this configuration has no place: restore with the one that it was made with"
        )),
        None => Err(format!("it is damaged: {name} is not what a backup has")),
    }
}

fn compare(list: &List, unpacked: &[Packed]) -> Result<(), String> {
    for (known, found) in list.files.iter().zip(unpacked) {
        if known != found {
            return Err(format!(
                "it is damaged: {} is not what the list of its files says",
                found.name
            ));
        }
    }
    if list.files.len() != unpacked.len() {
        let (known, found) = (list.files.len(), unpacked.len());
        return Err(format!("it is damaged: it has {found} files, its list {known}"));
    }
    // Generations and revisions grow with the clock; what was made before must look old.
    if list.ended_ms > wall_ms() {
        return Err("it was made later than this machine's clock shows: set the clock right first".to_owned());
    }
    Ok(())
}

/// What was written, to be kept or to be taken away.
struct Written {
    marker: PathBuf,
    files: Vec<PathBuf>,
    /// Folders that were made, each after the one that it lies in.
    made: Vec<PathBuf>,
    /// Folders whose entries are to be made durable.
    folders: BTreeSet<PathBuf>,
}

impl Written {
    fn begin(state: &Path) -> Result<Written, String> {
        let mut written = Written {
            marker: state.join(RESTORING),
            files: Vec::new(),
            made: Vec::new(),
            folders: BTreeSet::new(),
        };
        let begun = written
            .folder(state)
            .and_then(|()| File::create(&written.marker)?.sync_all());
        let begun = begun.and_then(|()| File::open(state)?.sync_all());
        begun.map_err(|error| format!("state.folder {}: {error}", state.display()))?;
        Ok(written)
    }

    /// Makes a folder, and those that it lies in.
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let missing = folder
            .ancestors()
            .take_while(|one| !one.as_os_str().is_empty() && !one.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        for one in missing.into_iter().rev() {
            fs::create_dir(&one)?;
            self.folders
                .insert(one.parent().map_or_else(PathBuf::new, Path::to_owned));
            self.made.push(one);
        }
        self.folders.insert(folder.to_owned());
        Ok(())
    }

    fn file(&mut self, to: &Path, from: &mut impl Read) -> io::Result<()> {
        self.folder(to.parent().unwrap_or(Path::new(".")))?;
        let mut file = File::options().write(true).create_new(true).open(to)?;
        self.files.push(to.to_owned());
        io::copy(from, &mut file)?;
        file.sync_all()
    }

    /// All of it is durable, and may be begun with.
    fn keep(&self) -> Result<(), String> {
        let sync = |folder: &PathBuf| {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            File::open(folder).and_then(|folder| folder.sync_all())
        };
        let kept = self.folders.iter().try_for_each(sync);
        let kept = kept.and_then(|()| fs::remove_file(&self.marker));
        let kept = kept.and_then(|()| self.marker.parent().map_or(Ok(()), |state| sync(&state.to_owned())));
        kept.map_err(|error| format!("{}: {error}", self.marker.display()))
    }

    /// Takes away what was written. What can't be is left, with the marker.
    fn take_away(&self) {
        let files = self.files.iter().map(fs::remove_file).all(|removed| removed.is_ok());
        if files {
            let _ = fs::remove_file(&self.marker);
            for folder in self.made.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}
