//! Components that stay for a developer: started, remembered in the target folder, and stopped again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Component, Environment, start};
use crate::daemon::{Identity, Lifetime};
use crate::install;
use crate::paths::Paths;

/// What is remembered of a component that was started.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    process: Identity,
    state: PathBuf,
    environment: Environment,
}

type Memory = BTreeMap<Component, Remembered>;

/// The folder of the memory, held by one command at a time.
struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Starts those of `which` (none named: all) that do not run, and prints what all export.
pub(crate) fn up(paths: &Paths, which: &[Component]) -> Result<()> {
    let folder = Folder::open(paths)?;
    let mut memory = folder.running()?;
    let which = if which.is_empty() { &Component::ALL[..] } else { which };
    for component in which {
        if memory.contains_key(component) {
            eprintln!("  {} runs already", component.name());
            continue;
        }
        let started = start(paths, *component, &folder.path, Lifetime::Background)?;
        let (process, state) = (started.identity(), started.state.clone());
        memory.insert(
            *component,
            Remembered {
                process,
                state,
                environment: started.environment,
            },
        );
        folder.remember(&memory)?;
    }
    folder.remember(&memory)?;
    print!("{}", exports(&memory));
    Ok(())
}

/// Stops what `up` started, and nothing else.
pub(crate) fn down(paths: &Paths) -> Result<()> {
    let folder = Folder::open(paths)?;
    let mut memory = folder.running()?;
    while let Some((component, remembered)) = memory.pop_last() {
        remembered.process.stop();
        let _ = fs::remove_dir_all(&remembered.state);
        eprintln!("  {} is stopped", component.name());
        folder.remember(&memory)?;
    }
    folder.remember(&memory)
}

/// Prints the `export` lines of what runs.
pub(crate) fn env(paths: &Paths) -> Result<()> {
    let memory = Folder::open(paths)?.running()?;
    ensure!(
        !memory.is_empty(),
        "nothing runs: start it with `cargo xtask components up`"
    );
    print!("{}", exports(&memory));
    Ok(())
}

impl Folder {
    fn open(paths: &Paths) -> Result<Self> {
        let path = paths.target.join("components");
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let lock = File::create(path.join("lock"))?;
        lock.lock().context("cannot lock the folder of components")?;
        Ok(Self { path, _lock: lock })
    }

    /// What is remembered and still runs; the leftovers of what ended by itself are removed.
    fn running(&self) -> Result<Memory> {
        let file = self.path.join("state.json");
        let mut memory: Memory = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("cannot understand {}: delete it", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Memory::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        memory.retain(|_, remembered| {
            let running = remembered.process.is_running();
            if !running {
                let _ = fs::remove_dir_all(&remembered.state);
            }
            running
        });
        Ok(memory)
    }

    fn remember(&self, memory: &Memory) -> Result<()> {
        install::write_whole(&self.path.join("state.json"), &serde_json::to_vec_pretty(memory)?)?;
        install::write_whole(&self.path.join("env"), exports(memory).as_bytes())
    }
}

fn exports(memory: &Memory) -> String {
    let pairs = memory.values().flat_map(|remembered| &remembered.environment);
    pairs
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .collect()
}
