//! Where things are: the workspace, cargo's target folder, and the cache of fetched components.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The folders that the commands work with, all absolute.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Paths {
    /// The root of the workspace.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever the environment or a configuration puts it.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Debug, Clone, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Paths {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot run `cargo metadata`: is cargo on the PATH?")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`cargo metadata` failed; run this inside the workspace:\n{errors}"
        );
        serde_json::from_slice(&output.stdout).context("`cargo metadata` printed something else than expected")
    }

    /// The folder of fetched components; kept apart from the target folder, so that emptying that costs no fetch.
    pub(crate) fn cache(&self) -> Result<PathBuf> {
        let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
            Some(base) => PathBuf::from(base),
            None => PathBuf::from(env::var_os("HOME").context("set HOME or XDG_CACHE_HOME: the cache goes there")?)
                .join(".cache"),
        };
        Ok(base.join("tidewatch-components"))
    }

    /// The binary under test, as the dev profile builds it.
    pub(crate) fn binary(&self) -> PathBuf {
        self.target.join("debug/tidewatch")
    }

    /// What configures the components: manifests, templates and scripts.
    pub(crate) fn component_files(&self, component: &str) -> PathBuf {
        self.root.join("tests/components").join(component)
    }

    /// Whether a package of the workspace has a binary of this name.
    pub(crate) fn has_binary(&self, package: &str, binary: &str) -> bool {
        let mut targets = self
            .packages
            .iter()
            .filter(|one| one.name == package)
            .flat_map(|one| &one.targets);
        targets.any(|target| target.name == binary && target.kind.iter().any(|kind| kind == "bin"))
    }

    /// The path as the workspace sees it, for messages.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// The cargo that runs us, else the one on the PATH.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// A program on the PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
