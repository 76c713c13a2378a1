//! Asks the oracle: a program of its own, in another language, on another engine.

use super::Problem;
use crate::sinks::component;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// What the oracle says of a trial.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Verdict {
    /// What is wrong, each with where.
    pub problems: Vec<Problem>,
    /// A hash of all final rows without their revisions.
    pub hash: String,
    /// Records of the topic.
    pub records: u64,
    /// Messages that are in windows from memory, late ones included.
    pub accepted: u64,
    /// Of these, late ones.
    pub late: u64,
    /// Messages that came too late for memory, and are added to stored rows.
    pub stragglers: u64,
    /// Messages that were sent again.
    pub duplicates: u64,
    /// Records that can't be used.
    pub dead_letters: u64,
    /// Messages without metrics.
    pub heartbeats: u64,
    /// Windows of all lengths.
    pub windows: u64,
    /// Rows in the topic of rows, of all revisions.
    pub rows: u64,
    /// Anomalies that rules have found.
    pub anomalies: u64,
}

/// The program, as it is found before anything is run that it is to judge.
pub struct Oracle {
    python: String,
}

impl Oracle {
    /// The oracle's program.
    ///
    /// # Panics
    /// When the environment doesn't name it.
    pub fn find() -> Oracle {
        Oracle {
            python: component("TIDEWATCH_TEST_ORACLE_PYTHON"),
        }
    }

    /// Has it judge what lies in a folder: the ledger and what sinks hold.
    ///
    /// # Errors
    /// When it can't be run, or fails.
    pub fn judge(&self, folder: &Path) -> Result<Verdict, Problem> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/oracle.py");
        let output = Command::new(&self.python).arg(&script).arg(folder).output();
        let output = output.map_err(|error| format!("{}: {error}", self.python))?;
        if !output.status.success() {
            return Err(format!(
                "the oracle failed: {}",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("the oracle's verdict: {error}"))
    }
}
