//! Bytes of a file, or of a pipe by a thread of its own, so that waiting for them doesn't hold up the worker.

use super::config::is_stdin;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// How many bytes are read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// How many chunks of a pipe wait at most until they are taken.
const CHUNKS_WAITING_MAX: usize = 16;

/// Where bytes come from.
pub(super) enum Input {
    /// A file on disk, read as needed.
    File(File),
    /// A pipe or a terminal, read ahead by a thread; that thread ends with the pipe, or at the next chunk after this
    /// end of the channel is gone.
    Pipe(Receiver<io::Result<Vec<u8>>>),
}

/// What was found at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// More bytes.
    Some,
    /// Nothing just now.
    Pending,
    /// The end.
    End,
}

impl Input {
    /// Opens a path; `-` is standard input.
    pub(super) fn open(path: &Path) -> io::Result<Input> {
        if is_stdin(path) {
            return Input::pipe(io::stdin());
        }
        let file = File::open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(Input::File(file)),
            false => Input::pipe(file),
        }
    }

    /// Reads ahead on a thread of its own.
    pub(super) fn pipe(mut from: impl Read + Send + 'static) -> io::Result<Input> {
        let (sender, receiver) = sync_channel(CHUNKS_WAITING_MAX);
        std::thread::Builder::new()
            .name("file:pipe".to_owned())
            .spawn(move || {
                loop {
                    let mut chunk = vec![0; CHUNK_BYTES];
                    let read = match from.read(&mut chunk) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Ok(0) => return,
                        Ok(read) => Ok(read),
                        Err(error) => Err(error),
                    };
                    let failed = read.is_err();
                    let sent = sender.send(read.map(|read| {
                        chunk.truncate(read);
                        chunk
                    }));
                    if failed || sent.is_err() {
                        return;
                    }
                }
            })?;
        Ok(Input::Pipe(receiver))
    }

    /// Adds what is there to `buffer`. Of a file it waits for the disk, of a pipe it never waits.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<Filled> {
        match self {
            Input::File(file) => match file.take(CHUNK_BYTES as u64).read_to_end(buffer)? {
                0 => Ok(Filled::End),
                _ => Ok(Filled::Some),
            },
            Input::Pipe(receiver) => match receiver.try_recv() {
                Ok(chunk) => {
                    buffer.extend_from_slice(&chunk?);
                    Ok(Filled::Some)
                }
                Err(TryRecvError::Empty) => Ok(Filled::Pending),
                Err(TryRecvError::Disconnected) => Ok(Filled::End),
            },
        }
    }
}
