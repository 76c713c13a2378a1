//! Where checkpoints are kept, and what else is: named runs of bytes.

/// A place for files that are written whole or not at all.
pub trait Store: Send + Sync {
    /// What it is, for a person.
    fn place(&self) -> String;

    /// Writes a file. It is durable when this returns; after an error it is as before or as it should be.
    ///
    /// # Errors
    /// What is wrong with which file.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Writes a file if none of this name is there, and says whether it was so. Of several who do it at once exactly
    /// one hears yes. It is durable when this returns; after an error it may be there.
    ///
    /// # Errors
    /// What is wrong with which file.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError>;

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with which file.
    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError>;

    /// The names of all files, ascending; those of writes that were cut short too.
    ///
    /// # Errors
    /// What is wrong.
    fn list(&self) -> Result<Vec<String>, StoreError>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// What is wrong with which file.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
}

/// A store whose files may lie in folders: names with `/` between.
pub trait Tree: Store {
    /// The names of all files in a folder (`raw/date=2026-11-27/`, with the `/` at its end) and in those below it,
    /// ascending; those of writes that were cut short too. None when there is no such folder.
    ///
    /// # Errors
    /// What is wrong.
    fn list_in(&self, folder: &str) -> Result<Vec<String>, StoreError>;
}

/// A file could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct StoreError {
    file: String,
    problem: String,
}

impl StoreError {
    /// A file and what is wrong with it.
    pub fn new(file: impl ToString, problem: impl ToString) -> StoreError {
        StoreError {
            file: file.to_string(),
            problem: problem.to_string(),
        }
    }
}
