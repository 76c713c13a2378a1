//! A connection to one broker, one request at a time; nothing here blocks but the look-up of its name.

use super::protocol::{Input, versions};
use super::queue::Queue;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

/// How long a broker may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after a failure; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// What an answer may take at most, in bytes.
const FRAME_BYTES_MAX: usize = 100 << 20;
/// How much of an answer is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;
/// Bytes of an answer's length and of its correlation number.
const NUMBER_BYTES: usize = 4;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Versions,
    Metadata,
    Offsets,
    Fetch,
}

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) enum Lost {
    /// It may get better: what is wrong.
    Retry(String),
    /// The broker doesn't know this request in the version that is needed.
    TooOld(&'static str),
}

/// A connection, or none for now.
pub(super) struct Link {
    /// The broker, `host:port`.
    pub(super) address: String,
    token: Token,
    silence_max: Duration,
    stream: Option<TcpStream>,
    stage: Stage,
    /// What is still to be written of a request.
    unsent: Vec<u8>,
    sent: usize,
    frame: Vec<u8>,
    /// Bytes of the frame that have come, and that there are in all once it is known.
    filled: usize,
    expected: Option<usize>,
    pending: Option<(Asked, i32)>,
    correlation: i32,
    deadline: Instant,
    not_before: Instant,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Closed,
    Connecting,
    /// The broker is asked what it knows.
    Greeting,
    Ready,
}

impl Link {
    /// A link to a broker that may be silent for so long when it owes an answer.
    pub(super) fn new(address: String, token: Token, silence_max: Duration) -> Link {
        Link {
            address,
            token,
            silence_max,
            stream: None,
            stage: Stage::Closed,
            unsent: Vec::new(),
            sent: 0,
            frame: Vec::new(),
            filled: 0,
            expected: None,
            pending: None,
            correlation: 0,
            deadline: Instant::now(),
            not_before: Instant::now(),
            failures: 0,
        }
    }

    /// Begins to connect, unless it is too early or it has begun.
    pub(super) fn open(&mut self, registry: &Registry, now: Instant) -> Result<(), Lost> {
        if self.stage != Stage::Closed || now < self.not_before {
            return Ok(());
        }
        self.connect(registry).map_err(|error| Lost::Retry(error.to_string()))?;
        self.stage = Stage::Connecting;
        self.deadline = now + CONNECT_TIMEOUT;
        Ok(())
    }

    fn connect(&mut self, registry: &Registry) -> io::Result<()> {
        let addresses: Vec<_> = self.address.to_socket_addrs()?.collect();
        // A name may have several addresses: another one each time.
        let turn = self.failures as usize % addresses.len().max(1);
        let address = addresses.get(turn).ok_or(ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect(*address)?;
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Lets go of the connection, and waits a while if it failed.
    pub(super) fn close(&mut self, now: Instant, failed: bool) {
        (self.stream, self.stage, self.pending) = (None, Stage::Closed, None);
        (self.filled, self.expected) = (0, None);
        self.unsent.clear();
        if failed {
            self.not_before = now + (BACKOFF_MIN * (1 << self.failures.min(8))).min(BACKOFF_MAX);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Whether a request can be sent.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.stage == Stage::Ready && self.pending.is_none() && now >= self.not_before
    }

    /// Whether an answer to a fetch is on its way.
    pub(super) fn is_fetching(&self) -> bool {
        matches!(self.pending, Some((Asked::Fetch, _)))
    }

    /// Sends nothing for a while, as the broker wishes.
    pub(super) fn pause(&mut self, until: Instant) {
        self.not_before = until;
    }

    /// When something has to be done about the link although nothing comes.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        match (self.stage, &self.pending) {
            (Stage::Closed, _) => Some(self.not_before),
            (Stage::Connecting, _) | (_, Some(_)) => Some(self.deadline),
            (_, None) => (now < self.not_before).then_some(self.not_before),
        }
    }

    /// Sends a request, made with the number it is given.
    pub(super) fn ask(&mut self, asked: Asked, now: Instant, request: impl FnOnce(i32) -> Vec<u8>) {
        self.correlation = self.correlation.wrapping_add(1);
        self.pending = Some((asked, self.correlation));
        (self.unsent, self.sent) = (request(self.correlation), 0);
        self.deadline = now + self.silence_max;
    }

    /// Does what can be done without waiting; gives an answer when one is there as a whole, with the place where it
    /// begins behind its correlation number.
    pub(super) fn drive(&mut self, queue: &Queue, now: Instant) -> Result<Option<(Asked, Vec<u8>)>, Lost> {
        if self.stage == Stage::Closed {
            return Ok(None);
        }
        match self.advance(queue, now) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(Lost::Retry(error.to_string())),
            Ok((Asked::Versions, frame)) => {
                self.greeted(&frame)?;
                queue.give_back(frame);
            }
            Ok(answer) => return Ok(Some(answer)),
        }
        let waits = self.stage == Stage::Connecting || self.pending.is_some();
        match waits && now >= self.deadline {
            true => Err(Lost::Retry("the broker is silent".to_owned())),
            false => Ok(None),
        }
    }

    /// Goes on until it would block, which is an error, or an answer is whole.
    fn advance(&mut self, queue: &Queue, now: Instant) -> io::Result<(Asked, Vec<u8>)> {
        if self.stage == Stage::Connecting {
            let stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            if let Err(error) = stream.peer_addr() {
                let still = error.kind() == ErrorKind::NotConnected;
                return Err(if still { ErrorKind::WouldBlock.into() } else { error });
            }
            stream.set_nodelay(true)?;
            self.stage = Stage::Greeting;
            self.ask(Asked::Versions, now, versions::request);
        }
        self.write()?;
        let Some((asked, correlation)) = self.pending else {
            return Err(ErrorKind::WouldBlock.into());
        };
        self.read(queue, now)?;
        (self.pending, self.failures) = (None, 0);
        (self.filled, self.expected) = (0, None);
        let frame = std::mem::take(&mut self.frame);
        match Input(&frame).i32() == Ok(correlation) {
            true => Ok((asked, frame)),
            false => Err(io::Error::other("the answer is to another request")),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until the answer is whole.
    fn read(&mut self, queue: &Queue, now: Instant) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        if self.frame.capacity() == 0 {
            self.frame = queue.memory();
        }
        loop {
            let wanted = self.expected.unwrap_or(NUMBER_BYTES);
            if self.filled == wanted {
                if self.expected.is_some() {
                    self.frame.truncate(wanted);
                    return Ok(());
                }
                let expected = frame_bytes(&self.frame)?;
                (self.expected, self.filled) = (Some(expected), 0);
                // Room that nothing is written to costs nothing.
                self.frame.reserve_exact(expected.saturating_sub(self.frame.len()));
                continue;
            }
            // It is made use of as it fills.
            let room = wanted.min(self.filled + READ_BYTES);
            if self.frame.len() < room {
                self.frame.resize(room, 0);
            }
            match stream.read(&mut self.frame[self.filled..room]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the broker closed the connection",
                    ));
                }
                Ok(taken) => {
                    self.filled += taken;
                    self.deadline = now + self.silence_max;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn greeted(&mut self, frame: &[u8]) -> Result<(), Lost> {
        let unknown = versions::unknown(Input(&frame[NUMBER_BYTES..]));
        match unknown.map_err(|garbled| Lost::Retry(garbled.to_string()))? {
            Some(request) => Err(Lost::TooOld(request)),
            None => {
                self.stage = Stage::Ready;
                Ok(())
            }
        }
    }
}

/// The length of an answer, once it has come.
fn frame_bytes(frame: &[u8]) -> io::Result<usize> {
    let len = Input(frame).i32().ok().and_then(|len| usize::try_from(len).ok());
    match len {
        Some(len) if (NUMBER_BYTES..=FRAME_BYTES_MAX).contains(&len) => Ok(len),
        _ => Err(io::Error::other(format!(
            "what answers is not Kafka, or its answer has more than {FRAME_BYTES_MAX} bytes"
        ))),
    }
}
