//! A copy of a store as of one moment, while a process may write to it.

use super::failure::Failure;
use super::folder::{self, Sqlite};
use super::session::reading;
use crate::SinkError;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::path::Path;
use std::time::Duration;

/// So many pages are copied at once, some 16 MiB.
const PAGES: i32 = 2_048;
/// How long to wait for a writer that has the file to itself for a moment.
const PAUSE: Duration = Duration::from_millis(20);

impl Sqlite {
    /// The name of the store's file in its folder.
    pub const FILE: &'static str = folder::STORE;

    /// Copies the store of a folder to a file that isn't there, and says whether there is a store. `tell` hears how much
    /// of it is copied, in percent. It is all as of the moment at which this is called.
    ///
    /// # Errors
    /// When the store can't be read, the copy not written, or `tell` fails.
    pub fn copy<E>(folder: &Path, to: &Path, mut tell: impl FnMut(u32) -> Result<(), E>) -> Result<bool, E>
    where
        E: From<SinkError>,
    {
        let file = folder::file(folder);
        if !file.exists() {
            return Ok(false);
        }
        let wrong = |error: rusqlite::Error| E::from(Failure::from(error).about(&file));
        let from = reading(&file).map_err(|failure| failure.about(&file))?;
        let mut into = Connection::open(to).map_err(wrong)?;
        // The moment: until its end all that is read of the file is as it was at this question.
        let moment = from.unchecked_transaction().map_err(wrong)?;
        moment
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(wrong)?;
        let backup = Backup::new(&moment, &mut into).map_err(wrong)?;
        loop {
            match backup.step(PAGES).map_err(wrong)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(PAUSE),
            }
            let progress = backup.progress();
            let (all, left) = (i64::from(progress.pagecount.max(1)), i64::from(progress.remaining));
            tell(u32::try_from(100 * (all - left) / all).unwrap_or(100))?;
        }
        Ok(true)
    }
}
