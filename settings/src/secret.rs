//! Secrets: read from files, never printed.

use crate::Invalid;
use std::fmt;
use std::path::Path;

/// A password or key. Its `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads the first line of a file; `key` is the configuration's key, for the error.
    ///
    /// # Errors
    /// When the file can't be read or is empty.
    pub fn read(path: &Path, key: &str) -> Result<Secret, Invalid> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Invalid::new(key, format!("can't read {}: {error}", path.display())))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Secret(line.to_owned())),
            _ => Err(Invalid::new(key, format!("{} is empty", path.display()))),
        }
    }

    /// The secret itself, to be handed to a client library.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_line_and_hides_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hush hush\n").unwrap();
        let secret = Secret::read(&path, "kafka.password_file").unwrap();
        assert_eq!(secret.expose(), "hush hush");
        assert!(!format!("{secret:?}").contains("hush"));
        let error = Secret::read(&folder.path().join("none"), "kafka.password_file").unwrap_err();
        assert!(
            error.to_string().starts_with("kafka.password_file: can't read "),
            "{error}"
        );
    }
}
