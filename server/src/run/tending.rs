//! What is done once a second: the registry's file is looked at.

use super::RunError;
use super::log::Terminal;
use super::status::StatusLine;
use crate::config::{ConfigError, RegistrySettings};
use crate::registry::RegistryFile;
use std::sync::Arc;
use tidewatch_dataflow::Handle;
use tidewatch_dataflow::command::Command;
use tidewatch_proto::registry::RegistryChange;

/// What is done once a second.
pub struct Tending {
    /// The line that says how things stand.
    pub status: StatusLine,
    registry: Option<RegistryFile>,
    /// What was last said to be wrong with the registry.
    problem: Option<String>,
}

impl Tending {
    /// Begins with the registry as it is; gives what the engine must know before it reads the first record.
    ///
    /// # Errors
    /// When the file can't be used.
    pub fn start(settings: &RegistrySettings, terminal: &Terminal) -> Result<(Tending, Vec<Command>), RunError> {
        let mut tending = Tending {
            status: StatusLine::default(),
            registry: settings.file.as_deref().map(RegistryFile::new),
            problem: None,
        };
        let mut first = Vec::new();
        if let Some(registry) = &mut tending.registry {
            let change = registry.read();
            let change = change.map_err(|problem| RunError::Config(ConfigError::new("registry.file", problem)))?;
            if let Some(change) = change {
                tell(&change, terminal);
                first.push(Command::Registry(Arc::new(change)));
            }
            first.extend(settings.rollups.iter().map(|level| Command::StartRollup(*level)));
        }
        Ok((tending, first))
    }

    /// Looks whether the registry has changed.
    pub fn tend(&mut self, handle: &Handle, terminal: &Terminal) {
        match self.registry.as_mut().map_or(Ok(None), RegistryFile::read) {
            Ok(Some(change)) => {
                self.problem = None;
                tell(&change, terminal);
                handle.change_registry(change);
            }
            Ok(None) => {}
            Err(problem) if self.problem.as_ref() == Some(&problem) => {}
            Err(problem) => {
                terminal.news(&format!("registry: {problem}; what held before goes on holding"));
                self.problem = Some(problem);
            }
        }
    }
}

fn tell(change: &RegistryChange, terminal: &Terminal) {
    let (removed, added) = (change.removed.len(), change.added.len());
    terminal.news(&format!("registry: {added} placements come, {removed} go"));
}
