//! A CSV file with a fixed head that the program reads again when it changes.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Such a file, and which version of it was seen last.
#[derive(Debug)]
pub struct TableFile {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

/// A line of it: its number, and its fields.
pub type Line<const N: usize> = (usize, [String; N]);

impl TableFile {
    /// A file that was not read yet.
    pub fn new(path: &Path) -> TableFile {
        TableFile {
            path: path.to_owned(),
            seen: None,
        }
    }

    /// What `parse` makes of the file, if it has changed.
    ///
    /// # Errors
    /// What can't be read or parsed, with the file's name.
    pub fn read<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<Option<T>, String> {
        let at = |problem: String| format!("{}: {problem}", self.path.display());
        let unread = |error: std::io::Error| at(format!("can't be read: {error}"));
        let data = std::fs::metadata(&self.path).map_err(unread)?;
        let version = (data.modified().map_err(unread)?, data.len());
        if self.seen == Some(version) {
            return Ok(None);
        }
        self.seen = Some(version);
        let text = std::fs::read(&self.path).map_err(unread)?;
        parse(&text).map(Some).map_err(at)
    }
}

/// The lines below a head of these columns. Lines that begin with `#` and blank ones are skipped.
///
/// # Errors
/// The first line that has other columns.
pub fn lines<const N: usize>(text: &[u8], columns: [&str; N]) -> Result<Vec<Line<N>>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text);
    let mut record = csv::StringRecord::new();
    reader.read_record(&mut record).map_err(|e| e.to_string())?;
    let head: Vec<&str> = record.iter().collect();
    if head != columns {
        return Err(format!(
            "line 1 must be \"{}\", not \"{}\"",
            columns.join(","),
            head.join(",")
        ));
    }
    let mut lines = Vec::new();
    while reader.read_record(&mut record).map_err(|e| e.to_string())? {
        let at = last_line(text, reader.position().byte() as usize);
        let fields: Vec<String> = record.iter().map(str::to_owned).collect();
        let fields = fields.try_into().map_err(|fields: Vec<String>| {
            format!(
                "line {at} has {} fields, not the {N} of \"{}\"",
                fields.len(),
                columns.join(",")
            )
        })?;
        lines.push((at, fields));
    }
    Ok(lines)
}

/// The line in which the text until here ends: a record's own position is before the comments that precede it.
fn last_line(text: &[u8], end: usize) -> usize {
    let read = text.get(..end).unwrap_or(text);
    let read = read.strip_suffix(b"\n").unwrap_or(read);
    1 + read.iter().filter(|byte| **byte == b'\n').count()
}
