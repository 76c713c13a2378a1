//! The newest whole checkpoint of a folder, held for a copy: a run beside it may forget these files meanwhile.

use super::names::FileName;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::checkpoint::file;

/// So often a checkpoint may be forgotten while it is looked at, before that is an error.
const TRIES: usize = 20;

/// A checkpoint whose files stay readable, whatever becomes of their names.
#[derive(Debug)]
pub struct Pinned {
    /// What it says beside the state.
    pub meta: Meta,
    /// Its files and their names, the manifest last.
    pub files: Vec<(String, File)>,
    /// What is wrong with newer ones, each with its file.
    pub refused: Vec<String>,
}

impl Pinned {
    /// Holds the newest whole checkpoint, if there is any; all of it is read, to see that it is whole.
    ///
    /// # Errors
    /// When the folder can't be read, or there are checkpoints and none of them is whole.
    pub fn newest(folder: &Path) -> Result<Option<Pinned>, String> {
        for _ in 0..TRIES {
            let names = names(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            let is_manifest = |name: &&String| matches!(FileName::parse(name), Some(FileName::Manifest(..)));
            let (mut refused, mut is_gone) = (Vec::new(), false);
            for name in names.iter().rev().filter(is_manifest) {
                match pin(folder, name) {
                    Ok(mut pinned) => {
                        pinned.refused = refused;
                        return Ok(Some(pinned));
                    }
                    Err(Unfit::Gone(problem)) => {
                        is_gone = true;
                        refused.push(problem);
                    }
                    Err(Unfit::Wrong(problem)) => refused.push(problem),
                }
            }
            match (refused.is_empty(), is_gone) {
                (true, _) => return Ok(None),
                // A run has made a newer one and forgotten this one.
                (false, true) if self::names(folder).is_ok_and(|now| now != names) => {}
                (false, _) => return Err(refused.join("; ")),
            }
        }
        Err(format!(
            "{}: no checkpoint stays long enough to be copied",
            folder.display()
        ))
    }
}

/// The names of the files beside checkpoints that belong to a run's state: claims of generations, and what it notes
/// about crashes. A backup takes them last: the newest claim counts.
///
/// # Errors
/// When the folder can't be read.
pub fn beside(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = names(folder)?;
    names.retain(|name| match FileName::parse(name) {
        Some(file) => matches!(file, FileName::Claim(_)),
        None => name.starts_with("crash-") && FileName::of_unfinished(name).is_none() && !name.ends_with(".new"),
    });
    Ok(names)
}

/// The names of all files, ascending.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Why a checkpoint can't be held.
enum Unfit {
    /// A file of it isn't there.
    Gone(String),
    /// It isn't whole.
    Wrong(String),
}

fn pin(folder: &Path, name: &str) -> Result<Pinned, Unfit> {
    let wrong = |name: &str, problem: &dyn std::fmt::Display| {
        Unfit::Wrong(format!("{}: {problem}", folder.join(name).display()))
    };
    let (file, bytes) = open(folder, name)?;
    let manifest = file::read_manifest(&bytes).map_err(|error| wrong(name, &error))?;
    let generation = manifest.meta.generation;
    let segment = |number| FileName::Segment(generation, number).to_string();
    // First all are held, then they are looked at.
    let opened = manifest.segments.iter().map(|known| {
        let name = segment(known.number);
        let file = File::open(folder.join(&name)).map_err(|error| gone_or_wrong(folder, &name, &error))?;
        Ok((name, known, file))
    });
    let opened = opened.collect::<Result<Vec<_>, Unfit>>()?;
    let mut files = Vec::with_capacity(opened.len() + 1);
    for (name, known, mut file) in opened {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| wrong(&name, &error))?;
        if bytes.len() as u64 != known.bytes {
            let problem = format!("it has {} bytes, not {}", bytes.len(), known.bytes);
            return Err(wrong(&name, &problem));
        }
        file::read_segment(&bytes, generation, known.number).map_err(|error| wrong(&name, &error))?;
        files.push((name, file));
    }
    files.push((name.to_owned(), file));
    Ok(Pinned {
        meta: manifest.meta,
        files,
        refused: Vec::new(),
    })
}

fn open(folder: &Path, name: &str) -> Result<(File, Vec<u8>), Unfit> {
    let mut bytes = Vec::new();
    let opened = File::open(folder.join(name)).and_then(|mut file| {
        file.read_to_end(&mut bytes)?;
        Ok(file)
    });
    let file = opened.map_err(|error| gone_or_wrong(folder, name, &error))?;
    Ok((file, bytes))
}

fn gone_or_wrong(folder: &Path, name: &str, error: &io::Error) -> Unfit {
    let problem = format!("{}: {error}", folder.join(name).display());
    match error.kind() {
        ErrorKind::NotFound => Unfit::Gone(problem),
        _ => Unfit::Wrong(problem),
    }
}
