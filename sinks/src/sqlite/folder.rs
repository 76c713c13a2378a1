//! The folder of a store, which is one process's, and the one connection that writes.

use super::config::SqliteSettings;
use super::failure::Failure;
use super::session::Session;
use super::usage::Usage;
use crate::SinkError;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the file that a process keeps locked.
const LOCK: &str = "lock";
/// The name of the store's file.
pub(super) const STORE: &str = "store.sqlite";

/// Is told what a user should know: that something leaves early.
pub type News = Arc<dyn Fn(&str) + Send + Sync>;

/// An embedded store. Clones share it, and so do the sinks and readers that are made of it.
#[derive(Clone)]
pub struct Sqlite {
    writer: Arc<Mutex<Writer>>,
    file: Arc<PathBuf>,
    usage: Arc<Usage>,
}

struct Writer {
    settings: SqliteSettings,
    session: Option<Session>,
    news: News,
    /// Held for as long as somebody writes.
    _lock: File,
}

impl Drop for Writer {
    /// Puts what is in the log into the file, so that the next start finds it there. It may fail: then that start does it.
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

/// The store's file of a folder.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join(STORE)
}

impl Sqlite {
    /// Opens the folder, which is made when it isn't there and is ours from now on, and brings its tables up to date.
    ///
    /// # Errors
    /// When it can't be used, with what to do.
    pub fn open(settings: SqliteSettings, news: News) -> Result<Sqlite, SinkError> {
        let folder = settings.folder.clone();
        let retry = |problem: String| SinkError::retry(format!("embedded.folder {}", folder.display()), problem);
        fs::create_dir_all(&folder).map_err(|error| retry(error.to_string()))?;
        let lock = File::create(folder.join(LOCK)).map_err(|error| retry(error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = "another tidewatch runs on it: stop that one, or give this one its own";
                return Err(SinkError::stop(
                    format!("embedded.folder {}", folder.display()),
                    problem,
                ));
            }
            Err(TryLockError::Error(error)) => return Err(retry(format!("it can't be locked: {error}"))),
        }
        let store = Sqlite {
            file: Arc::new(file(&folder)),
            usage: Arc::default(),
            writer: Arc::new(Mutex::new(Writer {
                settings,
                session: None,
                news,
                _lock: lock,
            })),
        };
        store.write(|_, _, _| Ok(()))?;
        Ok(store)
    }

    /// The store's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// How large it is, and what had to leave early.
    pub fn usage(&self) -> Arc<Usage> {
        self.usage.clone()
    }

    /// Does something with the connection that writes, which is made first if there is none. After an error there is
    /// none.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Session, &SqliteSettings, &News) -> Result<T, Failure>,
    ) -> Result<T, SinkError> {
        // A panic while the lock was held has dropped the session: the next is a new one.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = &mut *writer;
        let session = writer
            .session
            .take()
            .map_or_else(|| Session::open(&self.file, &writer.settings, &self.usage), Ok);
        let done = session.and_then(|mut session| {
            let done = work(&mut session, &writer.settings, &writer.news)?;
            writer.session = Some(session);
            Ok(done)
        });
        done.map_err(|failure| failure.about(&self.file))
    }
}
