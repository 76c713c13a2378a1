//! Damaged checkpoints: every one is refused by name, none goes unnoticed, none makes a panic.

use super::Problem;
use super::workload::Random;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use tidewatch_checkpoints::{Store, StoreError, load};

/// A checkpoint's files in memory.
struct Files(Mutex<BTreeMap<String, Vec<u8>>>);

impl Files {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().expect("no test panics while it holds the lock")
    }
}

impl Store for Files {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.lock().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut files = self.lock();
        let is_new = !files.contains_key(name);
        if is_new {
            files.insert(name.to_owned(), bytes.to_vec());
        }
        Ok(is_new)
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let found = self.lock().get(name).cloned();
        found.ok_or_else(|| StoreError::new(name, "it is not there"))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.lock().remove(name);
        Ok(())
    }
}

/// Flips so many random bits of the newest checkpoint in a folder, one at a time, and cuts its files at every border:
/// says how many flips and cuts were refused.
///
/// # Errors
/// The first that was not.
pub fn damage(folder: &Path, seed: u64, flips: usize) -> Result<(usize, usize), Problem> {
    let files = Files(Mutex::new(read(folder)?));
    let whole = load(&files)?;
    let newest = whole.saved.ok_or("there is no checkpoint")?.meta.epoch;
    if !whole.refused.is_empty() {
        return Err(format!("before any damage: {:?}", whole.refused));
    }
    let is_refused = |name: &str| match catch_unwind(AssertUnwindSafe(|| load(&files))) {
        Err(_) => Err("it panics".to_owned()),
        Ok(Err(problem)) if problem.contains(name) => Ok(()),
        Ok(Ok(found)) if found.refused.iter().any(|problem| problem.contains(name)) => Ok(()),
        Ok(Ok(found)) if found.saved.as_ref().is_some_and(|saved| saved.meta.epoch == newest) => {
            Err("nobody notices".to_owned())
        }
        Ok(Ok(found)) => Err(format!("it is not named: {:?}", found.refused)),
        Ok(Err(problem)) => Err(format!("it is not named: {problem}")),
    };
    let needed = needed(&files, &is_refused);
    let mut random = Random::new(seed);
    for _ in 0..flips {
        let name = &needed[random.below(needed.len() as u64) as usize];
        let bytes = files.get(name).map_err(|error| error.to_string())?;
        let (at, bit) = (random.below(bytes.len() as u64) as usize, random.below(8));
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        files.lock().insert(name.clone(), flipped);
        is_refused(name).map_err(|problem| format!("{name}, bit {bit} of byte {at}: {problem}"))?;
        files.lock().insert(name.clone(), bytes);
    }
    let mut cuts = 0;
    for name in &needed {
        let bytes = files.get(name).map_err(|error| error.to_string())?;
        for length in borders(bytes.len()) {
            files.lock().insert(name.clone(), bytes[..length].to_vec());
            is_refused(name).map_err(|problem| format!("{name}, cut to {length}: {problem}"))?;
            cuts += 1;
        }
        files.lock().insert(name.clone(), bytes);
    }
    Ok((flips, cuts))
}

/// The files without which the newest checkpoint isn't whole.
fn needed(files: &Files, is_refused: &impl Fn(&str) -> Result<(), Problem>) -> Vec<String> {
    let names: Vec<String> = files.lock().keys().cloned().collect();
    let needed = names.into_iter().filter(|name| {
        let bytes = files.lock().insert(name.clone(), Vec::new()).unwrap_or_default();
        let is_needed = is_refused(name).is_ok();
        files.lock().insert(name.clone(), bytes);
        is_needed
    });
    needed.collect()
}

/// Lengths to cut a file to: all of a small one, of a larger one those at its beginning and end and some between.
fn borders(length: usize) -> Vec<usize> {
    match length {
        0..=2_048 => (0..length).collect(),
        _ => {
            let between = (1..256).map(|part| length * part / 256);
            (0..64).chain(between).chain(length - 64..length).collect()
        }
    }
}

fn read(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
    let about = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(about)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, std::fs::read(entry.path()).map_err(about)?);
    }
    Ok(files)
}
