//! What is done once a second: the files of the registry and of metrics are looked at.

use super::RunError;
use super::log::Terminal;
use super::sinks::Surroundings;
use super::status::StatusLine;
use crate::config::{ConfigError, MetricsSettings, RegistrySettings};
use crate::metrics::{Metrics, MetricsFile};
use crate::registry::RegistryFile;
use std::sync::Arc;
use tidewatch_api::{Catalogue, Places};
use tidewatch_dataflow::Handle;
use tidewatch_dataflow::command::Command;
use tidewatch_proto::registry::RegistryChange;

/// What is done once a second.
pub struct Tending {
    /// The line that says how things stand.
    pub status: StatusLine,
    /// What is known of metrics now.
    pub catalogue: Arc<Catalogue>,
    registry: Option<Tended<RegistryFile>>,
    places: Arc<Places>,
    metrics: Option<Tended<MetricsFile>>,
    /// What is known of metrics without the file.
    known: Metrics,
}

/// A file, and what was last said to be wrong with it.
struct Tended<F> {
    file: F,
    problem: Option<String>,
}

impl<F> Tended<F> {
    fn new(file: F) -> Tended<F> {
        Tended { file, problem: None }
    }

    /// The file's change, if it has one. What is wrong with it is said once.
    fn tend<T>(
        &mut self,
        what: &str,
        terminal: &Terminal,
        read: impl FnOnce(&mut F) -> Result<Option<T>, String>,
    ) -> Option<T> {
        match read(&mut self.file) {
            Ok(change) => {
                self.problem = self.problem.take().filter(|_| change.is_none());
                change
            }
            Err(problem) => {
                if self.problem.as_ref() != Some(&problem) {
                    terminal.news(&format!("{what}: {problem}; what held before goes on holding"));
                }
                self.problem = Some(problem);
                None
            }
        }
    }
}

impl Tending {
    /// Begins with the files as they are; gives what the engine must know before it reads the first record.
    ///
    /// # Errors
    /// When a file can't be used.
    pub fn start(
        registry: &RegistrySettings,
        metrics: &MetricsSettings,
        around: &Surroundings,
    ) -> Result<(Tending, Vec<Command>), RunError> {
        let wrong = |key: &'static str| move |problem| RunError::Config(ConfigError::new(key, problem));
        let mut tending = Tending {
            status: StatusLine::default(),
            catalogue: Arc::new(Catalogue::new(metrics.known.clone())),
            registry: registry
                .file
                .as_deref()
                .map(|file| Tended::new(RegistryFile::new(file))),
            places: around.places.clone(),
            metrics: metrics.file.as_deref().map(|file| Tended::new(MetricsFile::new(file))),
            known: metrics.known.clone(),
        };
        let mut first = Vec::new();
        if let Some(tended) = &mut tending.registry {
            if let Some(change) = tended.file.read().map_err(wrong("registry.file"))? {
                tell(&change, &around.terminal);
                tending.places.change(&change);
                first.push(Command::Registry(Arc::new(change)));
            }
            first.extend(registry.rollups.iter().map(|level| Command::StartRollup(*level)));
        }
        if let Some(tended) = &mut tending.metrics
            && let Some(metrics) = tended.file.read().map_err(wrong("metrics.file"))?
        {
            tending.describe(metrics);
        }
        Ok((tending, first))
    }

    /// Looks whether a file has changed.
    pub fn tend(&mut self, handle: &Handle, terminal: &Terminal) {
        let registry = self.registry.as_mut();
        if let Some(change) = registry.and_then(|tended| tended.tend("registry", terminal, RegistryFile::read)) {
            tell(&change, terminal);
            self.places.change(&change);
            handle.change_registry(change);
        }
        let metrics = self.metrics.as_mut();
        if let Some(metrics) = metrics.and_then(|tended| tended.tend("metrics", terminal, MetricsFile::read)) {
            terminal.news(&format!("metrics: {} are described", metrics.len()));
            self.describe(metrics);
        }
    }

    /// Takes what the file says, and for other metrics what is known without it.
    fn describe(&self, metrics: Metrics) {
        let mut all = self.known.clone();
        all.extend(metrics);
        self.catalogue.replace(all);
    }
}

fn tell(change: &RegistryChange, terminal: &Terminal) {
    let (removed, added) = (change.removed.len(), change.added.len());
    terminal.news(&format!("registry: {added} placements come, {removed} go"));
}
