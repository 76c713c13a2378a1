//! The archive of a trial: on the disk, or in a bucket where checkpoints are.

use super::Problem;
use super::feed::Offsets;
use super::schedule::StoreKind;
use crate::s3::Bucket;
use std::path::{Path, PathBuf};
use tidewatch_archive::{Chain, partitions};
use tidewatch_checkpoints::{Folder, S3, Tree};

/// What the copy of it is called that the oracle reads.
const COPY: &str = "archive-copy";

/// A place for an archive that nobody else uses.
pub struct Archive {
    folder: PathBuf,
    bucket: Option<Bucket>,
}

impl Archive {
    /// Nothing yet.
    pub fn new(folder: &Path, store: StoreKind) -> Archive {
        Archive {
            folder: folder.join("archive"),
            bucket: (store == StoreKind::Bucket).then(Bucket::default),
        }
    }

    /// How the program is told of it: objects come soon, so that each run puts, merges and removes some.
    pub fn keys(&self, s3: &str) -> Vec<(&'static str, String)> {
        let mut keys = match &self.bucket {
            Some(bucket) => bucket.archive_variables_at(s3),
            None => vec![("ARCHIVE__FOLDER", self.folder.display().to_string())],
        };
        keys.push(("ARCHIVE__OBJECT_TIME", "1s".to_owned()));
        keys.push(("ARCHIVE__GRACE", "1s".to_owned()));
        keys
    }

    /// What is in it.
    ///
    /// # Errors
    /// When it can't be reached.
    pub fn tree(&self) -> Result<Box<dyn Tree>, Problem> {
        Ok(match &self.bucket {
            Some(bucket) => Box::new(S3::open(&bucket.settings()).map_err(|error| error.to_string())?),
            None => Box::new(Folder::tree("the archive", &self.folder)?),
        })
    }

    /// Whether it has all that was written.
    pub fn has(&self, written: Offsets) -> bool {
        self.tree().is_ok_and(|tree| next(&*tree) == Some(written))
    }

    /// Copies it for the oracle.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn copy(&self, folder: &Path) -> Result<(), Problem> {
        let (from, to) = (self.tree()?, Folder::tree("the copy", &folder.join(COPY))?);
        for part in ["raw/", "manifest/"] {
            let names = from.list_in(part).map_err(|error| error.to_string())?;
            for name in names {
                let bytes = tidewatch_checkpoints::Store::get(&*from, &name);
                let bytes = bytes.map_err(|error| error.to_string())?;
                tidewatch_checkpoints::Store::put(&to, &name, &bytes).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

/// How far each partition is archived; a partition without records is at 0.
fn next(tree: &dyn Tree) -> Option<Offsets> {
    let mut next = Offsets::default();
    for (log, partition) in partitions(tree).ok()? {
        let chain = Chain::load(tree, &log, partition).ok()?;
        *next.get_mut(partition.index())? = chain.next().map_or(0, |next| next.0);
    }
    Some(next)
}
