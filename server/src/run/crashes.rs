//! Where workers have crashed, kept in small files beside the checkpoints: the next start is careful there, and what has
//! made a worker crash twice is poison.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidewatch_checkpoints::Store;
use tidewatch_dataflow::batch::Position;
use tidewatch_dataflow::checkpoint::Meta;
use tidewatch_dataflow::witness::{At, Crash};
use tidewatch_proto::ids::{Generation, Offset, Partition};

/// How the names of these files begin.
const PREFIX: &str = "crash-";

/// A crash as it is written: a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// Which log it was, as [`Meta::log`] says.
    log: String,
    /// The partition's name.
    partition: String,
    /// The first record that the worker was at.
    first: i64,
    /// The last.
    last: i64,
    /// What it said.
    problem: String,
}

/// Keeps where workers have crashed.
pub struct Crashes {
    store: Arc<dyn Store>,
    generation: Generation,
    log: String,
    partition_names: Vec<String>,
}

impl Crashes {
    /// For a run that makes these checkpoints.
    pub fn new(store: Arc<dyn Store>, meta: &Meta) -> Crashes {
        Crashes {
            store,
            generation: meta.generation,
            log: meta.log.clone(),
            partition_names: meta.partition_names.clone(),
        }
    }

    /// Keeps a crash of a worker.
    ///
    /// # Errors
    /// Which file could not be written, and what follows.
    pub fn note(&self, worker: usize, crash: &Crash) -> Result<(), String> {
        let At { partition, first, last } = crash.at;
        let written = Written {
            log: self.log.clone(),
            partition: self.partition_names.get(partition.index()).cloned().unwrap_or_default(),
            first: first.0,
            last: last.0,
            problem: crash.problem.clone(),
        };
        let name = format!("{PREFIX}{:020}-{worker}", self.generation.0);
        let bytes = serde_json::to_vec(&written).map_err(|error| error.to_string())?;
        let put = self.store.put(&name, &bytes);
        put.map_err(|error| format!("{error}; the next start does not know where this one crashed"))
    }

    /// The crashes that lie ahead of these positions. The files of all others are removed.
    ///
    /// # Errors
    /// When the store can't be read, or a file of it is none of ours.
    pub fn ahead(&self, positions: &[Position]) -> Result<Vec<Crash>, String> {
        let mut ahead = Vec::new();
        let names = self.store.list().map_err(|error| error.to_string())?;
        for name in names.iter().filter(|name| is_ours(name)) {
            let bytes = self.store.get(name).map_err(|error| error.to_string())?;
            let written: Written = serde_json::from_slice(&bytes)
                .map_err(|error| format!("{}/{name}: {error}; remove the file", self.store.place()))?;
            match self.crash(written, positions) {
                Some(crash) => ahead.push(crash),
                // What stays is looked at again by the next start.
                None => drop(self.store.remove(name)),
            }
        }
        Ok(ahead)
    }

    fn crash(&self, written: Written, positions: &[Position]) -> Option<Crash> {
        let place = self
            .partition_names
            .iter()
            .position(|name| *name == written.partition)?;
        let partition = Partition(place as u32);
        let next = positions.iter().find(|position| position.partition == partition);
        let at = At {
            partition,
            first: Offset(written.first),
            last: Offset(written.last),
        };
        let is_ahead = next.is_none_or(|position| position.next <= at.last);
        (written.log == self.log && is_ahead).then_some(Crash {
            at,
            problem: written.problem,
        })
    }
}

/// Whether a file is one of these, and whole.
fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && !name.ends_with(".new")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewatch_checkpoints::Folder;

    #[test]
    fn crashes_are_kept_until_positions_have_passed_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(Folder::open(folder.path()).expect("it is free"));
        let meta = Meta {
            log: "id".into(),
            partition_names: vec!["t/0".into(), "t/1".into()],
            ..Meta::default()
        };
        let crashes = Crashes::new(store.clone(), &meta);
        let crash = |partition, first, last| Crash {
            at: At {
                partition: Partition(partition),
                first: Offset(first),
                last: Offset(last),
            },
            problem: "overflow".into(),
        };
        let position = |next| Position {
            partition: Partition(1),
            next: Offset(next),
            clock_ms: 0,
        };
        crashes.note(0, &crash(1, 5, 9)).expect("written");
        crashes.note(1, &crash(0, 3, 3)).expect("written");
        assert_eq!(crashes.ahead(&[]).expect("read"), [crash(1, 5, 9), crash(0, 3, 3)]);
        assert_eq!(crashes.ahead(&[position(9)]).expect("read").len(), 2);
        assert_eq!(crashes.ahead(&[position(10)]).expect("read"), [crash(0, 3, 3)]);
        let another = Crashes::new(
            store.clone(),
            &Meta {
                log: "another".into(),
                ..meta
            },
        );
        assert!(another.ahead(&[]).expect("read").is_empty());
        assert!(store.list().expect("names").is_empty(), "what is passed is removed");
        store.put("crash-1-0", b"{").expect("written");
        let problem = crashes.ahead(&[]).expect_err("it is broken");
        assert!(
            problem.contains("crash-1-0") && problem.contains("remove the file"),
            "{problem}"
        );
    }
}
