//! The one table of results: a file of sections, each replaced alone when it is run again.

pub mod machine;
pub mod target;

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::time::SystemTime;

const HEAD: &str = "\
# Results

Written by `cargo xtask bench`; [README.md](README.md) says how to repeat it. A figure is the median (min..max) of
alternating rounds, each a process of its own. Everything shares the machine with the broker: compare figures of one
table with each other and with nothing else.
";

/// What begins a section in the file.
const MARK: &str = "## ";

/// The sections of a results file, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results(Vec<(String, String)>);

impl Results {
    /// Those in a file, none when it is not there.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn read(path: &Path) -> Result<Self> {
        match path.exists() {
            true => Ok(Self::parse(
                &fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            )),
            false => Ok(Self::default()),
        }
    }

    fn parse(text: &str) -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(MARK) {
                sections.push((name.to_owned(), String::new()));
            } else if let Some((_, body)) = sections.last_mut() {
                body.push_str(line);
                body.push('\n');
            }
        }
        sections
            .iter_mut()
            .for_each(|(_, body)| *body = body.trim().to_owned() + "\n");
        Self(sections)
    }

    /// Puts a section in the place of an older one of its name, or where `order` has it.
    pub fn put(&mut self, name: &str, body: &str, order: &[&str]) {
        self.0.retain(|(held, _)| held != name);
        self.0.push((name.to_owned(), body.trim().to_owned() + "\n"));
        let place = |name: &str| order.iter().position(|one| *one == name).unwrap_or(order.len());
        self.0.sort_by_key(|(name, _)| place(name));
    }

    /// The whole file; `machine` is the table of the machine's facts.
    pub fn text(&self, machine: &str) -> String {
        let sections = self.0.iter().map(|(name, body)| format!("\n{MARK}{name}\n\n{body}"));
        format!("{HEAD}\n{machine}{}", sections.collect::<String>())
    }
}

/// The line that a section begins with: when it was measured, of what, and where.
pub fn stamp(commit: &str, machine: &str) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    format!("{now}, commit {commit}, {machine}.\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_its_own_and_keeps_the_others() {
        let order = ["one", "two", "three"];
        let mut results = Results::default();
        results.put("three", "3\n\n### part\n\nmore", &order);
        results.put("one", "1", &order);
        let text = results.text("| a | b |\n");
        let mut again = Results::parse(&text);
        assert_eq!(again, results);
        again.put("one", "new", &order);
        again.put("two", "2", &order);
        let names: Vec<&str> = again.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, order);
        assert_eq!(again.0[0].1, "new\n");
        assert_eq!(again.0[2], results.0[1]);
        assert_eq!(Results::parse(&again.text("")), again);
    }
}
