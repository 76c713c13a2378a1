//! Where a run's checkpoints are, its generation, and what it goes on from.

use super::RunError;
use super::clock::wall_ms;
use super::log::Terminal;
use super::seeded;
use crate::config::{ConfigError, StateSettings};
use std::sync::Arc;
use tidewatch_checkpoints::{self as checkpoints, Claimed, Folder, S3, Store};
use tidewatch_dataflow::checkpoint::{Meta, Restored};
use tidewatch_dataflow::config::EngineConfig;
use tidewatch_proto::ids::{Epoch, Generation};

/// The place of a run's checkpoints. Clones share it.
#[derive(Clone)]
pub struct State {
    /// The place.
    pub store: Arc<dyn Store>,
}

impl State {
    /// Opens the place; nothing is written. The processes of a cluster share it.
    pub fn open(settings: &StateSettings, is_shared: bool) -> Result<State, RunError> {
        let store: Arc<dyn Store> = match settings {
            StateSettings::Folder(folder) if is_shared => Arc::new(Folder::shared(folder)?),
            StateSettings::Folder(folder) => Arc::new(Folder::open(folder)?),
            StateSettings::S3(s3) => {
                let opened = S3::open(s3);
                Arc::new(opened.map_err(|error| RunError::Config(ConfigError::new(error.key, error.problem)))?)
            }
        };
        Ok(State { store })
    }

    /// Claims the newest generation: older runs that still have the place write no more. So it comes when nothing but the
    /// state is in the way of a start, and before that is read.
    pub fn claim(&self, processes: usize) -> Result<Claimed, RunError> {
        let claimed = checkpoints::claim(&*self.store, wall_ms().max(0).unsigned_abs(), processes);
        claimed.map_err(|error| RunError::Failed(vec![format!("no generation can be claimed: {error}")]))
    }

    /// The newest checkpoint that can be gone on from, if there is any; `trying` hears of each that is tried, before.
    pub fn restore(
        &self,
        (partitions, engine): (&[String], &EngineConfig),
        trying: impl Fn(Generation, Epoch),
        terminal: &Terminal,
    ) -> Result<Option<(Meta, Restored)>, RunError> {
        let found = checkpoints::load_with(&*self.store, trying, |saved| {
            let Some(saved) = seeded::saved(Some(saved)) else {
                return Ok(None);
            };
            let meta = saved.meta.clone();
            let restored = saved.into_restored(partitions, engine);
            restored.map(|restored| Some((meta, restored)))
        });
        let place = self.store.place();
        let found = found.map_err(|problem| {
            format!("{problem}; move the files in {place} away to start over, or set another place in [state]")
        })?;
        for problem in &found.refused {
            terminal.news(&format!("{problem}; the checkpoint before it is used"));
        }
        let saved = found.saved.flatten();
        if saved.is_some() {
            terminal.news(&format!("going on from the state in {place}"));
        }
        Ok(saved)
    }

    /// The checkpoint that the first process of the cluster goes on from.
    pub fn restore_chosen(
        &self,
        (generation, epoch): (Generation, Epoch),
        (partitions, engine): (&[String], &EngineConfig),
    ) -> Result<(Meta, Restored), RunError> {
        let saved = checkpoints::load_chosen(&*self.store, generation, epoch)?;
        let meta = saved.meta.clone();
        let restored = saved.into_restored(partitions, engine);
        Ok((meta, restored.map_err(|error| error.to_string())?))
    }
}
