//! Checks that are written here, because no tool has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;

/// What the binary may be linked with: the C and C++ runtime, the loader, the kernel's page.
const RUNTIME: [&str; 5] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "linux-vdso.so.1",
];
const LOADER: &str = "ld-linux";

/// Folders of one machine; cut, so that this file passes too.
const MACHINE_FOLDERS: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
/// Here `#` and digits are a colour.
const COLOURED: [&str; 3] = ["css", "html", "svg"];
/// What is in such a folder was written elsewhere, and stays as it is.
const VENDORED: &str = "vendor";
const ISSUE_PATHS: [&str; 2] = ["issues/", "pull/"];
const FINDINGS_MAX: usize = 20;

/// Asks `ldd`; names each library that is not of the runtime.
pub(crate) fn link(binary: &Path) -> Result<String> {
    ensure!(
        binary.is_file(),
        "there is no {}: run the step `build` first",
        binary.display()
    );
    let text = process::output(Command::new("ldd").arg(binary))?;
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    let names = names.map(|path| path.rsplit('/').next().unwrap_or(path));
    let foreign: Vec<&str> = names
        .filter(|name| !RUNTIME.contains(name) && !name.starts_with(LOADER))
        .collect();
    ensure!(
        foreign.is_empty(),
        "{} is linked with {}: link it statically, or do without",
        binary.display(),
        foreign.join(", ")
    );
    Ok("C and C++ runtime only".to_owned())
}

/// Looks for folders of one machine and issue numbers in every file of ours that is, or would be, tracked.
pub(crate) fn words(root: &Path) -> Result<String> {
    let mut files = tracked(root)?;
    files.retain(|file| file.components().all(|part| part.as_os_str() != VENDORED));
    let mut findings = Vec::new();
    for file in &files {
        // Binary files and links to nowhere have no words.
        let Ok(text) = fs::read_to_string(root.join(file)) else {
            continue;
        };
        let has_colours = file
            .extension()
            .is_some_and(|extension| COLOURED.iter().any(|one| *one == extension));
        for (number, line) in text.lines().enumerate() {
            if names_machine_folder(line) || (!has_colours && names_issue(line)) {
                findings.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    if !findings.is_empty() {
        let shown = findings.get(..FINDINGS_MAX).unwrap_or(&findings).join("\n");
        bail!(
            "{} lines name a folder of one machine or an issue by number:\n{shown}",
            findings.len()
        );
    }
    Ok(format!("{} files", files.len()))
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = process::output(&mut git).context("the list of tracked files comes from git")?;
    Ok(list.split_terminator('\0').map(PathBuf::from).collect())
}

/// Whether an absolute path into such a folder is in the line; a relative path through one of that name isn't.
fn names_machine_folder(line: &str) -> bool {
    let starts_path = |at: usize| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}$*~/".contains(c))
    };
    MACHINE_FOLDERS
        .iter()
        .any(|folder| line.match_indices(folder).any(|(at, _)| starts_path(at)))
}

/// Whether the line has a hash with a number, after a space or a bracket, or the path of an issue.
fn names_issue(line: &str) -> bool {
    let has_digits = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let ends = rest
            .as_bytes()
            .get(digits)
            .is_none_or(|next| !next.is_ascii_alphanumeric());
        digits > 0 && ends
    };
    let has_hash = line.match_indices('#').any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|c| c == ' ' || c == '(') && line.get(at + 1..).is_some_and(has_digits)
    });
    let has_path = |path: &&str| {
        let mut rests = line
            .match_indices(*path)
            .filter_map(|(at, _)| line.get(at + path.len()..));
        rests.any(has_digits)
    };
    has_hash || ISSUE_PATHS.iter().any(has_path)
}

/// Adds up the `test result:` lines of a log.
pub(crate) fn test_totals(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let results: Vec<&str> = text.lines().filter(|line| line.starts_with("test result:")).collect();
    let total = |what: &str| -> u64 { results.iter().map(|line| count(line, what)).sum() };
    Ok(format!("{} passed, {} ignored", total(" passed"), total(" ignored")))
}

/// The number before a word.
fn count(line: &str, what: &str) -> u64 {
    let before = line.split(what).next().unwrap_or_default();
    before
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_machine_are_absolute() {
        for (line, expected) in [
            ("cd /wo|rk/main", true),
            ("\"/ro|ot/.cargo\"", true),
            ("src/wo|rk/main", false),
            ("$HOME/ro|ot/", false),
            ("/wo|rker", false),
        ] {
            let line = line.replace('|', "");
            assert_eq!(names_machine_folder(&line), expected, "{line}");
        }
    }

    #[test]
    fn issues_are_numbers() {
        for (line, expected) in [
            ("see #|12", true),
            ("(#|7)", true),
            ("issues/|12", true),
            ("# 1. Title", false),
            ("#[test]", false),
            ("\"#12\"", false),
            ("color: #12ab00", false),
            ("issues/", false),
        ] {
            let line = line.replace('|', "");
            assert_eq!(names_issue(&line), expected, "{line}");
        }
    }

    #[test]
    fn results_are_added_up() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out";
        assert_eq!((count(line, " passed"), count(line, " ignored")), (12, 3));
    }
}
