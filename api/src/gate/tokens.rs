//! The token file: lines `role token`, read again when it changes.

use crate::error::Error;
use crate::roles::Role;
use std::fmt;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

/// The fewest bytes a token may have.
const TOKEN_BYTES_MIN: usize = 16;
/// The most tokens a file may hold: each request is compared with all of them.
const TOKENS_MAX: usize = 1_000;
/// The most bytes a token file may have.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How often the file's time is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A token file and what it said when it was last read.
///
/// When it changes into something that can't be used nobody gets in: an administrator who takes a token out must not
/// be fooled by a typo on another line.
pub(crate) struct TokenFile {
    path: PathBuf,
    state: RwLock<State>,
}

struct State {
    looked: Instant,
    stamp: Option<Stamp>,
    tokens: Result<Vec<Token>, String>,
}

/// What tells one version of the file from another.
type Stamp = (SystemTime, u64);

struct Token {
    role: Role,
    secret: Box<[u8]>,
}

impl TokenFile {
    /// Reads the file.
    pub(crate) fn open(path: PathBuf) -> Result<TokenFile, Error> {
        let (stamp, tokens) = load(&path);
        if let Err(problem) = &tokens {
            return Err(Error::config(
                "api.token_file",
                format!("{}: {problem}", path.display()),
            ));
        }
        Ok(TokenFile {
            path,
            state: RwLock::new(State {
                looked: Instant::now(),
                stamp,
                tokens,
            }),
        })
    }

    /// Reads the file again if it changed: then the number of tokens, or what is wrong with it.
    ///
    /// It looks at a local file's time now and then, which takes microseconds, so async code may call it.
    pub(crate) fn refresh(&self) -> Option<Result<usize, String>> {
        if self.read().looked.elapsed() < LOOK_EVERY {
            return None;
        }
        let mut state = self.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if state.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        state.looked = Instant::now();
        let stamp = stamp(&self.path);
        if stamp == state.stamp {
            return None;
        }
        // The time is taken before the text, so that a change in between is seen next time.
        (state.stamp, state.tokens) = load(&self.path);
        Some(state.tokens.as_ref().map(Vec::len).map_err(Clone::clone))
    }

    /// What is wrong with the file, if something is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.read().tokens.as_ref().err().cloned()
    }

    /// The role of a token, in a time that doesn't depend on how much of it is right.
    pub(crate) fn role_of(&self, token: &[u8]) -> Option<Role> {
        let state = self.read();
        let tokens = state.tokens.as_ref().ok()?;
        let mut role = None;
        for known in tokens {
            if same(&known.secret, token) {
                role = Some(known.role);
            }
        }
        role
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Compares all bytes, whichever differ.
fn same(known: &[u8], token: &[u8]) -> bool {
    let differing = known.iter().zip(token).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    known.len() == token.len() && black_box(differing) == 0
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn load(path: &Path) -> (Option<Stamp>, Result<Vec<Token>, String>) {
    let stamp = stamp(path);
    if stamp.is_some_and(|(_, bytes)| bytes > FILE_BYTES_MAX) {
        return (stamp, Err(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("it can't be read: {error}"));
    (stamp, text.and_then(|text| parse(&text)))
}

/// The tokens of a text; what is wrong names the line and never the token.
fn parse(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(role), Some(secret), None) = (words.next(), words.next(), words.next()) else {
            return Err(format!("line {number} is not `role token`"));
        };
        let Ok(role) = role.parse::<Role>() else {
            return Err(format!("line {number} does not begin with viewer, operator or admin"));
        };
        if secret.len() < TOKEN_BYTES_MIN {
            return Err(format!(
                "the token on line {number} is shorter than {TOKEN_BYTES_MIN} bytes"
            ));
        }
        if tokens.iter().any(|token| *token.secret == *secret.as_bytes()) {
            return Err(format!("the token on line {number} was there before"));
        }
        tokens.push(Token {
            role,
            secret: secret.as_bytes().into(),
        });
    }
    match tokens.len() {
        0 => Err("it holds no token; write a line such as `viewer <token>`".to_owned()),
        1..=TOKENS_MAX => Ok(tokens),
        _ => Err(format!("it holds more than {TOKENS_MAX} tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        for (text, expected) in [
            ("# all\n\n viewer 0123456789abcdef \r\nadmin\tfedcba9876543210", Ok(2)),
            ("", Err("it holds no token; write a line such as `viewer <token>`")),
            ("viewer", Err("line 1 is not `role token`")),
            ("viewer 0123456789abcdef # mine", Err("line 1 is not `role token`")),
            (
                "\nroot 0123456789abcdef",
                Err("line 2 does not begin with viewer, operator or admin"),
            ),
            ("viewer 0123456789", Err("the token on line 1 is shorter than 16 bytes")),
            (
                "viewer 0123456789abcdef\nadmin 0123456789abcdef",
                Err("the token on line 2 was there before"),
            ),
        ] {
            let tokens = parse(text).map(|tokens| tokens.len());
            assert_eq!(tokens, expected.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        for (token, expected) in [
            ("abc", true),
            ("abd", false),
            ("ab", false),
            ("abcd", false),
            ("", false),
        ] {
            assert_eq!(same(b"abc", token.as_bytes()), expected, "{token}");
        }
    }

    #[test]
    fn a_change_is_seen_and_a_bad_one_lets_nobody_in() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            std::thread::sleep(LOOK_EVERY + Duration::from_millis(50));
        };
        write("viewer 0123456789abcdef");
        let tokens = TokenFile::open(file.path().to_owned()).expect("it is good");
        assert_eq!(tokens.role_of(b"0123456789abcdef"), Some(Role::Viewer));
        write("admin 0123456789abcdef");
        assert_eq!(tokens.refresh(), Some(Ok(1)));
        assert_eq!(tokens.role_of(b"0123456789abcdef"), Some(Role::Admin));
        write("admin 0123456789abcdef\noops");
        assert_eq!(tokens.refresh(), Some(Err("line 2 is not `role token`".to_owned())));
        assert_eq!(tokens.role_of(b"0123456789abcdef"), None);
        assert!(tokens.problem().is_some());
    }
}
